//! Who sees what (V1 to V4, C4 to C6, D1): one table of what may happen to a record, run for everyone
//! who may look, and for each way to look: live, by replay, by snapshot.

mod copy;
mod table;
mod ways;
mod world;
