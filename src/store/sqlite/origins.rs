//! Who stands behind an install's number, by name. Neither a user's name nor a device's id ever changes, so
//! what was read once is kept.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use sqlx::{Sqlite, Transaction};
use synchub_protocol::server::Origin;
use synchub_rules::record::InstallNo;

use super::codec::Unreadable;
use super::reader::json_numbers;
use super::rows;
use crate::store::StoreError;

/// How many are kept; a full cache starts anew.
const KEPT: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Origins {
    known: RwLock<HashMap<InstallNo, Arc<Origin>>>,
}

/// The origins of one page.
pub(super) struct Found(HashMap<InstallNo, Arc<Origin>>);

impl Found {
    pub(super) fn get(&self, install: InstallNo) -> Result<Arc<Origin>, Unreadable> {
        let origin = self.0.get(&install).cloned();
        origin.ok_or_else(|| Unreadable::new("an origin", &format_args!("there is no install {install}")))
    }
}

impl Origins {
    pub(super) async fn find(
        &self,
        read: &mut Transaction<'static, Sqlite>,
        installs: impl Iterator<Item = InstallNo>,
    ) -> Result<Found, StoreError> {
        let mut found = HashMap::new();
        let mut missing = Vec::new();
        {
            let known = self.known.read();
            for install in installs {
                match known.get(&install) {
                    Some(origin) => _ = found.insert(install, Arc::clone(origin)),
                    None => missing.push(install),
                }
            }
        }
        if missing.is_empty() {
            return Ok(Found(found));
        }
        let new = read_origins(read, missing).await?;
        let mut known = self.known.write();
        if known.len() + new.len() > KEPT {
            known.clear();
        }
        known.extend(new.iter().map(|(install, origin)| (*install, Arc::clone(origin))));
        found.extend(new);
        Ok(Found(found))
    }
}

async fn read_origins(
    read: &mut Transaction<'static, Sqlite>,
    installs: Vec<InstallNo>,
) -> Result<Vec<(InstallNo, Arc<Origin>)>, StoreError> {
    let rows: Vec<(i64, String, Option<String>)> =
        sqlx::query_as(rows::ORIGINS).bind(json_numbers(installs)).fetch_all(&mut **read).await?;
    let origin = |(install, user, device)| (install, Arc::new(Origin { user, device }));
    Ok(rows.into_iter().map(origin).collect())
}
