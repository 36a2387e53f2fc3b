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
    turns: HashMap<DomainNo, u64>,
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
        let covers = covers(definitions, &numbers);
        let turns = store.turns(covers.clone()).await?;
        let turns = covers.into_iter().map(|(no, _)| no).zip(turns).collect();
        Ok(Self { turns, ..Self::numbered(definitions, &numbers) })
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

    /// How often it changed who is sent a domain's records. A definition that was changed and changed back
    /// left no rows in the log for what was written meanwhile, or rows in other scopes.
    pub fn turn(&self, domain: DomainNo) -> u64 {
        self.turns.get(&domain).copied().unwrap_or_default()
    }
}

/// What decides who is sent the records of each domain, for all tenants, as a text.
fn covers(definitions: &domain::Catalog, numbers: &HashMap<String, DomainNo>) -> Vec<(DomainNo, String)> {
    let mut texts: BTreeMap<DomainNo, BTreeSet<String>> = BTreeMap::new();
    for (tenant, definition) in definitions.iter() {
        let cover = u64::from_be_bytes(definition.fingerprint());
        let whose = tenant.map_or(String::new(), |tenant| format!("{tenant}="));
        texts.entry(numbers[definition.name()]).or_default().insert(format!("{whose}{cover:016x}"));
    }
    let join = |texts: BTreeSet<String>| texts.into_iter().collect::<Vec<_>>().join(" ");
    texts.into_iter().map(|(no, texts)| (no, join(texts))).collect()
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
