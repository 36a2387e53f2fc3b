//! From the arguments to a hub that can be connected to: one that is started here, or one that runs.

use anyhow::{Result, bail};

use crate::args::RunArgs;
use crate::chance::Chance;
use crate::hub::{Hub, HubOptions, without_rates};
use crate::progress::say;
use crate::target::Target;
use crate::token::Signer;

/// Starts the hub that the arguments ask for, if they do.
pub(crate) async fn start_hub(args: &RunArgs, chance: &Chance) -> Result<Option<Hub>> {
    let Some(binary) = &args.spawn_hub else { return Ok(None) };
    let options = HubOptions {
        binary: binary.clone(),
        domains_dir: args.domains_dir.clone(),
        tail_bytes: args.tail_bytes,
        keep: args.keep,
        settings: without_rates(),
    };
    let hub = Hub::start(options, chance).await?;
    if args.keep {
        say(args.json, &format!("the hub keeps its data in {}", hub.data_dir().display()));
    }
    Ok(Some(hub))
}

/// Where the devices connect to.
pub(crate) fn target(args: &RunArgs, hub: Option<&Hub>) -> Result<Target> {
    let (url, signer) = match (hub, &args.secret, &args.data_dir) {
        (Some(hub), ..) => (hub.url(), Signer::new(hub.secret())),
        (None, Some(secret), None) => (args.url.clone(), Signer::new(secret)),
        (None, _, Some(data_dir)) => (args.url.clone(), Signer::from_data_dir(data_dir)?),
        (None, None, None) => {
            bail!("say what signs the tokens: --data-dir of the hub, --secret, or --spawn-hub")
        }
    };
    Ok(Target { tongue: args.encoding, ..Target::new(url, signer) })
}
