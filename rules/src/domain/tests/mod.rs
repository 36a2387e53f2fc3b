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
