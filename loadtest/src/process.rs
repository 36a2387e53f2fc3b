//! What the system says of a process: resident memory and processor time. Linux only: elsewhere nothing can be read.

use std::fs;

use anyhow::{Context, Result};

/// A running process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// Its resident memory, in KiB.
    pub(crate) fn resident_kib(self) -> Result<u64> {
        self.status("VmRSS:")
    }

    /// The most it has had since [`Process::forget_peak`], in KiB.
    pub(crate) fn peak_kib(self) -> Result<u64> {
        self.status("VmHWM:")
    }

    /// Begins to measure the peak anew.
    pub(crate) fn forget_peak(self) -> Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.0), "5").context("the peak cannot be reset")
    }

    /// Processor time that it has used, in ticks of a hundredth of a second.
    pub(crate) fn ticks(self) -> Result<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0))
            .with_context(|| format!("process {} cannot be read; is it gone?", self.0))?;
        // The name in parentheses may hold spaces; user and system time are the 12th and 13th field after it.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        Ok(rest.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum())
    }

    fn status(self, field: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))
            .with_context(|| format!("process {} cannot be read; is it gone?", self.0))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.with_context(|| format!("no {field} in /proc/{}/status", self.0))
    }
}
