//! The domains that this hub knows, with their numbers in the store.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use synchub_rules::domain;
use synchub_rules::group::Domain;
use synchub_rules::record::DomainNo;

use crate::store::{Store, StoreError, Visible};

/// Domains by tenant and name.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    shared: HashMap<String, Arc<Domain>>,
    own: HashMap<String, HashMap<String, Arc<Domain>>>,
}

impl Catalog {
    /// Gives every definition its number.
    pub async fn open(definitions: &domain::Catalog, store: &dyn Store) -> Result<Self, StoreError> {
        let names: BTreeSet<_> =
            definitions.iter().map(|(_, definition)| definition.name().to_owned()).collect();
        let names: Vec<_> = names.into_iter().collect();
        let numbers = store.domains(names.clone()).await?;
        let numbers = names.into_iter().zip(numbers).collect();
        let moved = store.rescope(visibilities(definitions, &numbers)).await?;
        if moved > 0 {
            tracing::info!(records = moved, "records have moved to the scopes of a changed visibility");
        }
        Ok(Self::numbered(definitions, &numbers))
    }

    /// The definitions under these numbers; each name has one.
    pub(crate) fn numbered(definitions: &domain::Catalog, numbers: &HashMap<String, DomainNo>) -> Self {
        let mut catalog = Self::default();
        for (tenant, definition) in definitions.iter() {
            let name = definition.name();
            let domain =
                Domain { no: numbers[name], name: Arc::from(name), definition: Arc::clone(definition) };
            let of = match tenant {
                Some(tenant) => catalog.own.entry(tenant.to_owned()).or_default(),
                None => &mut catalog.shared,
            };
            of.insert(name.to_owned(), Arc::new(domain));
        }
        catalog
    }

    /// The domain of this name, the tenant's own first.
    pub fn lookup(&self, tenant: &str, name: &str) -> Option<Arc<Domain>> {
        let own = self.own.get(tenant).and_then(|own| own.get(name));
        own.or_else(|| self.shared.get(name)).map(Arc::clone)
    }
}

/// Who sees the records of each domain, for all tenants.
fn visibilities(definitions: &domain::Catalog, numbers: &HashMap<String, DomainNo>) -> Vec<Visible> {
    let mut visible: BTreeMap<DomainNo, Visible> = BTreeMap::new();
    for (tenant, definition) in definitions.iter() {
        let domain = numbers[definition.name()];
        let none = Visible { domain, shared: None, own: BTreeMap::new() };
        let entry = visible.entry(domain).or_insert(none);
        match tenant {
            Some(tenant) => drop(entry.own.insert(tenant.to_owned(), definition.visibility())),
            None => entry.shared = Some(definition.visibility()),
        }
    }
    visible.into_values().collect()
}
