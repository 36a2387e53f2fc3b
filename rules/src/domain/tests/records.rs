//! Whole records: what a new one needs, what fields must hold together, how urgent it is, what
//! escalation keeps.

use serde_json::{Value, json};
use synchub_protocol::ErrorCode::ValidationFailed;
use synchub_protocol::Priority;
use synchub_protocol::server::Strategy;

use crate::domain::tests::{HEAD, contains, data, parcel, refused};
use crate::domain::{Definition, Visibility};

const TIMES: &str = "[fields.from]\ntype='time'\n[fields.to]\ntype='time'\n[fields.till]\ntype='time'\n\
                     [[checks]]\nbefore=['from','to']\n[[checks]]\nbefore=['to','till']\n";

#[test]
fn e8_a_new_record_has_what_is_required() {
    let definition = parcel("required=['a','b']\n[fields.a]\ntype='string'\n[fields.b]\ntype='integer'");
    assert_eq!(definition.check_create(&data(json!({"a": "", "b": 0, "c": 1}))), Ok(()));
    for wrong in [json!({"a": "x"}), json!({"a": "x", "b": null})] {
        let (field, message) = refused(definition.check_create(&data(wrong)), ValidationFailed);
        assert_eq!(field, "b");
        assert_eq!(message, "b is missing; a new parcel needs it: it must be an integer");
    }
}

#[test]
fn e8_times_are_compared_as_instants_and_only_strictly_earlier_is_before() {
    let definition = parcel(TIMES);
    let cases = [
        (json!("2026-01-01T10:00:00Z"), json!("2026-01-01T10:00:00.000001Z"), true),
        (json!("2026-01-01T10:00:00Z"), json!("2026-01-01T10:00:00Z"), false),
        (json!("2026-01-01T10:00:00Z"), json!("2026-01-01T11:00:00+02:00"), false),
        (json!("2026-01-01T11:00:00+02:00"), json!("2026-01-01T10:00:00Z"), true),
        (json!("2026-01-02T10:00:00Z"), json!("2026-01-01T10:00:00Z"), false),
        (json!("2026-01-02T10:00:00Z"), Value::Null, true),
        (Value::Null, json!("2026-01-01T10:00:00Z"), true),
        (json!("2026-01-02T10:00:00Z"), json!("from before the definition"), true),
    ];
    for (from, to, allowed) in cases {
        let record = data(json!({"from": from, "to": to}));
        let result = definition.check_record(&record, ["from"]);
        if allowed {
            assert_eq!(result, Ok(()), "{record:?}");
        } else {
            let (_, message) = refused(result, ValidationFailed);
            contains(&message, "must be earlier than to (2026-01-01T");
        }
    }
    assert_eq!(definition.check_record(&data(json!({"from": "2026-01-02T10:00:00Z"})), ["from"]), Ok(()));
}

#[test]
fn e8_a_check_is_made_only_where_a_changed_field_is_part_of_it_and_names_that_field() {
    let definition = parcel(TIMES);
    let record = data(json!({
        "from": "2026-01-03T00:00:00Z", "to": "2026-01-02T00:00:00Z", "till": "2026-01-01T00:00:00Z",
    }));
    for (changed, named) in [
        (&["other"][..], None),
        (&["from"], Some("from")),
        (&["till", "other"], Some("till")),
        (&["to"], Some("to")),
    ] {
        let result = definition.check_record(&record, changed.iter().copied());
        assert_eq!(result.err().and_then(|violation| violation.field).as_deref(), named, "{changed:?}");
    }
}

#[test]
fn e12_the_first_rule_that_holds_gives_the_priority() {
    let definition = parcel(
        "[fields.grade]\ntype='integer'\n[fields.loud]\ntype='boolean'\n\
         [[priority]]\nlevel='critical'\nwhen={grade=[1,2],loud=[true]}\n\
         [[priority]]\nlevel='high'\nwhen={grade=[1]}\n\
         [[priority]]\nlevel='low'\nwhen={grade=[1,9]}\n",
    );
    let cases = [
        (json!({"grade": 2, "loud": true}), Priority::Critical),
        (json!({"grade": 2, "loud": false}), Priority::Normal),
        (json!({"grade": 2}), Priority::Normal),
        (json!({"grade": 1}), Priority::High),
        (json!({"grade": 9}), Priority::Low),
        (json!({"grade": null, "loud": true}), Priority::Normal),
        (json!({}), Priority::Normal),
    ];
    for (record, expected) in cases {
        assert_eq!(definition.priority_of(&data(record.clone())), expected, "{record}");
    }
    assert_eq!(parcel("").priority_of(&data(json!({"priority": "CRITICAL"}))), Priority::Normal);
}

