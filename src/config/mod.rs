//! Settings: what there is, where it comes from, and what is wrong with it.
//!
//! A file is overridden by the environment, the environment by flags. Nothing here reads the
//! process's environment or arguments by itself, opens a socket, or makes a folder.

mod secret;
mod settings;

pub use secret::Secret;
pub use settings::{
    AuthSettings, BusSettings, CatchUpSettings, CommitSettings, DevicePrioritySettings, DrainSettings,
    FeedSettings, LimitSettings, LogFormat, LogSettings, Settings, StoreSettings,
};
