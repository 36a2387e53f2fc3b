//! `synchub show`: what the store holds, one JSON object a line.

use serde_json::Value;

use super::args::{Show, ShowArgs};
use super::outcome::Failure;
use super::{Surroundings, calls, settings_with_warnings};
use crate::store::DeliveryQuery;

pub(super) fn run(args: ShowArgs, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let found = match args.what {
        Show::Record { config, tenant, domain, id } => {
            let settings = settings_with_warnings(&config, surroundings)?;
            let record = calls::show_record(&settings, &tenant, &domain, id)?;
            let missing = || anyhow::anyhow!("tenant `{tenant}` has no record {id} in domain `{domain}`");
            vec![record.ok_or_else(missing)?]
        }
        Show::Device { config, tenant, user, device } => {
            let settings = settings_with_warnings(&config, surroundings)?;
            calls::show_devices(&settings, &tenant, user.as_deref(), device.as_deref())?
        }
        Show::Log { config, tenant, after, limit } => {
            let settings = settings_with_warnings(&config, surroundings)?;
            calls::show_log(&settings, &tenant, after, limit)?
        }
        Show::Deliveries { config, tenant, user, device, push, after, limit } => {
            let settings = settings_with_warnings(&config, surroundings)?;
            let now_us = surroundings.clock.now_us();
            let query = DeliveryQuery { tenant, user, device, push_id: push, after, limit, now_us };
            calls::show_deliveries(&settings, query)?
        }
        Show::Digest { config, tenant, domain } => {
            let settings = settings_with_warnings(&config, surroundings)?;
            calls::show_digests(&settings, &tenant, domain.as_deref())?
        }
    };
    print(&found, surroundings)
}

fn print(found: &[Value], surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    for value in found {
        writeln!(surroundings.out, "{value}")?;
    }
    Ok(())
}
