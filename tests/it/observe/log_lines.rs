//! Every log line that the hub can write, found in its source.
//!
//! It reads text, not types, as tests/it/tidy does: the macros of `tracing` are called by their full path
//! with a fixed text, and that is demanded here.

use std::collections::{BTreeMap, BTreeSet};

use crate::tidy::code::Code;
use crate::tidy::{collect, workspace};

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// A log line with the names of its fields.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    pub(super) level: String,
    pub(super) text: String,
    pub(super) fields: BTreeSet<String>,
}

/// All lines, and the fields of all spans by the span's name.
pub(super) fn of_source() -> (BTreeSet<Line>, BTreeMap<String, BTreeSet<String>>) {
    let mut sources = Vec::new();
    collect(&workspace().join("src"), &mut sources);
    let (mut lines, mut spans) = (BTreeSet::new(), BTreeMap::new());
    for source in sources {
        let code = source.code();
        for (macro_name, line) in calls(&code) {
            let (text, fields) = line.unwrap_or_else(|why| panic!("{}: {macro_name}!: {why}", source.path));
            if let Some(level) = LEVELS.iter().find(|level| **level == macro_name) {
                lines.insert(Line { level: (*level).to_owned(), text, fields });
            } else {
                spans.insert(text, fields);
            }
        }
    }
    assert!(lines.len() > 20 && !spans.is_empty(), "the source is not where it was");
    (lines, spans)
}

type Call = Result<(String, BTreeSet<String>), String>;

/// The calls of macros that write lines or make spans.
fn calls(code: &Code) -> Vec<(String, Call)> {
    let mut calls = Vec::new();
    for (start, _) in code.words().filter(|(_, word)| *word == "tracing") {
        let Some(rest) = code.text[start..].strip_prefix("tracing::") else { continue };
        let Some((name, _)) = rest.split_once("!(") else { continue };
        let is_span = name.strip_suffix("_span").is_some_and(|level| LEVELS.contains(&level));
        if is_span || LEVELS.contains(&name) {
            let open = start + "tracing::".len() + name.len() + "!(".len();
            calls.push((name.to_owned(), arguments(code, open, is_span)));
        }
    }
    calls
}

/// The text and the fields of a call whose arguments begin at `open`.
fn arguments(code: &Code, open: usize, is_span: bool) -> Call {
    let (mut text, mut fields) = (None, BTreeSet::new());
    for (from, to) in parts(&code.text, open) {
        let part = code.text[from..to].trim();
        let string = code.strings.iter().find(|(place, _)| (from..to).contains(place));
        match (part, string) {
            ("", Some((_, string))) if text.is_none() => text = Some(string.clone()),
            ("", None) => {}
            ("", Some(_)) => return Err("two texts".to_owned()),
            // What stands behind a line's text is for its gaps.
            _ if text.is_some() && !is_span => {}
            (part, _) => {
                let name = part.split_once('=').map_or(part, |(name, _)| name).trim();
                let name = name.trim_start_matches(['%', '?']);
                if !name.bytes().all(|byte| byte.is_ascii_lowercase() || b"._".contains(&byte)) {
                    return Err(format!("`{name}` is no name of a field"));
                }
                fields.insert(name.to_owned());
            }
        }
    }
    let text = text.ok_or("no text")?;
    let lines: Vec<_> = text.split("\\\n").map(str::trim_start).collect();
    let text = lines.concat().replace("{}", "…");
    if text.contains('{') || text == "…" {
        return Err(format!("`{text}` is no fixed text: put what changes into fields"));
    }
    // Backticks would end the name of the line on the page.
    Ok((text.replace('`', ""), fields))
}

/// What stands between the commas from `open` to the closing bracket.
fn parts(text: &str, open: usize) -> Vec<(usize, usize)> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0, open);
    for (offset, byte) in text[open..].bytes().enumerate() {
        let at = open + offset;
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' if depth == 0 => {
                parts.push((from, at));
                break;
            }
            b')' | b']' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                parts.push((from, at));
                from = at + 1;
            }
            _ => {}
        }
    }
    parts
}

#[test]
fn calls_are_found_with_their_fields() {
    use crate::tidy::code::Source;

    let found = |text: &str| {
        let source = Source { path: "src/a/b.rs".to_owned(), text: text.to_owned() };
        calls(&source.code()).into_iter().map(|(name, call)| (name, call.ok())).collect::<Vec<_>>()
    };
    let fields = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let line =
        |name: &str, text: &str, names: &[&str]| (name.to_owned(), Some((text.to_owned(), fields(names))));
    assert_eq!(
        found("tracing::warn!(%error, a.b = f(1, 2), ?c, \"the text\");"),
        [line("warn", "the text", &["error", "a.b", "c"])]
    );
    assert_eq!(found("tracing::info!(\"one \\\n    two\")"), [line("info", "one two", &[])]);
    assert_eq!(found("tracing::error_span!(\"s\", a)"), [line("error_span", "s", &["a"])]);
    assert_eq!(found("tracing::enabled!(tracing::Level::DEBUG)"), []);
    assert_eq!(found("tracing::error!(a, \"one: {} two\", b.c)"), [line("error", "one: … two", &["a"])]);
    for bad in ["tracing::info!(\"{}\", a)", "tracing::info!(a)", "tracing::info!(A, \"text\")"] {
        assert_eq!(found(bad), [("info".to_owned(), None)], "{bad}");
    }
}
