//! Puts the file, the environment and the flags together, and says which part of which is wrong.
//!
//! No error shows a line of the file or the value of a secret.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use config::{Config, File, FileFormat, Map, Source, Value, ValueKind};

use super::check::{OutOfRange, check};
use super::names::{CONFIG_VARIABLE, PREFIX, is_section, is_setting, key_of, neighbours};
use super::settings::Settings;
use super::store_url::StoreUrlError;

/// Where settings come from, the weakest first.
#[derive(Default)]
pub struct Sources {
    /// The file, if one was named.
    pub file: Option<PathBuf>,
    /// The environment; variables of other programs are passed over.
    pub environment: Vec<(String, OsString)>,
    /// What flags say: the setting's key, the flag, and its value.
    pub flags: Vec<(&'static str, &'static str, String)>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Settings that were found good.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// What an operator should hear, such as variables that mean nothing; without values.
    pub warnings: Vec<String>,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "cannot read the configuration file {path}: {source}; check the path given with --config or {CONFIG_VARIABLE}"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path}, line {line}: {message}; the file must be TOML")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What was expected there.
        message: String,
    },
    /// The file has a key that is no setting.
    #[error("unknown key `{key}` in {origin}; known here: {known}")]
    UnknownKey {
        /// The key with its section.
        key: String,
        /// The file.
        origin: String,
        /// What would be right.
        known: String,
    },
    /// The file gives a section a value.
    #[error("`{key}` in {origin} is a section: write `[{key}]` and its keys below")]
    SectionWithValue {
        /// The section.
        key: String,
        /// The file.
        origin: String,
    },
    /// A number has decimals.
    #[error("`{key}` in {origin} must be a whole number")]
    NotWhole {
        /// The setting.
        key: String,
        /// The file.
        origin: String,
    },
    /// A variable cannot be read as text.
    #[error("the environment variable {variable} is not UTF-8 text")]
    NotText {
        /// Its name.
        variable: String,
    },
    /// A value has the wrong type or form.
    #[error("cannot use {place}: {problem}; docs/configuration.md says what each setting takes")]
    Value {
        /// The key, and where it stands.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A value is of the right type, and still impossible.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// The store's address means nothing to this version.
    #[error(transparent)]
    StoreUrl(#[from] StoreUrlError),
    /// A bus between nodes was configured.
    #[error(
        "`bus.url` is set, and this version runs as one node with its bus in the process: leave `bus.url` out"
    )]
    BusUrl,
}

/// Reads all `sources`; with none, the defaults.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut warnings = Vec::new();
    let mut builder = Config::builder();
    if let Some(path) = &sources.file {
        builder = builder.add_source(Named { origin: path.display().to_string(), values: read_file(path)? });
    }
    for source in from_environment(&sources.environment, &mut warnings)? {
        builder = builder.add_source(source);
    }
    for (key, flag, text) in &sources.flags {
        builder = builder.add_source(Named::text((*flag).to_owned(), key, text));
    }
    let merged = builder.build().map_err(|error| unusable(&error, None))?;
    check_keys(&merged.cache, "")?;
    let read = merged.clone().try_deserialize();
    let settings: Settings = read.map_err(|error| unusable(&error, Some(&merged.cache)))?;
    check(&settings)?;
    settings.store_path()?;
    if settings.bus.url.is_some() {
        return Err(ConfigError::BusUrl);
    }
    warnings.extend(weak_key(&settings));
    Ok(Loaded { settings, warnings })
}

fn read_file(path: &Path) -> Result<Map<String, Value>, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    // The parser's own message would quote the line, which may hold a key.
    text.parse::<toml::Table>().map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: 1 + error.span().map_or(0, |span| text[..span.start].matches('\n').count()),
        message: error.message().to_owned(),
    })?;
    File::from_str(&text, FileFormat::Toml).collect().map_err(|error| unusable(&error, None))
}

