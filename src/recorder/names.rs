//! The names behind the numbers of tenants and units: batches carry numbers alone, sessions know both.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use synchub_rules::record::{PartyNo, TenantNo};

/// What sessions tell a recording; nothing is kept where none was asked for.
#[derive(Debug, Clone, Default)]
pub struct Names(Option<Arc<RwLock<Known>>>);

#[derive(Debug, Default)]
struct Known {
    tenants: HashMap<TenantNo, String>,
    units: HashMap<PartyNo, String>,
}

impl Names {
    /// Names that are kept.
    pub(super) fn asked() -> Self {
        Self(Some(Arc::default()))
    }

    /// A session of this tenant, and of this unit if it has one, begins.
    pub fn tell(&self, tenant: (TenantNo, &str), unit: Option<(PartyNo, &str)>) {
        let Some(known) = &self.0 else { return };
        let is_known = {
            let known = known.read();
            known.tenants.contains_key(&tenant.0) && unit.is_none_or(|unit| known.units.contains_key(&unit.0))
        };
        if !is_known {
            let mut known = known.write();
            known.tenants.insert(tenant.0, tenant.1.to_owned());
            known.units.extend(unit.map(|(number, name)| (number, name.to_owned())));
        }
    }

    /// The name of a tenant.
    pub(super) fn tenant(&self, number: TenantNo) -> Option<String> {
        self.0.as_ref()?.read().tenants.get(&number).cloned()
    }

    /// The name of a unit.
    pub(super) fn unit(&self, number: PartyNo) -> Option<String> {
        self.0.as_ref()?.read().units.get(&number).cloned()
    }
}
