//! Placeholder until definitions land.
/// A domain's rules.
#[derive(Debug)]
pub struct Definition;
