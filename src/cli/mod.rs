//! The command line: reads arguments and settings, and calls what does the work.
//!
//! Results go to standard output, everything else to standard error. The exit code is 0, 2 when the
//! arguments or the configuration are wrong, and 1 for every other failure.

mod args;
mod backup;
mod calls;
mod domains;
mod outcome;
mod push;
mod serve;
mod show;
#[cfg(test)]
mod tests;
mod token;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::auth::Verifier;
use crate::clock::{SharedClock, SystemClock};
use crate::config::{AuthSettings, CONFIG_VARIABLE, Loaded, Settings, Sources, load};
use crate::entropy::{OsEntropy, SharedEntropy};

use args::{Cli, Command, ConfigArgs};
use outcome::Failure;

/// What a command finds around it; a test gives it something else than the process.
struct Surroundings<'a> {
    environment: Vec<(String, OsString)>,
    clock: SharedClock,
    entropy: SharedEntropy,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let environment = std::env::vars_os();
    let mut surroundings = Surroundings {
        environment: environment
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .collect(),
        clock: SystemClock::shared(),
        entropy: OsEntropy::shared(),
        out: &mut std::io::stdout(),
        err: &mut std::io::stderr(),
    };
    let outcome = run(Cli::parse(), &mut surroundings);
    outcome::report(outcome, surroundings.err)
}

fn run(cli: Cli, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    match cli.command {
        Command::Serve(args) => serve::run(args, surroundings),
        Command::Token(args) => token::run(args, surroundings),
        Command::CheckConfig(args) => check_config(&args, surroundings),
        Command::Migrate(args) => {
            let settings = settings_with_warnings(&args, surroundings)?;
            Ok(calls::migrate(&settings)?)
        }
        Command::Backup(args) => backup::back_up(&args, surroundings),
        Command::Restore(args) => backup::restore(&args, surroundings),
        Command::Show(args) => show::run(args, surroundings),
        Command::Push(args) => push::run(args, surroundings),
        Command::Domains(args) => domains::run(args, surroundings),
    }
}

fn check_config(args: &ConfigArgs, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let mut settings = settings_with_warnings(args, surroundings)?;
    if settings.auth.has_keys() {
        check_keys(&settings.auth, surroundings)?;
    } else {
        writeln!(
            surroundings.err,
            "warning: no key for tokens is configured; only `synchub serve --dev` starts"
        )?;
    }
    let path = settings.store_path().map_err(|error| Failure::usage(&error))?;
    settings.store.url = Some(format!("sqlite:{}", path.display()));
    let text = settings.to_toml().map_err(|error| Failure::Other(error.into()))?;
    Ok(surroundings.out.write_all(text.as_bytes())?)
}

/// Keys that are no good are an error; an issuer that does not answer now may do so when the hub runs.
fn check_keys(auth: &AuthSettings, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let verifier = Verifier::new(auth).map_err(|error| Failure::usage(&error))?;
    if let Err(error) = calls::fetch_keys(&verifier, surroundings.clock.now_us())? {
        writeln!(surroundings.err, "warning: cannot get the set of keys for tokens: {error}")?;
    }
    Ok(())
}

/// The settings; `flags` are those of one command, beside those that all have.
fn load_settings(
    args: &ConfigArgs,
    flags: Vec<(&'static str, &'static str, String)>,
    surroundings: &Surroundings<'_>,
) -> Result<Loaded, Failure> {
    let mut sources = Sources { file: args.config.clone(), flags, ..Sources::default() };
    sources.environment.clone_from(&surroundings.environment);
    if sources.file.is_none() {
        let named = sources.environment.iter().find(|(name, _)| name == CONFIG_VARIABLE);
        sources.file = named.map(|(_, path)| PathBuf::from(path)).filter(|path| !path.as_os_str().is_empty());
    }
    if let Some(data_dir) = &args.data_dir {
        sources.flags.push(("data_dir", "--data-dir", data_dir.clone()));
    }
    load(&sources).map_err(|error| Failure::usage(&error))
}

/// The settings of a command that has no log, with its warnings on standard error.
fn settings_with_warnings(
    args: &ConfigArgs,
    surroundings: &mut Surroundings<'_>,
) -> Result<Settings, Failure> {
    let loaded = load_settings(args, Vec::new(), surroundings)?;
    for warning in &loaded.warnings {
        writeln!(surroundings.err, "warning: {warning}")?;
    }
    Ok(loaded.settings)
}
