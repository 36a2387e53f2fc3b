//! The yardsticks: bare programs that do what the hub must do at least, each in a process of its own.

pub(crate) mod bare_store;
pub(crate) mod broadcaster;
pub(crate) mod decode;
pub(crate) mod items;
pub(crate) mod node;
pub(crate) mod writer;
