//! Workflows: steps, beginnings, and who may begin where.

use serde_json::{Value, json};
use synchub_protocol::ErrorCode::InvalidTransition;

use crate::domain::Author::{self, Device, Trusted};
use crate::domain::tests::{contains, parcel, refused};

const FIELDS: &str = "[fields.state]\ntype='string'\nenum=['SENT','LOST','FOUND','DONE']\n";
const STEPS: &str = "[workflow.transitions]\nSENT=['LOST','DONE']\nLOST=['FOUND']\nFOUND=['DONE']\n";

#[test]
fn e8_the_workflow_allows_its_steps_and_names_them_when_it_refuses() {
    let definition = parcel(&format!("{FIELDS}[workflow]\nfield='state'\ninitial=['SENT']\n{STEPS}"));
    assert_eq!(definition.workflow_field(), Some("state"));
    let cases: &[(Value, Value, Author, &str)] = &[
        (json!("SENT"), json!("LOST"), Device, ""),
        (json!("SENT"), json!("DONE"), Trusted, ""),
        (json!("LOST"), json!("LOST"), Device, ""),
        (
            json!("SENT"),
            json!("FOUND"),
            Device,
            "cannot go from SENT to FOUND; from SENT it can go to LOST, DONE",
        ),
        (json!("SENT"), json!("FOUND"), Trusted, "from SENT it can go to LOST, DONE"),
        (json!("DONE"), json!("SENT"), Device, "cannot go from DONE to SENT; DONE is final"),
        (json!("SENT"), Value::Null, Device, "state cannot be cleared; from SENT it can go to LOST, DONE"),
        (json!("DONE"), Value::Null, Trusted, "state cannot be cleared; DONE is final"),
        (Value::Null, Value::Null, Device, ""),
        (Value::Null, json!("SENT"), Device, ""),
        (Value::Null, json!("DONE"), Device, "state cannot begin as DONE; it can begin as SENT"),
        (Value::Null, json!("DONE"), Trusted, ""),
        (json!("GONE"), json!("SENT"), Device, ""),
        (json!("GONE"), json!("DONE"), Device, "it can begin as SENT"),
        (json!("GONE"), json!("DONE"), Trusted, ""),
        (json!("GONE"), json!("GONE"), Device, ""),
    ];
    for (from, to, author, part) in cases {
        let mut froms = vec![Some(from)];
        froms.extend(from.is_null().then_some(None));
        for from in froms {
            let result = definition.check_transition(from, to, *author);
            if part.is_empty() {
                assert_eq!(result, Ok(()), "{from:?} -> {to}");
            } else {
                let (field, message) = refused(result, InvalidTransition);
                assert_eq!(field, "state");
                contains(&message, part);
            }
        }
    }
}

#[test]
fn e8_without_initial_states_a_record_begins_in_any() {
    let definition = parcel(&format!("{FIELDS}[workflow]\nfield='state'\n{STEPS}"));
    for state in ["SENT", "LOST", "FOUND", "DONE"] {
        assert_eq!(definition.check_transition(None, &json!(state), Device), Ok(()));
    }
    refused(definition.check_transition(Some(&json!("DONE")), &json!("SENT"), Device), InvalidTransition);
}

#[test]
fn e8_without_a_workflow_every_step_is_allowed() {
    let definition = parcel(FIELDS);
    assert_eq!(definition.workflow_field(), None);
    assert_eq!(definition.check_transition(Some(&json!("DONE")), &json!("SENT"), Device), Ok(()));
}
