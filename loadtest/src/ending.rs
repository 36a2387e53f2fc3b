//! The end of a run: what the devices, the notes and the hub hold is compared.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::args::{RunArgs, Verify};
use crate::chance::Chance;
use crate::devices::{Devices, views};
use crate::hub::{self, Hub};
use crate::judge::{Evidence, against_snapshots, against_store};
use crate::ledger::Entry;
use crate::progress::say;
use crate::report::Verdict;
use crate::size::Size;
use crate::store;
use crate::survey::Survey;
use crate::target::Target;

/// A run whose lines are all through.
pub(crate) struct Ended<'a> {
    pub(crate) args: &'a RunArgs,
    pub(crate) survey: &'a Survey,
    pub(crate) entries: &'a [Entry],
    pub(crate) devices: &'a Devices,
    pub(crate) target: &'a Target,
}

impl Ended<'_> {
    /// Compares everything; the devices and the spawned hub have ended when it returns.
    pub(crate) async fn judge(&self, hub: Option<&mut Hub>) -> Result<(Verdict, Option<Size>)> {
        let regressions = self.devices.regressions();
        let (jumps, mismatches) = self.target.sightings.read();
        let evidence = Evidence {
            survey: self.survey,
            entries: self.entries,
            installs: self.devices.installs(),
            regressions: &regressions,
            differences: &[],
            jumps: &jumps,
            mismatches: &mismatches,
        };
        let held = |index, domain: &str| self.devices.held(index, domain);
        let spawned = hub.as_ref().map(|hub| hub.store());
        let file = spawned.as_deref().or(self.args.store.as_deref());
        match (self.args.verify, file) {
            (None | Some(Verify::Store), Some(file)) => {
                self.devices.stop().await;
                let note = self.end_hub(hub).await?;
                let mut verdict = against_store(&evidence, &store::read(file)?, held);
                verdict.notes.extend(note);
                Ok((verdict, Some(Size::of(file)?)))
            }
            (Some(Verify::Store), None) => bail!("--verify store needs --store or --spawn-hub"),
            _ => {
                let differences = self.devices.differences(self.survey).await;
                let evidence = Evidence { differences: &differences, ..evidence };
                let views = views(self.survey, self.target, &Arc::new(Chance::new(!self.args.seed))).await?;
                self.devices.stop().await;
                if let Some(hub) = hub {
                    hub.stop().await?;
                }
                Ok((against_snapshots(&evidence, &views, held), None))
            }
        }
    }

    /// Ends the spawned hub, or waits until somebody has ended the other one.
    async fn end_hub(&self, hub: Option<&mut Hub>) -> Result<Option<String>> {
        if let Some(hub) = hub {
            hub.stop().await?;
            return Ok(None);
        }
        say(self.args.json, "now stop the hub (SIGTERM or Ctrl-C): the verdict is read from its file");
        let limit = Duration::from_secs(self.args.store_wait);
        let stopped = hub::wait_until_stopped(&self.target.url, limit).await;
        Ok((!stopped).then(|| "the store was read while the hub was running".to_owned()))
    }
}
