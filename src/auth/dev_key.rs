//! The key that a hub makes for itself where nobody configured one, for development only.
//!
//! It lies in the data folder, readable by its owner alone, so that tokens outlive a restart.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config::Secret;
use crate::entropy::Entropy;

/// The key's file in the data folder.
pub const DEV_KEY_FILE: &str = "signing-key";

/// The key's length before it is written as text: as long as the digest that it keys.
const KEY_BYTES: usize = 32;

/// Why there is no development key.
#[derive(Debug, thiserror::Error)]
pub enum DevKeyError {
    /// The file or its folder cannot be read or made.
    #[error("cannot use the development key {path}: {source}; check the data folder and who owns it")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{path} holds no development key; delete it, and `synchub serve --dev` makes a new one")]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
}

/// The key in `data_dir`, None if there is none. The key is the text in the file, not what it decodes to.
pub fn load_dev_key(data_dir: &Path) -> Result<Option<Secret>, DevKeyError> {
    let path = data_dir.join(DEV_KEY_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(DevKeyError::Io { path, source }),
    };
    let text = text.trim_end();
    match URL_SAFE_NO_PAD.decode(text) {
        Ok(key) if key.len() == KEY_BYTES => Ok(Some(Secret::new(text))),
        _ => Err(DevKeyError::NotAKey { path }),
    }
}

/// The key in `data_dir`; makes the folder and the key where they are missing.
pub fn load_or_make_dev_key(data_dir: &Path, entropy: &dyn Entropy) -> Result<Secret, DevKeyError> {
    if let Some(secret) = load_dev_key(data_dir)? {
        return Ok(secret);
    }
    let mut key = [0; KEY_BYTES];
    entropy.fill(&mut key);
    let text = URL_SAFE_NO_PAD.encode(key);
    let path = data_dir.join(DEV_KEY_FILE);
    write_new(data_dir, &path, &text).map_err(|source| DevKeyError::Io { path, source })?;
    Ok(Secret::new(text))
}

fn write_new(data_dir: &Path, path: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(data_dir)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
