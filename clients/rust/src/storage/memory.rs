//! A storage that lasts as long as the process: for tests, load and apps without a disk.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::storage::{Storage, StorageError, Stored, StoredChange};

/// Keeps everything in memory. Clones share what is kept, so a test can start a second client where the
/// first one was killed.
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage {
    stored: Arc<Mutex<Stored>>,
}

impl MemoryStorage {
    /// A storage that holds what another one held, like a phone restored from a backup.
    pub fn holding(stored: Stored) -> Self {
        Self { stored: Arc::new(Mutex::new(stored)) }
    }

    /// A picture of what is held now, like a backup of the phone.
    pub fn stored(&self) -> Stored {
        self.stored.lock().clone()
    }
}

impl Storage for MemoryStorage {
    fn load(&mut self) -> Result<Stored, StorageError> {
        Ok(self.stored())
    }

    fn apply(&mut self, changes: &[StoredChange]) -> Result<(), StorageError> {
        let mut stored = self.stored.lock();
        changes.iter().cloned().for_each(|change| stored.apply(change));
        Ok(())
    }

    fn blocks(&self) -> bool {
        false
    }
}
