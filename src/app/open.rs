//! Opens the store that the settings name.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;

use crate::config::Settings;
use crate::entropy::SharedEntropy;
use crate::store::Store;
use crate::store::sqlite::{self, Contents, Inspector, Restored, SqliteOptions, SqliteStore};

/// Opens the store, made and migrated where needed.
pub async fn open_store(settings: &Settings, entropy: &SharedEntropy) -> anyhow::Result<Arc<dyn Store>> {
    let path = settings.store_path()?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let mut cursor_key = [0; 32];
    entropy.fill(&mut cursor_key);
    Ok(Arc::new(SqliteStore::open(&path, SqliteOptions::default(), cursor_key).await?))
}

/// Brings the store's tables to this version.
pub async fn migrate(settings: &Settings) -> anyhow::Result<()> {
    Ok(crate::store::sqlite::migrate(&settings.store_path()?).await?)
}

/// Looks into the store, for people; a hub may be running on it.
pub fn inspector(settings: &Settings) -> anyhow::Result<Inspector> {
    let path = settings.store_path()?;
    anyhow::ensure!(path.exists(), "there is no store at {}; start a hub there first", path.display());
    Ok(Inspector::open(&path))
}

/// Copies the store into a file; a hub may be running on it. Blocks.
pub fn backup(settings: &Settings, file: &Path) -> anyhow::Result<Contents> {
    Ok(sqlite::backup(&settings.store_path()?, file)?)
}

/// Puts a backup in the store's place. Refuses while a hub runs.
pub async fn restore(settings: &Settings, file: &Path) -> anyhow::Result<Restored> {
    Ok(sqlite::restore(&settings.store_path()?, file).await?)
}
