//! What the hub keeps of devices beside the engine: opening sessions, and acknowledged places.

mod acks;
mod deliveries;
mod registrar;

pub use acks::Acks;
pub use deliveries::Deliveries;
pub use registrar::{RegisterError, Registrar};
