//! The built-in domains do what is promised of them.

use serde_json::{Value, json};
use synchub_protocol::Priority;
use synchub_protocol::server::Strategy;

use crate::domain::Author::{Device, Trusted};
use crate::domain::catalog::Catalog;
use crate::domain::tests::data;
use crate::domain::{Definition, Visibility};

fn builtin(name: &str) -> std::sync::Arc<Definition> {
    Catalog::builtin().lookup("any", name).unwrap_or_else(|| panic!("{name} is built in")).clone()
}

/// Holds a whole workflow against the pairs of states that it allows.
fn check_workflow(definition: &Definition, states: &[&str], allowed: &[(&str, &str)]) {
    for from in states {
        for to in states {
            let result = definition.check_transition(Some(&json!(from)), &json!(to), Device);
            assert_eq!(result.is_ok(), from == to || allowed.contains(&(*from, *to)), "{from} -> {to}");
        }
    }
}

#[test]
fn all_built_in_definitions_load() {
    let names: Vec<_> = Catalog::builtin().names("any").map(str::to_owned).collect();
    let all = [
        "attendance",
        "behavioral",
        "journal",
        "metrics",
        "session",
        "task",
        "ticket",
        "voice",
        "work_order",
    ];
    assert_eq!(names, all);
}

#[test]
fn v2_co1_each_has_its_visibility_strategy_path_and_required_fields() {
    let cases = [
        ("ticket", Visibility::Unit, Strategy::PreserveEscalation, "helpdesk", &["subject"][..]),
        ("task", Visibility::Unit, Strategy::MostRecentWins, "activity", &["jobdesc"]),
        ("journal", Visibility::Owner, Strategy::ClientWins, "journal", &["content"]),
        ("attendance", Visibility::Unit, Strategy::ServerWins, "attendance", &["latitude", "longitude"]),
        ("work_order", Visibility::Unit, Strategy::MostRecentWins, "work-orders", &["description"]),
        ("voice", Visibility::Owner, Strategy::ServerWins, "voice", &[]),
        ("behavioral", Visibility::Owner, Strategy::ServerWins, "behavioral", &[]),
        ("session", Visibility::Owner, Strategy::ServerWins, "session", &[]),
        ("metrics", Visibility::Owner, Strategy::ServerWins, "metrics", &[]),
    ];
    assert_eq!(cases.len(), Catalog::builtin().iter().count(), "every built-in domain stands here");
    for (name, visibility, strategy, path, required) in cases {
        let definition = builtin(name);
        assert_eq!((definition.visibility(), definition.strategy()), (visibility, strategy), "{name}");
        assert_eq!(definition.path(), path);
        assert_eq!(definition.required, required);
        assert_eq!(definition.check_value("a field of the tenant's own", &json!([1])), Ok(()));
    }
}

#[test]
fn do6_do7_telemetry_has_no_feed_and_grows_only_as_voice_does() {
    let telling = |holds: fn(&Definition) -> bool| -> Vec<String> {
        let catalog = Catalog::builtin();
        catalog.of("any").filter(|one| holds(one)).map(|one| one.name().to_owned()).collect()
    };
    assert_eq!(telling(|one| !one.feed()), ["behavioral", "metrics", "session"]);
    assert_eq!(telling(Definition::is_append_only), ["behavioral", "metrics", "session", "voice"]);
}

#[test]
fn do2_work_order_workflow_and_times() {
    let order = builtin("work_order");
    let states = ["draft", "in_progress", "paused", "completed", "closed", "cancelled"];
    let allowed = [
        ("draft", "in_progress"),
        ("in_progress", "completed"),
        ("completed", "closed"),
        ("in_progress", "paused"),
        ("paused", "in_progress"),
        ("draft", "cancelled"),
        ("in_progress", "cancelled"),
        ("paused", "cancelled"),
        ("completed", "cancelled"),
    ];
    check_workflow(&order, &states, &allowed);
    for state in states {
        assert_eq!(order.check_transition(None, &json!(state), Device), Ok(()), "created as {state}");
    }
    for field in ["scheduled_start", "scheduled_end", "actual_start", "actual_end"] {
        assert_eq!(order.check_value(field, &json!("2026-01-01T08:00:00+02:00")), Ok(()));
        assert!(order.check_value(field, &json!("tomorrow")).is_err(), "{field}");
    }
    assert!(order.check_value("description", &json!(null)).is_err());
    assert_eq!(order.date_field(), Some("scheduled_start"));
}

#[test]
fn do6_voice_scores_are_shares() {
    let voice = builtin("voice");
    for score in [json!(0), json!(0.97), json!(1), json!(null)] {
        assert_eq!(voice.check_value("confidence_score", &score), Ok(()), "{score}");
    }
    for score in [json!(-0.01), json!(1.01), json!("0.5"), json!(true)] {
        assert!(voice.check_value("confidence_score", &score).is_err(), "{score}");
    }
    assert!(voice.check_value("verified", &json!("yes")).is_err());
    assert!(voice.check_value("timestamp", &json!("yes")).is_err());
    assert_eq!(voice.date_field(), Some("timestamp"));
}

