//! Tables over definitions: what a file may say, what a definition then allows, and in which words
//! it refuses.

mod append;
mod builtin;
mod catalog;
mod faults;
mod records;
mod values;
mod workflow;

use serde_json::{Value, json};
use synchub_protocol::{Data, ErrorCode};

use crate::domain::{Definition, Violation};

/// The least that a file must say.
const HEAD: &str = "name = \"parcel\"\nstrategy = \"manual\"\nvisibility = \"tenant\"\n";

/// A definition of the least head and what a test is about.
fn parcel(rest: &str) -> Definition {
    Definition::parse("parcel.toml", &format!("{HEAD}{rest}")).unwrap_or_else(|error| panic!("{error}"))
}

fn data(value: Value) -> Data {
    match value {
        Value::Object(data) => data,
        other => panic!("{other} is no map of fields"),
    }
}

/// The violation's field and message, once its code was checked.
#[track_caller]
fn refused(result: Result<(), Violation>, code: ErrorCode) -> (String, String) {
    let violation = result.expect_err("it must be refused");
    assert_eq!(violation.code, code);
    (violation.field.expect("a violation names its field"), violation.message)
}

#[track_caller]
fn contains(message: &str, part: &str) {
    assert!(message.contains(part), "{message:?} does not say {part:?}");
}

#[test]
fn a_violation_is_an_entrys_error() {
    let definition = parcel("[fields.n]\ntype = \"integer\"");
    let violation = definition.check_value("n", &json!("x")).unwrap_err();
    let error = synchub_protocol::server::EntryError::from(violation.clone());
    assert_eq!(
        (error.code, error.field, error.message),
        (violation.code, violation.field, violation.message)
    );
}

#[test]
fn the_example_in_the_documentation_does_what_stands_there() {
    let page = include_str!("../../../../docs/domains.md");
    let example =
        page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let delivery = Definition::parse("delivery.toml", example).unwrap_or_else(|error| panic!("{error}"));
    let (_, message) = refused(delivery.check_create(&data(json!({}))), ErrorCode::ValidationFailed);
    contains(page, message.split(':').next().unwrap());
    let (_, message) = refused(delivery.check_value("weight_kg", &json!(-2)), ErrorCode::ValidationFailed);
    contains(page, &message);
    let step = delivery.check_transition(
        Some(&json!("PLANNED")),
        &json!("DELIVERED"),
        crate::domain::Author::Device,
    );
    let (_, message) = refused(step, ErrorCode::InvalidTransition);
    contains(page, message.split("; ").nth(1).unwrap());
    let times = data(json!({"due_from": "2026-01-02T00:00:00Z", "due_until": "2026-01-01T00:00:00Z"}));
    refused(delivery.check_record(&times, ["due_until"]), ErrorCode::ValidationFailed);
    for (field, value) in [("colour", json!("red")), ("code", Value::Null)] {
        assert_eq!(delivery.check_value(field, &value), Ok(()));
    }
    let wrong = example.replace("LOADED = [\"DELIVERED\"", "LOADED = [\"GONE\"");
    let error = Definition::parse("acme/delivery.toml", &wrong).unwrap_err();
    contains(page, &error.to_string());
}

/// Every key that the reader of a file knows stands in the documentation.
#[test]
fn the_documentation_names_every_key() {
    let page = include_str!("../../../../docs/domains.md");
    for table in ["", "[fields.a]\n", "[[checks]]\n", "[workflow]\n", "[escalation]\n", "[[priority]]\n"] {
        let error = Definition::parse("parcel.toml", &format!("{HEAD}{table}no_such_key = 1")).unwrap_err();
        let message = error.to_string();
        let known = message.split("expected ").nth(1).expect("the reader lists the keys it knows");
        for key in known.split('`').skip(1).step_by(2) {
            assert!(
                [
                    format!("`{key}`"),
                    format!("`{key} = "),
                    format!("[{key}]"),
                    format!("[{key}."),
                    format!(".{key}]")
                ]
                .iter()
                .any(|written| page.contains(written)),
                "{key} is not documented"
            );
        }
    }
}
