//! How a command ends: what went wrong, as one paragraph, and the exit code.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

/// Why a command did not do its work.
#[derive(Debug)]
pub(super) enum Failure {
    /// The arguments or the configuration are wrong; running it again changes nothing.
    Usage(String),
    /// Everything else.
    Other(anyhow::Error),
}

impl Failure {
    /// A failure that the arguments or the configuration are to blame for.
    pub(super) fn usage(error: &dyn Error) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Other(anyhow::Error::new(error).context("cannot write the output"))
    }
}

/// Writes what went wrong and returns the exit code.
pub(super) fn report(outcome: Result<(), Failure>, err: &mut dyn Write) -> ExitCode {
    let (text, code) = match outcome {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(text)) => (text, 2),
        Err(Failure::Other(error)) => (format!("{error:#}"), 1),
    };
    // With standard error gone too, the exit code is all that is left.
    drop(writeln!(err, "synchub: {text}"));
    ExitCode::from(code)
}
