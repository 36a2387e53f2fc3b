//! Rules about the source itself, held against every file: headers and sizes, the layers, who may
//! name a back end or the socket library, no built-in domain's name in the code.
//!
//! It reads text, not types: comments, strings and test code are blanked first, then names are
//! looked for. A macro that glued names together could deceive it; nothing here does.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the source has failed")]

pub(crate) mod code;
mod samples;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use code::Source;

const ROOTS: [&str; 6] =
    ["src", "protocol/src", "rules/src", "clients/rust/src", "loadtest/src", "bench/src"];
const MAX_LINES: usize = 400;
/// The model that the histories compare the hub with.
const MODEL: &str = "tests/histories/model";

/// A module uses only modules of lower ranks, and its own.
const RANKS: [(u8, &[&str]); 12] = [
    (11, &["main", "lib"]),
    (10, &["cli"]),
    (9, &["app"]),
    (8, &["http", "lifecycle"]),
    (7, &["retention", "session"]),
    (6, &["push"]),
    (5, &["sync"]),
    (4, &["catalog", "devices", "policies", "inbox"]),
    (3, &["store", "bus", "registry", "limits"]),
    (2, &["auth", "recorder"]),
    (1, &["observe"]),
    (0, &["config", "clock", "entropy", "tasks"]),
];

/// A concrete back end, which only `app` and its own files name.
struct BackEnd {
    parent: &'static str,
    name: &'static str,
    crates: &'static [&'static str],
}

const BACK_ENDS: [BackEnd; 2] = [
    BackEnd { parent: "store", name: "sqlite", crates: &["rusqlite", "sqlx", "libsqlite3_sys"] },
    BackEnd { parent: "bus", name: "local", crates: &[] },
];

/// The files that may name the socket library.
const SOCKET_FILES: [&str; 3] =
    ["src/session/socket/mod.rs", "src/session/socket/tests.rs", "src/http/upgrade.rs"];

fn rank(module: &str) -> Option<u8> {
    RANKS.iter().find(|(_, modules)| modules.contains(&module)).map(|(rank, _)| *rank)
}

fn check_header_and_size(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    if !source.text.starts_with("//!") {
        faults.push("does not open with `//!`".to_owned());
    }
    let lines = source.text.lines().count();
    if lines > MAX_LINES {
        faults.push(format!("has {lines} lines; {MAX_LINES} are the most"));
    }
    faults
}

fn check_layers(source: &Source) -> Vec<String> {
    let Some(module) = source.module() else { return Vec::new() };
    let Some(own) = rank(module) else {
        return vec![format!("`{module}` has no rank in tests/it/tidy/mod.rs")];
    };
    let root = if module == "main" { "synchub" } else { "crate" };
    let mut faults = BTreeSet::new();
    for path in source.code().paths_below(root) {
        let used = path[0].as_str();
        match rank(used) {
            Some(rank) if rank >= own && used != module => {
                faults.insert(format!("uses `{used}` (rank {rank}), but is of rank {own} itself"));
            }
            None if used.starts_with(char::is_lowercase) => {
                faults.insert(format!("uses `{used}`, which has no rank"));
            }
            _ => {}
        }
    }
    faults.into_iter().collect()
}

fn check_back_ends(source: &Source) -> Vec<String> {
    let Some(module) = source.module().filter(|module| *module != "app") else { return Vec::new() };
    let code = source.code();
    let mut faults = Vec::new();
    for BackEnd { parent, name, crates } in BACK_ENDS {
        let inside = format!("src/{parent}/{name}");
        if source.path.strip_prefix(&inside).is_some_and(|rest| rest.starts_with(['/', '.'])) {
            continue;
        }
        let below = |roots: &[&str], found: &dyn Fn(&[String]) -> bool| {
            roots.iter().flat_map(|root| code.paths_below(root)).any(|path| found(&path))
        };
        let is_it = |path: &[String]| path.starts_with(&[parent.to_owned(), name.to_owned()]);
        let has_it = |path: &[String]| path.iter().any(|step| step == name);
        let named = below(&["crate", "synchub"], &is_it)
            || (module == parent && (below(&["super", "self"], &has_it) || below(&[name], &|_| true)))
            || code.words().any(|(_, word)| crates.contains(&word));
        if named {
            faults.push(format!("names the back end `{parent}::{name}`, which is for `app` alone"));
        }
    }
    faults
}

