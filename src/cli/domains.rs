//! `synchub domains`: checks definition files as the hub would load them, and lists those that hold.
//!
//! It reads files and nothing else; whether a hub is running, and on which store, is all the same to it.

use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use synchub_rules::domain::{Catalog, Definition, DefinitionError, Visibility};

use super::args::{Domains, DomainsArgs};
use super::outcome::Failure;
use super::{Surroundings, settings_with_warnings};
use crate::app::{DefinitionFile, definition_files};

pub(super) fn run(args: DomainsArgs, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    match args.what {
        Domains::Check { config, tenant, files } => {
            let settings = settings_with_warnings(&config, surroundings)?;
            check(definition_files(&settings)?, tenant.as_deref(), &files, surroundings)
        }
        Domains::List { config, tenant } => {
            let settings = settings_with_warnings(&config, surroundings)?;
            list(&definition_files(&settings)?, tenant.as_deref(), surroundings)
        }
    }
}

/// What is wrong, by file.
struct Faults<'s, 'a> {
    surroundings: &'s mut Surroundings<'a>,
    count: usize,
}

impl Faults<'_, '_> {
    fn say(&mut self, fault: impl Display) -> Result<(), Failure> {
        self.count += 1;
        Ok(writeln!(self.surroundings.err, "{fault}")?)
    }
}

fn check(
    there: Vec<DefinitionFile>,
    tenant: Option<&str>,
    paths: &[impl AsRef<Path>],
    surroundings: &mut Surroundings<'_>,
) -> Result<(), Failure> {
    let mut faults = Faults { surroundings, count: 0 };
    let checked: Vec<_> = paths.iter().map(|path| fs::canonicalize(path).ok()).collect();
    let is_checked = |path: &Path| checked.contains(&fs::canonicalize(path).ok());
    let (named, others): (Vec<_>, Vec<_>) = there.into_iter().partition(|file| is_checked(&file.path));
    let mut catalog = Catalog::builtin();
    for file in others {
        match file.parse() {
            Ok((tenant, definition)) => catalog = catalog.with(tenant, definition),
            Err(fault) => faults.say(fault)?,
        }
    }
    for path in paths.iter().map(AsRef::as_ref) {
        let place = fs::canonicalize(path).ok();
        let inside = named.iter().find(|file| fs::canonicalize(&file.path).ok() == place);
        let tenant = inside.map_or(tenant, |file| file.tenant());
        match read(path) {
            Ok(definition) => {
                writeln!(faults.surroundings.out, "{}", found(path, tenant, &definition, &catalog))?;
                catalog = catalog.with(tenant, definition);
            }
            Err(fault) => faults.say(fault)?,
        }
    }
    if let Err(fault) = catalog.check_paths() {
        faults.say(fault)?;
    }
    match faults.count {
        0 => Ok(()),
        1 => Err(anyhow!("there is an error; the hub would not start with these files").into()),
        n => Err(anyhow!("there are {n} errors; the hub would not start with these files").into()),
    }
}

/// The definition in a file, whose name must be the domain's.
fn read(path: &Path) -> Result<Definition, String> {
    let file = path.display().to_string();
    let stem = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".toml"));
    let stem = stem.filter(|stem| !stem.is_empty());
    let stem = stem.ok_or_else(|| DefinitionError::Path { file: file.clone() }.to_string())?;
    let text = fs::read_to_string(path).map_err(|error| format!("{file}: cannot be read: {error}"))?;
    Definition::parse_named(&file, stem, &text).map_err(|error| error.to_string())
}

/// One line on a definition without a fault, and what it would take the place of.
fn found(path: &Path, tenant: Option<&str>, definition: &Definition, catalog: &Catalog) -> String {
    let whose = tenant.map_or_else(|| "for all tenants".to_owned(), |tenant| format!("for tenant {tenant}"));
    let standing = catalog.lookup(tenant.unwrap_or_default(), definition.name());
    let effect = match standing {
        None => "a new domain",
        Some(standing) if standing.fingerprint() == definition.fingerprint() => {
            "takes the place of the one that held"
        }
        Some(_) => {
            "takes the place of one with another visibility or feed: devices get the domain as a snapshot"
        }
    };
    let [name, strategy, visibility, feed] = summary(definition);
    format!("{}: good: {name}, {whose}: {strategy}, {visibility}, {feed}; {effect}", path.display())
}

fn list(
    files: &[DefinitionFile],
    tenant: Option<&str>,
    surroundings: &mut Surroundings<'_>,
) -> Result<(), Failure> {
    let texts = files.iter().map(|file| (&file.name, &file.text));
    let catalog = Catalog::builtin().load(texts).map_err(anyhow::Error::new)?;
    let mut lines = vec![["DOMAIN", "STRATEGY", "VISIBILITY", "FEED", "TENANTS", "FROM"].map(str::to_owned)];
    for (whose, definition) in catalog.iter() {
        let holds = tenant.is_none_or(|tenant| {
            catalog.lookup(tenant, definition.name()).is_some_and(|one| Arc::ptr_eq(one, definition))
        });
        if !holds {
            continue;
        }
        let [name, strategy, visibility, feed] = summary(definition);
        let file = files.iter().find(|file| file.tenant() == whose && file.stem() == Some(&name));
        let from = file.map_or_else(|| "built in".to_owned(), |file| file.path.display().to_string());
        lines.push([name, strategy, visibility, feed, whose.unwrap_or("all").to_owned(), from]);
    }
    lines[1..].sort();
    print(&lines, surroundings)
}

/// Prints columns as wide as their widest value.
fn print(lines: &[[String; 6]], surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    for line in lines {
        let (columns, last) = line.split_at(widths.len());
        for (value, width) in columns.iter().zip(widths) {
            write!(surroundings.out, "{value:width$}  ")?;
        }
        writeln!(surroundings.out, "{}", last.concat())?;
    }
    Ok(())
}

/// Name, strategy, visibility, and what becomes of changes.
fn summary(definition: &Definition) -> [String; 4] {
    let strategy = serde_json::to_value(definition.strategy()).unwrap_or_default();
    let visibility = match definition.visibility() {
        Visibility::Tenant => "tenant",
        Visibility::Unit => "unit",
        Visibility::Owner => "owner",
    };
    let feed = if definition.feed() { "feed" } else { "no feed" };
    [definition.name(), strategy.as_str().unwrap_or_default(), visibility, feed].map(str::to_owned)
}

impl DefinitionFile {
    /// The tenant whose own it is; none: for all.
    fn tenant(&self) -> Option<&str> {
        self.name.split_once('/').map(|(tenant, _)| tenant)
    }

    /// Its file name without the ending.
    fn stem(&self) -> Option<&str> {
        self.name.rsplit('/').next()?.strip_suffix(".toml")
    }

    fn parse(&self) -> Result<(Option<&str>, Definition), DefinitionError> {
        let stem = self.stem().ok_or_else(|| DefinitionError::Path { file: self.name.clone() })?;
        Ok((self.tenant(), Definition::parse_named(&self.name, stem, &self.text)?))
    }
}
