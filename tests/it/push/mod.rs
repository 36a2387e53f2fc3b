//! Pushes that are not changes (P1–P5), from the socket of a service to those of the devices.

mod alerts;
mod delivery_log;
mod held;
mod http;
mod limits;
mod live;
mod owed;
mod publish;
pub(crate) mod service;
