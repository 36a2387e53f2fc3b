//! What `store.url` means.
//!
//! No error shows the address: those of database servers hold passwords.

use std::path::PathBuf;

use super::settings::Settings;

/// The database's file in the data folder, where `store.url` says nothing else.
const DEFAULT_FILE: &str = "synchub.db";

/// Why `store.url` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreUrlError {
    /// Another kind of database.
    #[error(
        "`store.url` begins with `{scheme}:`, and this version stores in SQLite: write `sqlite:` and a path, or leave it out"
    )]
    Scheme {
        /// What stands before the first colon.
        scheme: String,
    },
    /// No colon, so no scheme.
    #[error("`store.url` must begin with `sqlite:`, such as `sqlite:/var/lib/synchub/synchub.db`")]
    NoScheme,
    /// Nothing after the scheme.
    #[error("`store.url` names no file: write `sqlite:` and a path, or leave it out")]
    NoPath,
    /// A database in memory.
    #[error(
        "`store.url` asks for a database in memory, where acknowledged data would be lost: write `sqlite:` and a path"
    )]
    Memory,
    /// A query behind the path.
    #[error("`store.url` has options behind `?`, and none can be set there: leave them out")]
    Options,
}

impl Settings {
    /// The database's file: that of `store.url`, else `synchub.db` in the data folder.
    pub fn store_path(&self) -> Result<PathBuf, StoreUrlError> {
        let Some(url) = &self.store.url else {
            return Ok(self.data_dir.join(DEFAULT_FILE));
        };
        let (scheme, rest) = url.split_once(':').ok_or(StoreUrlError::NoScheme)?;
        if scheme != "sqlite" {
            return Err(StoreUrlError::Scheme { scheme: scheme.to_owned() });
        }
        let path = rest.strip_prefix("//").unwrap_or(rest);
        match path {
            "" => Err(StoreUrlError::NoPath),
            ":memory:" => Err(StoreUrlError::Memory),
            _ if path.contains('?') => Err(StoreUrlError::Options),
            _ => Ok(PathBuf::from(path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(url: &str) -> Result<PathBuf, StoreUrlError> {
        let mut settings = Settings::default();
        settings.store.url = Some(url.to_owned());
        settings.store_path()
    }

    #[test]
    fn a_sqlite_url_is_a_path() {
        for (url, path) in [
            ("sqlite:hub.db", "hub.db"),
            ("sqlite://hub.db", "hub.db"),
            ("sqlite:/var/hub.db", "/var/hub.db"),
            ("sqlite:///var/hub.db", "/var/hub.db"),
        ] {
            assert_eq!(path_of(url), Ok(PathBuf::from(path)), "{url}");
        }
        assert_eq!(Settings::default().store_path(), Ok(PathBuf::from("./synchub-data/synchub.db")));
    }

    #[test]
    fn other_addresses_are_refused_without_being_shown() {
        for (url, expected) in [
            ("postgres://hub:hunter2@db/hub", StoreUrlError::Scheme { scheme: "postgres".to_owned() }),
            ("/hunter2/hub.db", StoreUrlError::NoScheme),
            ("sqlite:", StoreUrlError::NoPath),
            ("sqlite://", StoreUrlError::NoPath),
            ("sqlite::memory:", StoreUrlError::Memory),
            ("sqlite:hunter2.db?mode=rw", StoreUrlError::Options),
        ] {
            let error = path_of(url).unwrap_err();
            assert_eq!(error, expected, "{url}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
