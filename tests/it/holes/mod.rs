//! The holes by which systems of this kind lose, double or leak data, each closed by a test of its name.
//!
//! Some stand where their rule is tested:
//! - two hellos of one device in the wrong order: `session::c11_takeover`,
//!   `c11_a_lower_attempt_of_the_same_install_is_the_late_one`;
//! - an entry that the store refuses in a group of eight batches: `engine::groups`,
//!   `inv1_a_batch_that_the_store_refuses_fails_alone_in_its_group`.

mod answers;
mod snapshots;
mod views;
