//! `synchub token`: prints a token, and nothing else on standard output.

use super::args::TokenArgs;
use super::outcome::Failure;
use super::{Surroundings, settings_with_warnings};
use crate::auth::{DEV_KEY_FILE, Grant, NoKey, Signer, load_dev_key};
use crate::config::Settings;

pub(super) fn run(args: TokenArgs, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let signer = signer(settings_with_warnings(&args.config, surroundings)?)?;
    let grant = Grant {
        tenant: args.tenant,
        user: args.user,
        role: args.role,
        unit: args.unit,
        device: args.device,
        units: args.units,
        domains: args.domains,
        ttl_secs: args.ttl.as_secs(),
    };
    let token = signer.sign(&grant, surroundings.clock.now_us()).map_err(|error| Failure::usage(&error))?;
    Ok(writeln!(surroundings.out, "{token}")?)
}

/// Signs with the configured key, or with that of the data folder.
pub(super) fn signer(mut settings: Settings) -> Result<Signer, Failure> {
    // A hub with public keys makes none of its own, and takes no token that is signed with one.
    if !settings.auth.has_keys() {
        settings.auth.hs256_secret = load_dev_key(&settings.data_dir).map_err(anyhow::Error::msg)?;
    }
    Signer::new(&settings.auth).map_err(|NoKey| no_key(&settings))
}

fn no_key(settings: &Settings) -> Failure {
    if settings.auth.has_public_keys() {
        return Failure::Usage(
            "the hub has public keys only, and cannot sign: the issuer that holds the private keys makes the tokens"
                .to_owned(),
        );
    }
    Failure::Usage(format!(
        "there is no key to sign with: set SYNCHUB_AUTH_HS256_SECRET or `auth.hs256_secret` to the hub's key, \
         or start `synchub serve --dev` once, which makes {}",
        settings.data_dir.join(DEV_KEY_FILE).display()
    ))
}