#[test]
fn e5_escalation_keeps_its_fields_and_what_ranks_higher() {
    let definition = parcel(
        "[fields.raised]\ntype='boolean'\n[fields.grade]\ntype='string'\nenum=['C','B','A']\n\
         [escalation]\nkeep=['raised']\nkeep_higher=[{field='grade',order=['C','B','A']}]\n",
    );
    let cases = [
        ("raised", json!(false), json!(true), true),
        ("raised", Value::Null, json!(true), true),
        ("grade", json!("A"), json!("C"), true),
        ("grade", json!("C"), json!("A"), false),
        ("grade", json!("B"), json!("B"), false),
        ("grade", json!("C"), Value::Null, true),
        ("grade", Value::Null, json!("C"), false),
        ("grade", json!("no longer known"), json!("C"), false),
        ("other", json!("A"), json!("C"), false),
    ];
    for (field, standing, sent, kept) in cases {
        assert_eq!(
            definition.escalation().keeps(field, Some(&standing), &sent),
            kept,
            "{field} {standing} {sent}"
        );
    }
    assert!(definition.escalation().keeps("raised", None, &json!(true)));
    assert!(!definition.escalation().keeps("grade", None, &json!("C")));
    assert!(!parcel("").escalation().keeps("raised", None, &json!(true)));
}

#[test]
fn a_definition_tells_what_its_file_says() {
    let least = parcel("");
    assert_eq!((least.name(), least.title(), least.path()), ("parcel", "parcel", "parcel"));
    assert_eq!((least.strategy(), least.visibility()), (Strategy::Manual, Visibility::Tenant));
    assert_eq!((least.feed(), least.is_append_only(), least.date_field()), (true, false, None));
    let full = parcel(
        "title='Parcel'\npath='parcels'\nfeed=false\nappend_only=true\ndate_field='at'\n[fields.at]\ntype='time'",
    );
    assert_eq!((full.title(), full.path()), ("Parcel", "parcels"));
    assert_eq!((full.feed(), full.is_append_only(), full.date_field()), (false, true, Some("at")));
    let strategies = [
        ("client_wins", Strategy::ClientWins),
        ("server_wins", Strategy::ServerWins),
        ("most_recent_wins", Strategy::MostRecentWins),
        ("device_priority", Strategy::DevicePriority),
    ];
    for (name, strategy) in strategies {
        let text = HEAD.replace("manual", name);
        assert_eq!(Definition::parse("parcel.toml", &text).unwrap().strategy(), strategy);
    }
    let text = HEAD.replace("manual", "preserve_escalation") + "[escalation]\n";
    assert_eq!(Definition::parse("parcel.toml", &text).unwrap().strategy(), Strategy::PreserveEscalation);
}

#[test]
fn c1_the_fingerprint_covers_who_sees_what_and_nothing_else() {
    let print = |text: &str| Definition::parse("parcel.toml", text).unwrap().fingerprint();
    let base = print(HEAD);
    assert_eq!(
        base,
        [176, 113, 39, 37, 225, 70, 181, 44],
        "another hash makes every device of every hub fetch everything anew"
    );
    let seen_alike = [
        HEAD.replace("manual", "client_wins"),
        format!("title='T'\nappend_only=true\n{HEAD}[fields.a]\ntype='string'"),
        format!("{HEAD}[fields.a]\ntype='integer'\n[[priority]]\nlevel='high'\nwhen={{a=[1]}}"),
    ];
    for text in seen_alike {
        assert_eq!(print(&text), base, "{text}");
    }
    let seen_otherwise = [
        HEAD.replace("tenant", "unit"),
        HEAD.replace("tenant", "owner"),
        HEAD.replace("parcel", "letter"),
        format!("feed=false\n{HEAD}"),
    ];
    for text in seen_otherwise {
        assert_ne!(print(&text), base, "{text}");
    }
}