fn from_environment(
    environment: &[(String, OsString)],
    warnings: &mut Vec<String>,
) -> Result<Vec<Named>, ConfigError> {
    let mut found = Vec::new();
    for (variable, value) in environment {
        if !variable.starts_with(PREFIX) || variable == CONFIG_VARIABLE {
            continue;
        }
        let Some(key) = key_of(variable) else {
            warnings.push(format!("the environment variable {variable} is no setting and means nothing"));
            continue;
        };
        let text = value.to_str().ok_or_else(|| ConfigError::NotText { variable: variable.clone() })?;
        // Process managers write `NAME=` for what they have no value for.
        if !text.is_empty() {
            found.push(Named::text(format!("the environment variable {variable}"), key, text));
        }
    }
    Ok(found)
}

fn check_keys(value: &Value, key: &str) -> Result<(), ConfigError> {
    let origin = || value.origin().unwrap_or("the configuration").to_owned();
    match &value.kind {
        ValueKind::Table(table) if key.is_empty() || (is_section(key) && !is_setting(key)) => {
            table.iter().try_for_each(|(name, inner)| check_keys(inner, &join(key, name)))
        }
        _ if is_section(key) => Err(ConfigError::SectionWithValue { key: key.to_owned(), origin: origin() }),
        _ if !is_setting(key) => {
            Err(ConfigError::UnknownKey { key: key.to_owned(), origin: origin(), known: neighbours(key) })
        }
        ValueKind::Float(_) => Err(ConfigError::NotWhole { key: key.to_owned(), origin: origin() }),
        _ => Ok(()),
    }
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

/// Says which value of which source is at fault; the library knows the source of some errors only.
fn unusable(error: &config::ConfigError, values: Option<&Value>) -> ConfigError {
    use config::ConfigError::{At, Type};
    let (key, problem) = match error {
        At { error, key, .. } => (key.as_deref(), error.to_string()),
        Type { key, unexpected, expected, .. } => (key.as_deref(), format!("{unexpected} is not {expected}")),
        other => (None, other.to_string()),
    };
    let origin = key.zip(values).and_then(|(key, values)| origin_of(values, key));
    let key = key.map_or_else(|| "the configuration".to_owned(), |key| format!("`{key}`"));
    let place = origin.map_or_else(|| key.clone(), |origin| format!("{key} in {origin}"));
    ConfigError::Value { place, problem }
}

fn origin_of<'a>(values: &'a Value, key: &str) -> Option<&'a str> {
    let mut value = values;
    for name in key.split('.') {
        // What stands in a list has no origin of its own.
        let ValueKind::Table(table) = &value.kind else { break };
        value = table.get(name.split('[').next()?)?;
    }
    value.origin()
}

fn weak_key(settings: &Settings) -> Option<String> {
    let secret = settings.auth.hs256_secret.as_ref()?;
    (secret.expose().len() < 32).then(|| {
        "`auth.hs256_secret` is shorter than 32 bytes, and such a key can be guessed from a token; \
         `openssl rand -base64 32` makes a good one"
            .to_owned()
    })
}

/// Values with the name of where they stand, which errors show.
#[derive(Debug, Clone)]
struct Named {
    origin: String,
    values: Map<String, Value>,
}

impl Named {
    fn text(origin: String, key: &str, text: &str) -> Self {
        let value = Value::new(None, ValueKind::String(text.to_owned()));
        Self { origin, values: Map::from_iter([(key.to_owned(), value)]) }
    }
}

impl Source for Named {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.values.iter().map(|(key, value)| (key.clone(), renamed(value, &self.origin))).collect())
    }
}

fn renamed(value: &Value, origin: &String) -> Value {
    let kind = match &value.kind {
        ValueKind::Table(table) => {
            ValueKind::Table(table.iter().map(|(key, inner)| (key.clone(), renamed(inner, origin))).collect())
        }
        other => other.clone(),
    };
    Value::new(Some(origin), kind)
}
