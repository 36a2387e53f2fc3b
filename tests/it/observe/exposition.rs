//! Reads what `/metrics` says, strictly: the `OpenMetrics` text format, and the conventions of names.

use std::collections::{BTreeMap, BTreeSet};

/// A metric with its series.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) kind: String,
    help: String,
    unit: Option<String>,
    pub(super) samples: Vec<Sample>,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

impl Family {
    /// The name that a query for it begins with.
    pub(super) fn queried(&self, name: &str) -> String {
        match self.kind.as_str() {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        }
    }

    /// Its labels with their values, but for the bounds of buckets.
    pub(super) fn labels(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (label, value) in self.samples.iter().flat_map(|sample| &sample.labels) {
            if label != "le" {
                labels.entry(label.clone()).or_default().insert(value.clone());
            }
        }
        labels
    }
}

/// All metrics by name; panics at the first line that is wrong.
pub(super) fn parse(text: &str) -> BTreeMap<String, Family> {
    let body = text.strip_suffix("# EOF\n").expect("the text ends with # EOF");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let (keyword, rest) = comment.split_once(' ').unwrap();
            let (name, said) = rest.split_once(' ').unwrap();
            if name != current {
                assert_eq!(keyword, "HELP", "a metric begins with its help: {line}");
                assert!(families.insert(name.to_owned(), Family::default()).is_none(), "{name} comes twice");
                name.clone_into(&mut current);
            }
            let family = families.get_mut(name).unwrap();
            assert!(family.samples.is_empty(), "{line} comes after its series");
            match keyword {
                "HELP" => said.clone_into(&mut family.help),
                "TYPE" => said.clone_into(&mut family.kind),
                "UNIT" => family.unit = Some(said.to_owned()),
                _ => panic!("{line}"),
            }
            continue;
        }
        let sample = sample(line);
        let family = families.get_mut(&current).unwrap();
        let suffix =
            sample.name.strip_prefix(&current).unwrap_or_else(|| panic!("{line} is not of {current}"));
        let allowed: &[&str] = match family.kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            kind => panic!("{current} has the type {kind}"),
        };
        assert!(allowed.contains(&suffix), "{line} in a {}", family.kind);
        family.samples.push(sample);
    }
    for (name, family) in &families {
        check(name, family);
    }
    families
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
    let Some((name, labels)) = series.split_once('{') else {
        return Sample { name: series.to_owned(), labels: BTreeMap::new(), value };
    };
    let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"));
    let pairs = labels.split("\",").map(|pair| {
        let (label, text) = pair.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        assert!(is_name(label), "{line}");
        (label.to_owned(), text.trim_end_matches('"').to_owned())
    });
    Sample { name: name.to_owned(), labels: pairs.collect(), value }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn check(name: &str, family: &Family) {
    assert!(is_name(name) && (name.starts_with("synchub_") || name.starts_with("process_")), "{name}");
    assert!(family.help.len() > 5, "{name} has no help");
    assert!(!family.samples.is_empty(), "{name} has no series");
    let foreign = ["_ms", "_us", "_millis", "_micros", "_minutes", "_kb", "_percent"];
    assert!(
        foreign.iter().all(|unit| !name.ends_with(unit)),
        "{name}: base units are seconds, bytes, ratios"
    );
    assert!(!name.ends_with("_total") && !name.ends_with("_count"), "{name} ends with what its type adds");
    if let Some(unit) = &family.unit {
        assert!(name.ends_with(&format!("_{unit}")), "{name} does not end with its unit {unit}");
    }
    let series: BTreeSet<_> =
        family.samples.iter().map(|sample| format!("{}{:?}", sample.name, sample.labels)).collect();
    assert_eq!(series.len(), family.samples.len(), "{name} has a series twice");
    if family.kind == "histogram" {
        check_histogram(name, &family.samples);
    }
    if family.kind != "gauge" {
        assert!(family.samples.iter().all(|sample| sample.value >= 0.0), "{name} is negative");
    }
}

fn check_histogram(name: &str, samples: &[Sample]) {
    let of = |suffix: &str| {
        let name = format!("{name}{suffix}");
        samples.iter().filter(move |sample| sample.name == name)
    };
    let bound = |sample: &Sample| match sample.labels["le"].as_str() {
        "+Inf" => f64::INFINITY,
        bound => bound.parse().unwrap(),
    };
    let buckets: Vec<_> = of("_bucket").map(|sample| (bound(sample), sample.value)).collect();
    let rises =
        buckets.is_sorted_by_key(|(bound, _)| *bound) && buckets.is_sorted_by_key(|(_, count)| *count);
    assert!(rises, "{name}: buckets rise and add up: {buckets:?}");
    let (last, count) = buckets.last().unwrap();
    assert!(last.is_infinite(), "{name}: the last bucket takes all");
    let counts: Vec<_> = of("_count").map(|sample| sample.value).collect();
    assert_eq!((counts, of("_sum").count()), (vec![*count], 1), "{name}");
}

#[test]
fn what_is_no_exposition_is_found() {
    let good =
        "# HELP synchub_a Some help.\n# TYPE synchub_a counter\nsynchub_a_total{b=\"c\",d=\"e\"} 1\n# EOF\n";
    assert_eq!(parse(good)["synchub_a"].labels().len(), 2);
    for (from, to) in [
        ("_total", ""),
        ("counter", "gauge"),
        ("# HELP", "# TYPE"),
        ("Some help.", ""),
        ("synchub_a", "a"),
        ("synchub_a", "synchub_a_ms"),
        ("# EOF\n", ""),
        ("} 1", "} one"),
        ("} 1", "} -1"),
        ("} 1\n", "} 1\nsynchub_a_total{b=\"c\",d=\"e\"} 2\n"),
        ("synchub_a_total", "synchub_b_total"),
        ("b=", "B="),
    ] {
        let bad = good.replace(from, to);
        assert!(std::panic::catch_unwind(|| parse(&bad)).is_err(), "{bad}");
    }
    let histogram = "# HELP synchub_h Some help.\n# TYPE synchub_h histogram\nsynchub_h_sum 1\nsynchub_h_count 2\n\
                     synchub_h_bucket{le=\"1.0\"} 1\nsynchub_h_bucket{le=\"+Inf\"} 2\n# EOF\n";
    parse(histogram);
    for (from, to) in [("} 1", "} 3"), ("count 2", "count 3"), ("+Inf", "2.0"), ("synchub_h_sum 1\n", "")] {
        let bad = histogram.replace(from, to);
        assert!(std::panic::catch_unwind(|| parse(&bad)).is_err(), "{bad}");
    }
}