fn check_socket_library(source: &Source) -> Vec<String> {
    let named = source.code().words().any(|(_, word)| word.contains("tungstenite"));
    if named && source.path.starts_with("src/") && !SOCKET_FILES.contains(&source.path.as_str()) {
        return vec!["names tungstenite".to_owned()];
    }
    Vec::new()
}

fn check_domain_names(source: &Source, domains: &[String]) -> Vec<String> {
    if !source.path.starts_with("src/") && !source.path.starts_with("rules/src/") {
        return Vec::new();
    }
    let strings = source.code().strings.into_iter();
    let named = strings.filter(|(_, string)| domains.contains(string));
    named.map(|(_, string)| format!("names the domain \"{string}\": domains are data")).collect()
}

/// The model of the histories is worth as much as it is written apart from what it judges.
fn check_model(source: &Source) -> Vec<String> {
    let names = source.text.split(|c: char| !c.is_alphanumeric() && c != '_');
    let used: BTreeSet<&str> = names.filter(|name| ["synchub_rules", "synchub"].contains(name)).collect();
    used.into_iter().map(|name| format!("uses `{name}`, which it is there to judge")).collect()
}

pub(crate) fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn collect(folder: &Path, sources: &mut Vec<Source>) {
    for item in fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(workspace()).unwrap().to_str().unwrap().replace('\\', "/");
            sources.push(Source { path, text });
        }
    }
}

fn assert_tidy(check: impl Fn(&Source) -> Vec<String>) {
    let mut sources = Vec::new();
    for root in ROOTS {
        collect(&workspace().join(root), &mut sources);
    }
    assert!(sources.len() >= ROOTS.len(), "the source is not where it was");
    let faults: Vec<String> = sources
        .iter()
        .flat_map(|source| check(source).into_iter().map(|fault| format!("{}: {fault}", source.path)))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn files_say_what_they_are_for_and_stay_short() {
    assert_tidy(check_header_and_size);
}

#[test]
fn modules_use_only_lower_ranks() {
    assert_tidy(check_layers);
}

#[test]
fn the_map_names_each_module_with_its_rank() {
    let map = fs::read_to_string(workspace().join("ARCHITECTURE.md")).unwrap();
    let mut missing: Vec<&&str> = Vec::new();
    for (rank, modules) in &RANKS[1..] {
        let row = map.lines().find_map(|line| line.strip_prefix(&format!("| {rank} |"))).unwrap_or("");
        let named = row.split('|').next().unwrap();
        let is_there = |module: &&&str| {
            workspace().join("src").join(module).exists()
                || workspace().join(format!("src/{module}.rs")).exists()
        };
        let unnamed = |module: &&&str| !named.contains(&format!("`{module}`"));
        missing.extend(modules.iter().filter(is_there).filter(unnamed));
    }
    assert!(missing.is_empty(), "the table in ARCHITECTURE.md lacks, or has at another rank: {missing:?}");
}

#[test]
fn back_ends_are_named_only_where_they_are_chosen() {
    assert_tidy(check_back_ends);
}

#[test]
fn the_socket_library_is_named_in_one_place() {
    assert_tidy(check_socket_library);
}

#[test]
fn the_model_of_the_histories_uses_nothing_of_the_engine() {
    let mut sources = Vec::new();
    collect(&workspace().join(MODEL), &mut sources);
    assert!(sources.len() > 1, "the model is not where it was");
    let faults: Vec<_> = sources.iter().flat_map(check_model).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn inv8_no_built_in_domain_is_named_in_code() {
    let files = fs::read_dir(workspace().join("domains")).unwrap().map(|file| file.unwrap().path());
    let domains: Vec<String> =
        files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert!(!domains.is_empty(), "there is no domain to look for");
    assert_tidy(|source| check_domain_names(source, &domains));
}
