//! The domain definitions of a node: those built in, and what `domains_dir` adds or replaces.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use synchub_rules::domain::Catalog;

use crate::config::Settings;

/// Reads all definitions. `NAME.toml` is for everyone, `TENANT/NAME.toml` for one tenant.
pub fn definitions(settings: &Settings) -> anyhow::Result<Catalog> {
    let files = definition_files(settings)?;
    let texts = files.into_iter().map(|DefinitionFile { name, text, .. }| (name, text));
    Ok(Catalog::builtin().load(texts)?)
}

/// A file of `domains_dir`.
#[derive(Debug)]
pub struct DefinitionFile {
    /// Its path from there, with `/` between folder and file on every system.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// What stands in it.
    pub text: String,
}

/// The definition files of `domains_dir`, in the order in which they are loaded.
pub fn definition_files(settings: &Settings) -> anyhow::Result<Vec<DefinitionFile>> {
    let Some(folder) = &settings.domains_dir else { return Ok(Vec::new()) };
    let mut files = Vec::new();
    for (name, path) in entries(folder)? {
        if path.is_dir() {
            for (inner, path) in entries(&path)? {
                files.push(read(format!("{name}/{inner}"), path)?);
            }
        } else {
            files.push(read(name, path)?);
        }
    }
    Ok(files)
}

/// The visible entries of a folder, in the order of their names.
fn entries(folder: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let listed =
        fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let mut entries = Vec::new();
    for entry in listed {
        let entry = entry.with_context(|| format!("cannot read the folder {}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_definition =
            entry.path().is_dir() || entry.path().extension().is_some_and(|extension| extension == "toml");
        if !name.starts_with('.') && is_definition {
            entries.push((name, entry.path()));
        }
    }
    entries.sort();
    Ok(entries)
}

fn read(name: String, path: PathBuf) -> anyhow::Result<DefinitionFile> {
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(DefinitionFile { name, path, text })
}
