//! `docs/observability.md` tells of every metric, log line, field and span, and of nothing else.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::trace::v1::Span;

use super::log_lines;
use super::numbers::{busy_hub, fetch};
use crate::tidy::workspace;

/// The rows of the page's tables below a heading, as cells.
pub(super) fn rows(heading: &str) -> Vec<Vec<String>> {
    let page = std::fs::read_to_string(workspace().join("docs/observability.md")).unwrap();
    let (_, section) =
        page.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let lines = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| name"));
    let cells = |line: &str| -> Vec<String> {
        let inner = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')).unwrap();
        inner.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    lines.map(cells).collect()
}

/// What stands between backticks.
pub(super) fn names(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn only_name(cell: &str) -> String {
    let names = names(cell);
    assert_eq!(names.len(), 1, "one name, not: {cell}");
    names.into_iter().next().unwrap()
}

#[tokio::test]
async fn every_metric_stands_on_the_page_and_no_other() {
    let (hub, peers) = busy_hub().await;
    let families = fetch(&hub).await;
    let rows = rows("Metrics");
    let on_page: BTreeSet<String> = rows.iter().map(|row| only_name(&row[0])).collect();
    assert_eq!(on_page.len(), rows.len(), "a metric stands there twice");
    let there: BTreeSet<String> = families.iter().map(|(name, family)| family.queried(name)).collect();
    assert_eq!(on_page, there, "left: the page; right: what a node shows");
    for (name, family) in &families {
        let row = rows.iter().find(|row| only_name(&row[0]) == family.queried(name)).unwrap();
        assert_eq!(row[1], family.kind, "{name}");
        let said = names(&row[2]);
        let mut shown = BTreeSet::new();
        for (label, values) in family.labels() {
            // Versions change with each release, and `other` is for what a newer part says.
            shown.extend(values.into_iter().filter(|value| value != "other" && label != "version"));
            shown.insert(label);
        }
        assert_eq!(said, shown, "{name}: left: the page; right: what a node shows");
        assert!(row[3].len() > 10 && row.len() == 5, "{name} has no meaning");
    }
    drop(peers);
    hub.stop().await;
}

#[test]
fn every_log_line_stands_on_the_page_and_no_other() {
    let rows = rows("Log lines");
    let on_page: BTreeSet<_> = rows
        .iter()
        .map(|row| log_lines::Line {
            level: row[0].clone(),
            text: only_name(&row[1]),
            fields: names(&row[2]),
        })
        .collect();
    assert_eq!(on_page.len(), rows.len(), "a line stands there twice");
    let (lines, _) = log_lines::of_source();
    let missing: Vec<_> = lines.difference(&on_page).collect();
    let stale: Vec<_> = on_page.difference(&lines).collect();
    assert!(missing.is_empty() && stale.is_empty(), "the page lacks {missing:#?}\nand has {stale:#?}");
    assert!(rows.iter().all(|row| row.len() == 4 && row[3].len() > 5), "a line has no meaning");
}

#[test]
fn every_log_field_stands_on_the_page_and_no_other() {
    let (lines, spans) = log_lines::of_source();
    let mut used: BTreeSet<String> = lines.into_iter().flat_map(|line| line.fields).collect();
    used.extend(spans.into_values().flatten());
    let rows = rows("Log fields");
    let on_page: BTreeSet<_> = rows.iter().map(|row| only_name(&row[0])).collect();
    assert_eq!(on_page, used, "left: the page; right: the source");
    assert!(rows.iter().all(|row| row.len() == 2 && row[1].len() > 5), "a field has no meaning");
}

/// Holds the spans of a whole trace against the page.
pub(super) fn assert_spans(spans: &[Span]) {
    let rows = rows("Traces");
    let on_page: BTreeMap<_, _> = rows.iter().map(|row| (only_name(&row[0]), names(&row[2]))).collect();
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for span in spans {
        let keys = span.attributes.iter().map(|attribute| attribute.key.clone());
        seen.entry(span.name.clone()).or_default().extend(keys);
    }
    assert_eq!(on_page, seen, "left: the page; right: what was sent");
}
