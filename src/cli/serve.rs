//! `synchub serve`: decides which key the hub runs with, then hands over.
//!
//! A hub with a key that it made itself is for this machine alone.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use synchub_rules::domain::Catalog;

use super::args::ServeArgs;
use super::outcome::Failure;
use super::{Surroundings, calls, load_settings};
use crate::auth::{Grant, Role, Signer, load_or_make_dev_key};
use crate::config::Settings;
use crate::entropy::Entropy;
use crate::observe::start_logging;

/// How long the token of `--dev` is good, in seconds. A day: as long as somebody tries things out.
const DEV_TOKEN_SECS: u64 = 24 * 60 * 60;
/// The tenant and the user of that token.
const DEMO: &str = "demo";

pub(super) fn run(args: ServeArgs, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let flags = [
        args.listen.map(|address| ("listen", "--listen", address)),
        args.record.map(|file| ("record.file", "--record", file)),
        args.record_masked.then(|| ("record.masked", "--record-masked", "true".to_owned())),
    ];
    let flags = flags.into_iter().flatten().collect();
    let loaded = load_settings(&args.config, flags, surroundings)?;
    let settings = with_key(loaded.settings, args.dev, &*surroundings.entropy)?;
    start_logging(&settings.log).map_err(|error| Failure::usage(&error))?;
    for warning in loaded.warnings {
        tracing::warn!(warning, "look at the configuration");
    }
    if args.dev {
        let text = greeting(&settings, surroundings.clock.now_us())?;
        surroundings.out.write_all(text.as_bytes())?;
        surroundings.out.flush()?;
    }
    Ok(calls::serve(settings, surroundings.clock.clone(), surroundings.entropy.clone())?)
}

/// `settings` with a key: the configured one, or with `dev` that of the data folder.
pub(super) fn with_key(
    mut settings: Settings,
    dev: bool,
    entropy: &dyn Entropy,
) -> Result<Settings, Failure> {
    if settings.auth.has_keys() {
        return Ok(settings);
    }
    if !dev {
        return Err(Failure::Usage(
            "no key for tokens is configured: set SYNCHUB_AUTH_HS256_SECRET in the environment, or \
             `auth.hs256_secret`, `auth.keys` or `auth.jwks_url` in the file, or start with --dev to have a key made for trying things out"
                .to_owned(),
        ));
    }
    if !settings.listen.ip().is_loopback() {
        return Err(Failure::Usage(format!(
            "--dev with a key that the hub makes itself listens on this machine alone, and `listen` is {}: \
             set SYNCHUB_AUTH_HS256_SECRET, or listen on 127.0.0.1:{}",
            settings.listen,
            settings.listen.port()
        )));
    }
    let key = load_or_make_dev_key(&settings.data_dir, entropy).map_err(anyhow::Error::msg)?;
    settings.auth.hs256_secret = Some(key);
    Ok(settings)
}

/// What `--dev` prints: where the hub is, a token alone on its line, and a line to try.
pub(super) fn greeting(settings: &Settings, now_us: i64) -> Result<String, Failure> {
    let mut grant = Grant::new(DEMO, DEMO, Role::Device);
    grant.ttl_secs = DEV_TOKEN_SECS;
    let address = reachable(settings.listen);
    let Ok(signer) = Signer::new(&settings.auth) else {
        return Ok(format!(
            "synchub {version}, for development: ws://{address}/ws\n\
             Tokens are signed with the configured keys, of which the hub has the public part only.\n",
            version = env!("CARGO_PKG_VERSION"),
        ));
    };
    let token = signer.sign(&grant, now_us).map_err(anyhow::Error::msg)?;
    Ok(format!(
        "synchub {version}, for development: ws://{address}/ws\n\
         A token for the devices of user demo in tenant demo, good for a day:\n\
         \n\
         {token}\n\
         \n\
         Try it (Node 22 or later):\n\
         \n\
         {line}\n\
         \n",
        version = env!("CARGO_PKG_VERSION"),
        line = line_to_try(address, &token),
    ))
}

fn line_to_try(address: SocketAddr, token: &str) -> String {
    let catalog = Catalog::builtin();
    let with_feed = catalog.of(DEMO).filter(|domain| domain.feed());
    let subscriptions: Vec<_> =
        with_feed.map(|domain| serde_json::json!({"domain": domain.name()})).collect();
    let hello = serde_json::json!({
        "type": "hello", "id": 1, "token": token,
        "device": {"id": "demo-1", "kind": "laptop"}, "subscriptions": subscriptions,
    });
    format!(
        "node -e 'const s = new WebSocket(\"ws://{address}/ws\", \"synchub.v1.json\"); \
         s.onmessage = m => console.log(m.data); s.onclose = c => console.log(c.code, c.reason); \
         s.onopen = () => s.send(JSON.stringify({hello}))'"
    )
}

/// An address that a client on this machine can use.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = if listen.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { listen.ip() };
    SocketAddr::new(ip, listen.port())
}
