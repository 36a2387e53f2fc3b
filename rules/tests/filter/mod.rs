//! Filters: what they match, how they read, and what is refused.

use serde_json::{Value, json};
use synchub_protocol::Priority;
use synchub_protocol::client::{Subscription, SubscriptionPriority};
use synchub_rules::filter::{Filter, FilterError, Filters, is_wanted_at_once};

use crate::support::data;

fn compile(filter: Value) -> Result<Filter, FilterError> {
    Filter::compile(&data(filter))
}

#[test]
fn v4_a_filter_asks_each_field_that_it_names() {
    for (filter, record, matches) in [
        (json!({}), json!({}), true),
        (json!({"a": 1}), json!({"a": 1, "b": 2}), true),
        (json!({"a": 1}), json!({"a": 2}), false),
        (json!({"a": 1}), json!({"a": "1"}), false),
        (json!({"a": 1}), json!({}), false),
        (json!({"a": 1.0}), json!({"a": 1}), true),
        (json!({"a": 1}), json!({"a": 1.0}), true),
        (json!({"a": 1.5}), json!({"a": 1.5}), true),
        (json!({"a": null}), json!({}), true),
        (json!({"a": null}), json!({"a": null}), true),
        (json!({"a": null}), json!({"a": false}), false),
        (json!({"a": true}), json!({"a": true}), true),
        (json!({"a": "x", "b": 1}), json!({"a": "x", "b": 1}), true),
        (json!({"a": "x", "b": 1}), json!({"a": "x", "b": 2}), false),
        (json!({"a": ["x", "y", null]}), json!({"a": "y"}), true),
        (json!({"a": ["x", "y", null]}), json!({}), true),
        (json!({"a": ["x", "y"]}), json!({"a": "z"}), false),
        (json!({"a": ["x"]}), json!({"a": ["x"]}), false),
        (json!({"a": []}), json!({"a": "x"}), false),
        (json!({"a": {"gte": 1}}), json!({"a": 1}), true),
        (json!({"a": {"gte": 1}}), json!({"a": 0.9}), false),
        (json!({"a": {"gte": 1}}), json!({"a": 10}), true),
        (json!({"a": {"lt": 2}}), json!({"a": 2}), false),
        (json!({"a": {"lt": 2}}), json!({"a": 1.9}), true),
        (json!({"a": {"gte": 1, "lt": 2}}), json!({"a": 2}), false),
        (json!({"a": {"gte": 1, "lt": 2}}), json!({"a": 1}), true),
        (json!({"a": {"gte": 1, "lt": 2}}), json!({"a": 0}), false),
        (json!({"a": {"gte": 1}}), json!({"a": "2"}), false),
        (json!({"a": {"gte": 1}}), json!({}), false),
        (json!({"a": {"gte": "10"}}), json!({"a": "9"}), true),
        (json!({"a": {"gte": "2026-01", "lt": "2026-02"}}), json!({"a": "2026-01-31T00:00:00Z"}), true),
        (json!({"a": {"gte": "2026-01", "lt": "2026-02"}}), json!({"a": "2026-02-01"}), false),
    ] {
        let compiled = compile(filter.clone()).expect("a filter");
        assert_eq!(compiled.matches(&data(record.clone())), matches, "{filter} {record}");
    }
}

