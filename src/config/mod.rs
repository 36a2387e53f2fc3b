//! Settings: what there is, where it comes from, and what is wrong with it.
//!
//! A file is overridden by the environment, the environment by flags. Nothing here reads the
//! process's environment or arguments by itself, opens a socket, or makes a folder.

mod admission;
mod auth;
mod check;
mod load;
mod names;
mod push;
mod rates;
mod record;
mod render;
mod retention;
mod secret;
mod settings;
mod store_url;
#[cfg(test)]
mod tests;
mod trace;

pub use admission::AdmissionSettings;
pub use auth::{AuthSettings, KeyAlgorithm, KeySettings};
pub use check::OutOfRange;
pub use load::{ConfigError, Loaded, Sources, load};
pub use names::{CONFIG_VARIABLE, NAMES, SettingName};
pub use push::{MAX_TTL_SECS, PushSettings};
pub use rates::{OwnRates, RateName, RateSettings};
pub use record::RecordSettings;
pub use retention::RetentionSettings;
pub use secret::Secret;
pub use settings::{
    BusSettings, CatchUpSettings, CommitSettings, DevicePrioritySettings, DrainSettings, FeedSettings,
    LimitSettings, LogFormat, LogSettings, Settings, StoreSettings,
};
pub use store_url::StoreUrlError;
pub use trace::TraceSettings;
