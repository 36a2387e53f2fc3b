//! Writes settings down as a file that would give them again, secrets apart.

use super::names::NAMES;
use super::settings::Settings;

impl Settings {
    /// The settings as TOML. Secrets are `***`; what is not set stands in a comment at the top.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        let table = toml::Table::try_from(self)?;
        let is_set = |key: &str| {
            key.split('.')
                .try_fold(&toml::Value::Table(table.clone()), |value, name| value.get(name))
                .is_some()
        };
        let unset: Vec<_> = NAMES.iter().map(|name| name.key).filter(|key| !is_set(key)).collect();
        let head =
            if unset.is_empty() { String::new() } else { format!("# not set: {}\n", unset.join(", ")) };
        Ok(head + &toml::to_string(self)?)
    }
}
