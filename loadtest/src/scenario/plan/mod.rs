//! What happens in a scenario, decided before it begins: who writes what when, who goes and comes.
//!
//! A plan is a function of the command line and its seed. Each entry has a time of its own, so that a hub
//! that falls behind does not slow its load down. Nothing here knows sockets or clocks.

mod body;
mod builder;
mod shapes;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::body::{body, line_of};
pub(crate) use self::shapes::plan;
use crate::survey::{DeviceIndex, LineNo, Survey};

/// Whom a record belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The tenant.
    Shared,
    /// One user.
    Own,
}

impl Kept {
    /// The built-in domain of such records.
    pub(crate) fn domain(self) -> &'static str {
        match self {
            Self::Shared => "ticket",
            Self::Own => "journal",
        }
    }
}

/// An entry of the plan; its device and record stand in the survey's step of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    /// When it is to be submitted, from the start of the load; zero for what is there before.
    pub(crate) due: Duration,
    pub(crate) kept: Kept,
    /// Whether it creates its record; else it edits it.
    pub(crate) creates: bool,
    /// Whether its device is to be offline then: its answer is not timed.
    pub(crate) offline: bool,
}

/// What a device does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Submit(LineNo),
    Leave,
    ComeBack,
}

/// What a device does when, from the start of the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) at: Duration,
    pub(crate) act: Act,
}

/// A whole scenario.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) survey: Arc<Survey>,
    /// One for each step of the survey.
    pub(crate) lines: Vec<Line>,
    /// How many of the lines, the first ones, are played before the load begins.
    pub(crate) before: usize,
    /// The moves of each device, in order of time.
    pub(crate) moves: Vec<Vec<Move>>,
    /// How long the load takes.
    pub(crate) length: Duration,
    /// Devices that are kept from reading in time; what arrives there is timed apart.
    pub(crate) slow: HashSet<DeviceIndex>,
    /// How many bytes of text an entry carries.
    pub(crate) size: usize,
}

#[cfg(test)]
pub(crate) mod tests;
