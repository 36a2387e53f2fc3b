//! Who sees what (V1 to V4, C4 to C6, D1): one table of what may happen to a record, run for everyone
//! who may look, and for each way to look: live, by replay, by snapshot; and what one who may not see a
//! record can find out by writing.

mod copy;
mod rights;
mod secrets;
mod table;
mod tenants;
mod turmoil;
mod ways;
mod world;
