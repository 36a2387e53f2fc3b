//! One field at a time: types, bounds, null, unknown fields.

use serde_json::{Value, json};
use synchub_protocol::ErrorCode::ValidationFailed;

use crate::domain::tests::{contains, parcel, refused};

/// (the field's table, values that fit, values that do not, a part of the refusal)
type Case = (&'static str, &'static [fn() -> Value], &'static [fn() -> Value], &'static str);

const CASES: &[Case] = &[
    ("type='string'", &[|| json!(""), || json!("x")], &[|| json!(1), || json!(true)], "a string"),
    (
        "type='string'\nmin_length=2\nmax_length=3",
        &[|| json!("ab"), || json!("äöü")],
        &[|| json!("a"), || json!("abcd")],
        "a string, 2 characters or more, 3 characters or fewer",
    ),
    ("type='string'\npattern='^[A-Z]+$'", &[|| json!("AB")], &[|| json!("Ab")], "matching ^[A-Z]+$"),
    ("type='string'\nenum=['A','B']", &[|| json!("B")], &[|| json!("C"), || json!(1)], "one of A, B, not"),
    ("type='integer'\nenum=[1,2]", &[|| json!(1)], &[|| json!(3), || json!("1")], "one of 1, 2, not"),
    ("type='integer'", &[|| json!(-1), || json!(2.0)], &[|| json!(1.5), || json!("1")], "an integer, not"),
    ("type='integer'\nminimum=0", &[|| json!(0)], &[|| json!(-1)], "an integer, at least 0, not -1"),
    ("type='number'\nexclusive_minimum=0", &[|| json!(0.1)], &[|| json!(0)], "a number, above 0, not 0"),
    (
        "type='number'\nminimum=-90\nmaximum=90",
        &[|| json!(-90), || json!(89.5)],
        &[|| json!(90.01), || json!("52.1")],
        "a number, at least -90, at most 90",
    ),
    ("type='boolean'", &[|| json!(false)], &[|| json!(0), || json!("true")], "true or false"),
    ("type='object'", &[|| json!({"a": 1})], &[|| json!([])], "an object, not this array"),
    ("type='array'", &[|| json!([1, "x"])], &[|| json!({})], "an array, not an object"),
    (
        "type='time'",
        &[|| json!("2026-11-21T10:00:00Z"), || json!("2026-11-21T10:00:00.5+02:00")],
        &[
            || json!("2026-11-21"),
            || json!("2026-11-21T10:00:00"),
            || json!("2026-02-30T10:00:00Z"),
            || json!(1),
        ],
        "an RFC 3339 time",
    ),
    (
        "type='uuid'",
        &[|| json!("5f02abba-273e-4c51-8693-648838c3619b")],
        &[|| json!("5f02abba"), || json!(1)],
        "a UUID",
    ),
];

#[test]
fn e8_a_value_fits_its_fields_rule_or_is_refused_in_words() {
    for (table, fitting, wrong, part) in CASES {
        let definition = parcel(&format!("[fields.f]\n{table}"));
        for value in *fitting {
            assert_eq!(definition.check_value("f", &value()), Ok(()), "{table}");
        }
        for value in *wrong {
            let (field, message) = refused(definition.check_value("f", &value()), ValidationFailed);
            assert_eq!(field, "f");
            contains(&message, part);
            contains(&message, "f must be ");
        }
    }
}

#[test]
fn e2_null_clears_any_field_that_is_not_required() {
    for (table, ..) in CASES {
        let definition = parcel(&format!("[fields.f]\n{table}"));
        assert_eq!(definition.check_value("f", &Value::Null), Ok(()), "{table}");
        let definition = parcel(&format!("required=['f']\n[fields.f]\n{table}"));
        let (field, message) = refused(definition.check_value("f", &Value::Null), ValidationFailed);
        assert_eq!(field, "f");
        contains(&message, "f cannot be cleared, it is required; it must be ");
    }
}

#[test]
fn e2_unknown_fields_are_kept_unless_refused() {
    let rest = "[fields.a]\ntype='string'\n[fields.b]\ntype='string'";
    assert_eq!(parcel(rest).check_value("c", &json!({"any": 1})), Ok(()));
    let strict = parcel(&format!("unknown_fields='refuse'\n{rest}"));
    assert_eq!(strict.check_value("a", &json!("x")), Ok(()));
    for value in [json!(1), Value::Null] {
        let (field, message) = refused(strict.check_value("c", &value), ValidationFailed);
        assert_eq!(
            (field.as_str(), message.as_str()),
            ("c", "parcel has no field \"c\"; its fields are a, b")
        );
    }
}

#[test]
fn e9_elements_of_append_lists_carry_ids() {
    let definition = parcel("append=['log']\n[fields.log]\ntype='array'");
    assert_eq!(definition.append_fields(), ["log"]);
    for fitting in [json!([]), json!([{"id": "a"}, {"id": 7, "text": "x"}])] {
        assert_eq!(definition.check_value("log", &fitting), Ok(()));
    }
    for wrong in
        [json!([{"text": "x"}]), json!([{"id": null}]), json!([{"id": [1]}]), json!(["a"]), json!({"id": 1})]
    {
        let (_, message) = refused(definition.check_value("log", &wrong), ValidationFailed);
        contains(&message, "log must be an array of objects with an `id` each");
    }
    let (_, message) =
        refused(definition.check_value("log", &json!([{"id": 1}, {"id": false}])), ValidationFailed);
    contains(&message, "`log/1/id`");
}

#[test]
fn a_refusal_stays_short_whatever_was_sent() {
    let definition = parcel("[fields.f]\ntype='string'\nmax_length=5");
    let (_, message) = refused(definition.check_value("f", &json!("x".repeat(40))), ValidationFailed);
    assert!(message.ends_with("x\""), "{message}");
    let (_, message) = refused(definition.check_value("f", &json!("ü".repeat(100_000))), ValidationFailed);
    assert!(message.len() < 200, "{message}");
    let definition = parcel("append=['f']\n[fields.f]\ntype='array'");
    let (_, message) =
        refused(definition.check_value("f", &json!([{"id": vec![0; 10_000]}])), ValidationFailed);
    assert!(message.len() < 200, "{message}");
}
