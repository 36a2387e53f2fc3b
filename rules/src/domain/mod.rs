//! Domains: the kinds of record, each described by a definition file and by nothing else.
//!
//! A file is read into a [`Definition`], checked as a whole on the way, and put into a [`Catalog`],
//! which finds the one that holds for a tenant. A definition answers questions about one value or
//! one record; it decides no conflict, knows no version and never reads a clock or a disk. No
//! domain's name stands in this code. `docs/domains.md` describes the file.

mod append;
pub mod catalog;
mod compile;
pub mod definition;
pub mod escalation;
mod fields;
mod file;
mod priority;
pub mod violation;
mod workflow;

#[cfg(test)]
mod tests;

pub use catalog::Catalog;
pub use compile::DefinitionError;
pub use definition::Definition;
pub use escalation::Escalation;
pub use file::Visibility;
pub use violation::Violation;
pub use workflow::Author;
