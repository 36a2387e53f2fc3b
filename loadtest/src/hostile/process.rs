//! What the system says of the hub's process: resident memory and processor time.

use std::fs;

use anyhow::{Context, Result};

/// A running process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process(pub(super) u32);

impl Process {
    /// Its resident memory, in KiB.
    pub(super) fn resident_kib(self) -> Result<u64> {
        self.status("VmRSS:")
    }

    /// The most it has had since [`Process::forget_peak`], in KiB.
    pub(super) fn peak_kib(self) -> Result<u64> {
        self.status("VmHWM:")
    }

    /// Begins to measure the peak anew.
    pub(super) fn forget_peak(self) -> Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.0), "5").context("the peak cannot be reset")
    }

    /// Processor time that it has used, in ticks of a hundredth of a second.
    pub(super) fn ticks(self) -> Result<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).context("the hub is gone")?;
        // The name in parentheses may hold spaces; user and system time are the 12th and 13th field after it.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        Ok(rest.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum())
    }

    fn status(self, field: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).context("the hub is gone")?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.with_context(|| format!("no {field} in /proc/{}/status", self.0))
    }
}
