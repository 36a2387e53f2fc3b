//! All definitions of a hub: those built in, those that replace or add for everyone, and those of
//! one tenant.
//!
//! Reading files from a disk is the caller's work; what comes here are their paths and texts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::domain::{Definition, DefinitionError};

/// File names and texts of the built-in definitions: every `*.toml` of the folder `domains`.
const BUILTIN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/builtin.rs"));

type Table = BTreeMap<String, Arc<Definition>>;

/// Finds the definition that holds for a tenant and a domain; made once, then shared.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    shared: Table,
    tenants: HashMap<String, Table>,
}

impl Catalog {
    /// The built-in domains; [`Catalog::default`] has none.
    pub fn builtin() -> Self {
        Self::default().load(BUILTIN.iter().copied()).expect("a test has loaded the built-in definitions")
    }

    /// Adds definition files to what is there: `NAME.toml` for all tenants, `TENANT/NAME.toml` for
    /// one, with `/` between the two on every system. A file takes the place of the definition of
    /// its name; all that is given must be definition files.
    pub fn load<P: AsRef<str>, T: AsRef<str>>(
        mut self,
        files: impl IntoIterator<Item = (P, T)>,
    ) -> Result<Self, DefinitionError> {
        for (path, text) in files {
            let path = path.as_ref();
            let (tenant, stem) =
                whose(path).ok_or_else(|| DefinitionError::Path { file: path.to_owned() })?;
            self = self.with(tenant, Definition::parse_named(path, stem, text.as_ref())?);
        }
        self.check_paths()?;
        Ok(self)
    }

    /// Adds one definition, for one tenant or (without) for all, in place of what stood there.
    #[must_use]
    pub fn with(mut self, tenant: Option<&str>, definition: Definition) -> Self {
        let table = match tenant {
            None => &mut self.shared,
            Some(tenant) => self.tenants.entry(tenant.to_owned()).or_default(),
        };
        table.insert(definition.name().to_owned(), Arc::new(definition));
        self
    }

    /// The tenant's own definition, else everyone's.
    pub fn lookup(&self, tenant: &str, domain: &str) -> Option<&Arc<Definition>> {
        self.tenants.get(tenant).and_then(|own| own.get(domain)).or_else(|| self.shared.get(domain))
    }

    /// The definitions that hold for a tenant, in the order of their names.
    pub fn of(&self, tenant: &str) -> impl Iterator<Item = &Arc<Definition>> {
        self.view(self.tenants.get(tenant)).into_values()
    }

    /// Every definition, with the tenant that it is for; none: for all.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&str>, &Arc<Definition>)> {
        let shared = self.shared.values().map(|definition| (None, definition));
        let own = self
            .tenants
            .iter()
            .flat_map(|(tenant, table)| table.values().map(|definition| (Some(tenant.as_str()), definition)));
        shared.chain(own)
    }

    /// The names of the tenant's domains, in order.
    pub fn names(&self, tenant: &str) -> impl Iterator<Item = &str> {
        self.view(self.tenants.get(tenant)).into_keys()
    }

    fn view<'c>(&'c self, own: Option<&'c Table>) -> BTreeMap<&'c str, &'c Arc<Definition>> {
        let tables = std::iter::once(&self.shared).chain(own);
        tables.flatten().map(|(name, definition)| (name.as_str(), definition)).collect()
    }

    /// Checks that no two domains of a tenant have the same address over HTTP; [`Catalog::load`] has
    /// done it.
    pub fn check_paths(&self) -> Result<(), DefinitionError> {
        for own in std::iter::once(None).chain(self.tenants.values().map(Some)) {
            let mut seen = HashMap::new();
            for (name, definition) in self.view(own) {
                if let Some(first) = seen.insert(definition.path(), name) {
                    return Err(DefinitionError::SamePath {
                        path: definition.path().to_owned(),
                        first: first.to_owned(),
                        second: name.to_owned(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// The tenant that a path names, if any, and the name of the domain.
fn whose(path: &str) -> Option<(Option<&str>, &str)> {
    let path = path.strip_suffix(".toml")?;
    let (tenant, stem) = path.split_once('/').map_or((None, path), |(tenant, stem)| (Some(tenant), stem));
    let whole = !stem.is_empty() && !stem.contains('/') && tenant.is_none_or(|tenant| !tenant.is_empty());
    whole.then_some((tenant, stem))
}
