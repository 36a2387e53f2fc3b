//! What the hub keeps of devices beside the engine: opening sessions, and acknowledged places.

mod acks;
mod registrar;

pub use acks::Acks;
pub use registrar::{RegisterError, Registrar};
