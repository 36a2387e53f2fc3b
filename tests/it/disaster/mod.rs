//! What happens after a disaster: the hub restored, put back by hand, or a phone restored (R1, R2, O4,
//! invariant 11).

mod backups;
mod crashes;
mod histories;
mod phones;
mod restored;
pub(crate) mod tools;