#[test]
fn do4_ticket_workflow() {
    let ticket = builtin("ticket");
    let states = ["NEW", "OPEN", "INPROGRESS", "ONHOLD", "RESOLVED", "CLOSED", "CANCELLED"];
    let allowed = [
        ("NEW", "OPEN"),
        ("OPEN", "INPROGRESS"),
        ("INPROGRESS", "RESOLVED"),
        ("RESOLVED", "CLOSED"),
        ("OPEN", "ONHOLD"),
        ("ONHOLD", "OPEN"),
        ("INPROGRESS", "ONHOLD"),
        ("ONHOLD", "INPROGRESS"),
        ("ONHOLD", "CANCELLED"),
        ("RESOLVED", "OPEN"),
    ];
    check_workflow(&ticket, &states, &allowed);
    for state in states {
        assert_eq!(ticket.check_transition(None, &json!(state), Device).is_ok(), state == "NEW");
        assert_eq!(ticket.check_transition(None, &json!(state), Trusted), Ok(()));
    }
}

#[test]
fn do1_task_workflow_and_times() {
    let task = builtin("task");
    let states = ["ASSIGNED", "INPROGRESS", "COMPLETED", "CANCELLED"];
    let allowed = [
        ("ASSIGNED", "INPROGRESS"),
        ("INPROGRESS", "COMPLETED"),
        ("ASSIGNED", "CANCELLED"),
        ("INPROGRESS", "CANCELLED"),
        ("INPROGRESS", "ASSIGNED"),
    ];
    check_workflow(&task, &states, &allowed);
    let late =
        data(json!({"plandatetime": "2026-01-02T00:00:00Z", "expirydatetime": "2026-01-01T00:00:00Z"}));
    assert!(task.check_record(&late, ["expirydatetime"]).is_err());
    assert!(task.check_value("gracetime", &json!(-1)).is_err());
    assert!(task.check_value("priority", &json!("CRITICAL")).is_err());
    assert_eq!(task.date_field(), Some("plandatetime"));
}

#[test]
fn do3_attendance_places_are_on_the_globe() {
    let attendance = builtin("attendance");
    for (field, limit) in [("latitude", 90), ("longitude", 180)] {
        assert_eq!(attendance.check_value(field, &json!(-limit)), Ok(()));
        assert!(attendance.check_value(field, &json!(f64::from(limit) + 0.1)).is_err());
        assert!(attendance.check_value(field, &Value::Null).is_err());
    }
    assert!(attendance.check_value("transport", &json!("PLANE")).is_err());
    assert!(attendance.check_create(&data(json!({"latitude": 1}))).is_err());
}

#[test]
fn e12_ticket_priority() {
    let ticket = builtin("ticket");
    let cases = [
        (json!({"priority": "CRITICAL"}), Priority::Critical),
        (json!({"priority": "LOW", "escalated": true}), Priority::Critical),
        (json!({"priority": "HIGH", "escalated": false}), Priority::High),
        (json!({"priority": "MEDIUM"}), Priority::Normal),
        (json!({"priority": "LOW"}), Priority::Normal),
        (json!({"priority": null}), Priority::Normal),
    ];
    for (record, expected) in cases {
        assert_eq!(ticket.priority_of(&data(record.clone())), expected, "{record}");
    }
}

#[test]
fn e5_e9_ticket_escalation_and_history() {
    let ticket = builtin("ticket");
    for field in ["escalated", "escalation_level"] {
        assert!(ticket.escalation().keeps(field, Some(&json!(1)), &json!(2)));
    }
    let ranks = ["LOW", "MEDIUM", "HIGH", "CRITICAL"];
    for (standing, sent) in ranks.iter().zip(&ranks[1..]) {
        assert!(!ticket.escalation().keeps("priority", Some(&json!(standing)), &json!(sent)));
        assert!(ticket.escalation().keeps("priority", Some(&json!(sent)), &json!(standing)));
    }
    assert_eq!(ticket.append_fields(), ["ticket_history"]);
}

/// Lines of a real help desk, with every kind of value that occurs there: null, numbers,
/// booleans, an empty subject.
const REAL: &[&str] = &[
    r#"{"status":"NEW","priority":"MEDIUM","subject":"Category 55 / Subcategory 170 / Symptom 72","category":"Category 55","impact":2,"urgency":2,"location":"Location 143","caller":"Caller 2403","channel":"Phone","group":"Group 56","assignee":null,"reassignments":0,"reopens":0,"sla_ok":true,"problem":null,"rfc":null}"#,
    r#"{"status":"NEW","priority":"MEDIUM","subject":"Category 53 / Subcategory 271 / Symptom 470","category":"Category 53","impact":2,"urgency":2,"location":"Location 42","caller":"Caller 2949","channel":"Self service","group":null,"assignee":"Resolver 17","reassignments":27,"reopens":8,"sla_ok":false,"problem":"Problem ID  2","rfc":"CHG0000132"}"#,
    r#"{"status":"NEW","priority":"CRITICAL","subject":"","category":null,"impact":1,"urgency":3,"location":null,"caller":null,"channel":"IVR","group":null,"assignee":null,"reassignments":0,"reopens":0,"sla_ok":true,"problem":null,"rfc":null}"#,
];

#[test]
fn do4_real_tickets_fit() {
    let ticket = builtin("ticket");
    for line in REAL {
        let record = data(serde_json::from_str(line).unwrap());
        assert_eq!(ticket.check_create(&record), Ok(()));
        for (field, value) in &record {
            assert_eq!(ticket.check_value(field, value), Ok(()));
            assert!(ticket.fields.contains_key(field), "{field} has a rule");
        }
        assert_eq!(ticket.check_transition(None, &record["status"], Device), Ok(()));
    }
}

#[test]
fn do4_every_field_of_a_ticket_refuses_another_type() {
    let ticket = builtin("ticket");
    let record = data(serde_json::from_str(REAL[1]).unwrap());
    for field in record.keys() {
        assert!(ticket.check_value(field, &json!({})).is_err(), "{field}");
    }
}
