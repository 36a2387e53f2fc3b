//! The engine over sockets: what becomes of entries, once and for all, alone and in groups.

mod batches;
mod deletes;
mod desk;
mod edits;
mod groups;
mod numbers;
mod purged;
mod times;
