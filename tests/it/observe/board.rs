//! The board for Grafana and the alerts of the operator's page ask for what a node really shows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::exposition::Family;
use super::numbers::{busy_hub, fetch};
use super::promql::{Query, parse};
use crate::tidy::workspace;

/// What Prometheus adds to each series.
const ADDED: [&str; 2] = ["instance", "job"];
/// What a board of a hub tells of, in this order.
const ROWS: [&str; 8] =
    ["Sessions", "Traffic", "Commits", "Feed", "Limits", "Pushes", "Store", "Process and traces"];

/// The board's queries, each with the title of its panel.
fn board() -> (Vec<String>, Vec<(String, String)>) {
    let text = std::fs::read_to_string(workspace().join("deploy/grafana/synchub.json")).unwrap();
    let board: Value = serde_json::from_str(&text).unwrap();
    let (mut rows, mut queries, mut ids) = (Vec::new(), Vec::new(), BTreeSet::new());
    for panel in board["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap().to_owned();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is there twice");
        if panel["type"] == "row" {
            rows.push(title);
            continue;
        }
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty() && !panel["description"].as_str().unwrap().is_empty(), "{title}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
        for target in targets {
            queries.push((title.clone(), target["expr"].as_str().unwrap().to_owned()));
        }
    }
    (rows, queries)
}

/// The queries of the alerts on the operator's page.
fn alerts() -> Vec<(String, String)> {
    let page = std::fs::read_to_string(workspace().join("docs/operating.md")).unwrap();
    let after = |line: &str, key: &str| line.trim().strip_prefix(key).map(str::to_owned);
    let names = page.lines().filter_map(|line| after(line, "- alert: "));
    let queries = page.lines().filter_map(|line| after(line, "expr: "));
    names.zip(queries).collect()
}

/// What is wrong with a query, for a node that shows these metrics.
fn fault(query: &Query, families: &BTreeMap<String, Family>) -> Option<String> {
    let mut labels: BTreeSet<&str> = ADDED.into();
    for selector in &query.selectors {
        let family = families.iter().find_map(|(_, family)| {
            family.samples.iter().any(|sample| sample.name == selector.metric).then_some(family)
        });
        let Some(family) = family else { return Some(format!("no node shows {}", selector.metric)) };
        let is_counting = matches!(family.kind.as_str(), "counter" | "histogram");
        if is_counting != selector.is_rate {
            return Some(format!("{} is a {}", selector.metric, family.kind));
        }
        let samples = || family.samples.iter().filter(|sample| sample.name == selector.metric);
        labels.extend(samples().flat_map(|sample| sample.labels.keys().map(String::as_str)));
        for (label, operator, value) in &selector.matchers {
            let values: BTreeSet<_> = samples().filter_map(|sample| sample.labels.get(label)).collect();
            let mut wanted =
                if operator.contains('~') { value.split('|').collect() } else { vec![value.as_str()] };
            wanted.retain(|wanted| !values.iter().any(|there| there == wanted));
            if !ADDED.contains(&label.as_str()) && !wanted.is_empty() {
                return Some(format!("{} has no {label} {wanted:?}, but {values:?}", selector.metric));
            }
        }
    }
    let unknown = query.grouped.iter().find(|label| !labels.contains(label.as_str()));
    unknown.map(|label| format!("no series has the label {label}"))
}

#[tokio::test]
async fn every_query_of_the_board_and_of_the_alerts_finds_series_of_a_node() {
    let (hub, peers) = busy_hub().await;
    let families = fetch(&hub).await;
    let (rows, mut queries) = board();
    assert_eq!(rows, ROWS);
    let alerts = alerts();
    assert_eq!(alerts.len(), 3);
    assert!(queries.len() >= 30, "only {}", queries.len());
    queries.extend(alerts);
    let mut asked = BTreeSet::new();
    let mut faults = Vec::new();
    for (title, text) in &queries {
        match parse(text) {
            Ok(query) => {
                faults.extend(fault(&query, &families).map(|fault| format!("{title}: {fault}: {text}")));
                asked.extend(query.selectors.into_iter().map(|selector| selector.metric));
            }
            Err(why) => faults.push(format!("{title}: {why}: {text}")),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let is_asked = |family: &Family| family.samples.iter().any(|sample| asked.contains(&sample.name));
    let unseen: Vec<_> =
        families.iter().filter(|(_, family)| !is_asked(family)).map(|(name, _)| name).collect();
    assert_eq!(unseen, ["synchub_build"], "the board shows everything else");

    for bad in [
        "synchub_no_such",
        "rate(synchub_sockets[5m])",
        "synchub_batches_total",
        "rate(synchub_entries_total{status=\"no such\"}[5m])",
        "rate(synchub_entries_total{status=~\"created|nothing\"}[5m])",
        "sum by (nothing) (synchub_sockets)",
    ] {
        assert!(fault(&parse(bad).unwrap(), &families).is_some(), "{bad}");
    }
    drop(peers);
    hub.stop().await;
}