#[test]
fn c1_the_same_filter_reads_the_same() {
    for (one, other, same) in [
        (json!({"a": 1, "b": 2}), json!({"b": 2, "a": 1}), true),
        (json!({"a": ["x", "y", "x"]}), json!({"a": ["y", "x"]}), true),
        (json!({"a": ["x"]}), json!({"a": "x"}), true),
        (json!({"a": [1.0, -0.0]}), json!({"a": [0, 1]}), true),
        (json!({"a": {"gte": 1.0}}), json!({"a": {"gte": 1}}), true),
        (json!({"a": 1}), json!({"a": "1"}), false),
        (json!({"a": 1.5}), json!({"a": 1}), false),
        (json!({"a": {"gte": 1}}), json!({"a": {"lt": 1}}), false),
        (json!({"a": []}), json!({"a": null}), false),
        (json!({"a": null}), json!({}), false),
        (json!({"a": 1e300}), json!({"a": 2e300}), false),
    ] {
        let [first, second] = [&one, &other].map(|filter| compile(filter.clone()).expect("a filter"));
        assert_eq!(first.canonical() == second.canonical(), same, "{one} {other}");
    }
    let filter = compile(json!({"b": {"lt": 9, "gte": 1}, "a": ["y", "x"]})).expect("a filter");
    assert_eq!(filter.canonical(), r#"{"a":["x","y"],"b":{"gte":1,"lt":9}}"#);
}

#[test]
fn v4_what_is_no_filter_is_refused_by_its_field() {
    for (filter, part) in [
        (json!({"a": {"b": 1}}), "`a`: a range is {gte, lt}"),
        (json!({"a": {"gte": 1, "lte": 2}}), "`a`: a range is {gte, lt}"),
        (json!({"a": {}}), "`a`: a range is {gte, lt}"),
        (json!({"a": {"gte": true}}), "`a`: the bounds of a range"),
        (json!({"a": {"gte": 1, "lt": "x"}}), "`a`: the bounds of a range"),
        (json!({"a": {"gte": [1]}}), "`a`: an allowed value is"),
        (json!({"b": 1, "a": [[1]]}), "`a`: an allowed value is"),
        (json!({"a": [{}]}), "`a`: an allowed value is"),
    ] {
        let error = compile(filter.clone()).expect_err("no filter").to_string();
        assert!(error.contains(part), "{filter}: {error}");
    }
}

#[test]
fn v4_filters_are_bounded() {
    let fields = |n: usize| Value::Object((0..n).map(|n| (format!("f{n}"), json!(1))).collect());
    assert!(compile(fields(32)).is_ok());
    assert_eq!(compile(fields(33)), Err(FilterError::TooManyFields(33)));
    let values = |n: usize| json!({"a": (0..n).collect::<Vec<_>>()});
    assert!(compile(values(256)).is_ok());
    assert!(compile(values(257)).expect_err("too long").to_string().contains("at most 256 values"));
    // {"a":"…"} has eight bytes beside the text.
    let text = |n: usize| json!({"a": "x".repeat(n)});
    assert!(compile(text(8184)).is_ok());
    assert_eq!(compile(text(8185)), Err(FilterError::TooLong(8193)));
}

fn subscription(filter: Option<Value>, priority: Option<SubscriptionPriority>) -> Subscription {
    Subscription { domain: "d".to_owned(), filter: filter.map(data), priority }
}

#[test]
fn c3_two_subscriptions_of_a_domain_are_a_union() {
    let of = |filters: &[Option<Value>]| {
        let subscriptions: Vec<_> = filters.iter().map(|filter| subscription(filter.clone(), None)).collect();
        Filters::compile(&subscriptions).expect("filters")
    };
    let (one, two) = (Some(json!({"a": 1})), Some(json!({"a": 2})));
    let both = of(&[one.clone(), two.clone()]);
    for (a, wanted) in [(1, true), (2, true), (3, false)] {
        assert_eq!(both.matches(&data(json!({"a": a}))), wanted);
    }
    assert!(!of(&[]).matches(&data(json!({}))));
    assert!(of(&[one.clone(), None]).matches(&data(json!({"a": 3}))));
    assert_eq!(both.canonical(), r#"[{"a":1},{"a":2}]"#);
    assert_eq!(of(&[two.clone(), one.clone(), two]).canonical(), both.canonical());
    assert_eq!(of(&[one, None]).canonical(), Filters::everything().canonical());
    assert_eq!(Filters::everything().canonical(), "[{}]");
    assert_eq!(of(&[]).canonical(), "[]");
    assert!(Filters::compile(&[subscription(Some(json!({"a": {}})), None)]).is_err());
}

#[test]
fn c3_the_most_permissive_subscription_counts() {
    use SubscriptionPriority::{All, Critical, High};
    let subscriptions = [
        subscription(Some(json!({"a": 1})), Some(Critical)),
        subscription(Some(json!({"a": [1, 2]})), Some(High)),
        subscription(Some(json!({"b": 1})), None),
    ];
    let filters = Filters::compile(&subscriptions).expect("filters");
    for (record, priority) in [
        (json!({"a": 1}), Some(High)),
        (json!({"a": 2}), Some(High)),
        (json!({"a": 1, "b": 1}), Some(All)),
        (json!({"a": 3}), None),
    ] {
        let record = data(record);
        assert_eq!(filters.priority(|field| record.get(field)), priority);
    }
    assert_eq!(Filters::everything().priority(|_| None), Some(All));
    let swapped = subscriptions.map(|one| Subscription { priority: None, ..one });
    let swapped = Filters::compile(&swapped).expect("filters");
    assert_eq!(filters.canonical(), swapped.canonical(), "priority is no part of it");
}

#[test]
fn c9_what_goes_out_at_once() {
    use SubscriptionPriority::{All, Critical, High};
    for (subscription, at_once) in [
        (All, [true, true, true, true]),
        (High, [false, false, true, true]),
        (Critical, [false, false, false, true]),
    ] {
        let levels = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical];
        assert_eq!(levels.map(|level| is_wanted_at_once(subscription, level)), at_once);
    }
}
