//! Wrong definition files, and the words in which they are refused: file, place, what would be right.

use crate::domain::tests::{HEAD, contains};
use crate::domain::{Definition, DefinitionError};

const STATE: &str =
    "[fields.s]\ntype='string'\nenum=['A','B']\n[fields.n]\ntype='integer'\n[fields.t]\ntype='time'\n";

/// (what follows the least head, the parts of the message)
const SHAPES: &[(&str, &[&str])] = &[
    ("colour = 'red'", &["line 4", "unknown field `colour`", "`unknown_fields`"]),
    ("feed = 1", &["line 4", "feed = 1", "expected a boolean"]),
    ("unknown_fields = 'drop'", &["line 4", "`drop`", "`keep` or `refuse`"]),
    ("name = 'again'", &["line 4", "duplicate key"]),
    ("[fields.a]\ntype = 'text'", &["line 5", "unknown variant `text`", "`string`"]),
    ("[fields.a]\nmin = 1\ntype = 'integer'", &["line 5", "unknown field `min`", "`minimum`"]),
    ("[fields.a]\nminimum = 1", &["[fields.a]", "missing field `type`"]),
    ("[fields.a]\ntype = 'string'\nmin_length = -1", &["min_length = -1"]),
    ("[[checks]]\nafter = ['a', 'b']", &["line 5", "unknown field `after`", "`before`"]),
    ("[[checks]]\nbefore = ['a']", &["before = ['a']", "2"]),
    ("[workflow]\ninitial = ['A']", &["[workflow]", "missing field `field`"]),
    ("[workflow]\nfield = 's'\nstates = []", &["unknown field `states`", "`transitions`"]),
    ("[escalation]\nkeeps = ['a']", &["unknown field `keeps`", "`keep`"]),
    ("[[priority]]\nlevel = 'urgent'\nwhen = {}", &["unknown variant `urgent`", "`critical`"]),
    ("[[priority]]\nlevel = 'high'", &["[[priority]]", "missing field `when`"]),
];

/// (what follows the least head and the fields s, n, t; the place; parts of the message)
const RULES: &[(&str, &str, &[&str])] = &[
    (
        "[fields.a]\ntype='boolean'\nenum=[true]",
        "fields.a.enum",
        &["means something for string, integer, number only"],
    ),
    ("[fields.a]\ntype='string'\nminimum=1", "fields.a.minimum", &["integer, number only"]),
    ("[fields.a]\ntype='string'\nmaximum=1", "fields.a.maximum", &["integer, number only"]),
    ("[fields.a]\ntype='time'\nexclusive_minimum=1", "fields.a.exclusive_minimum", &["integer, number only"]),
    ("[fields.a]\ntype='array'\nmin_length=1", "fields.a.min_length", &["string only"]),
    ("[fields.a]\ntype='object'\nmax_length=1", "fields.a.max_length", &["string only"]),
    ("[fields.a]\ntype='integer'\npattern='x'", "fields.a.pattern", &["string only"]),
    ("[fields.a]\ntype='string'\npattern='('", "fields.a.pattern", &["no regular expression"]),
    ("[fields.a]\ntype='string'\npattern='(a)\\1'", "fields.a.pattern", &["no back-references"]),
    ("[fields.a]\ntype='integer'\nminimum=2\nmaximum=1", "fields.a.maximum", &["not be below the minimum"]),
    (
        "[fields.a]\ntype='number'\nexclusive_minimum=1\nmaximum=1",
        "fields.a.maximum",
        &["no value would fit"],
    ),
    ("[fields.a]\ntype='string'\nmin_length=2\nmax_length=1", "fields.a.max_length", &["below min_length"]),
    ("[fields.a]\ntype='string'\nenum=[]", "fields.a.enum", &["at least one value"]),
    ("[fields.a]\ntype='string'\nenum=['x',1]", "fields.a.enum", &["1 breaks the rest of the field's rule"]),
    ("[fields.a]\ntype='integer'\nenum=[5]\nmaximum=4", "fields.a.enum", &["5 breaks the rest"]),
    ("[fields.a]\ntype='string'\nenum=['x','x']", "fields.a.enum", &["\"x\" stands there twice"]),
    ("[[checks]]\nbefore=['t','u']", "checks[0].before", &["no field \"u\"", "add [fields.u]"]),
    ("[[checks]]\nbefore=['t','n']", "checks[0].before", &["\"n\" must be of the type \"time\""]),
    ("[[checks]]\nbefore=['t','t']", "checks[0].before", &["\"t\" stands there twice"]),
    ("[workflow]\nfield='x'", "workflow.field", &["no field \"x\""]),
    ("[workflow]\nfield='n'", "workflow.field", &["\"n\" must be a string with an `enum`"]),
    ("[workflow]\nfield='s'\ninitial=['C']", "workflow.initial", &["\"C\" is not in the field's enum: A, B"]),
    ("[workflow]\nfield='s'\ninitial=[]", "workflow.initial", &["leave it out to allow any"]),
    ("[workflow]\nfield='s'\ninitial=['A','A']", "workflow.initial", &["twice"]),
    ("[workflow]\nfield='s'\n[workflow.transitions]\nC=['A']", "workflow.transitions", &["\"C\" is not in"]),
    (
        "[workflow]\nfield='s'\n[workflow.transitions]\nA=['C']",
        "workflow.transitions.A",
        &["\"C\" is not in"],
    ),
    ("[workflow]\nfield='s'\n[workflow.transitions]\nA=['B','B']", "workflow.transitions.A", &["twice"]),
    (
        "[workflow]\nfield='s'\ninitial=['A']",
        "workflow.transitions",
        &["\"B\" is neither initial nor", "B = []"],
    ),
    ("[escalation]\nkeep=['x']", "escalation.keep", &["no field \"x\""]),
    ("[escalation]\nkeep=['n','n']", "escalation.keep", &["twice"]),
    ("[escalation]\nkeep_higher=[{field='n',order=[]}]", "escalation.keep_higher[0].field", &["an `enum`"]),
    (
        "[escalation]\nkeep_higher=[{field='s',order=['A']}]",
        "escalation.keep_higher[0].order",
        &["\"B\" is missing"],
    ),
    (
        "[escalation]\nkeep_higher=[{field='s',order=['A','B','C']}]",
        "escalation.keep_higher[0].order",
        &["\"C\" is not in the field's enum"],
    ),
    (
        "[escalation]\nkeep=['s']\nkeep_higher=[{field='s',order=['A','B']}]",
        "escalation.keep_higher",
        &["\"s\" stands there twice"],
    ),
    ("[[priority]]\nlevel='high'\nwhen={}", "priority[0].when", &["must name a field"]),
    ("[[priority]]\nlevel='high'\nwhen={x=[1]}", "priority[0].when.x", &["no field \"x\""]),
    ("[[priority]]\nlevel='high'\nwhen={n=[]}", "priority[0].when.n", &["at least one value"]),
    (
        "[[priority]]\nlevel='high'\nwhen={s=['C']}",
        "priority[0].when.s",
        &["\"C\" never stands there", "one of A, B"],
    ),
];

/// (what goes before the fields s, n, t; the place; parts of the message)
const TOPS: &[(&str, &str, &[&str])] = &[
    ("required=['x']", "required", &["no field \"x\"", "add [fields.x]"]),
    ("required=['s','s']", "required", &["twice"]),
    ("append=['x']", "append", &["no field \"x\""]),
    ("append=['s']", "fields.s.type", &["must be \"array\"", "`append`"]),
    ("date_field='x'", "date_field", &["no field \"x\""]),
    ("date_field='s'", "date_field", &["must be of the type \"time\""]),
    ("path='A b'", "path", &["lower-case", "\"A b\""]),
    ("path=''", "path", &["1 to 64 characters"]),
    ("append_only=true\n[escalation]", "append_only", &["no `workflow`, `escalation` or `append`"]),
];

#[test]
fn a_file_of_another_shape_names_line_key_and_what_may_stand_there() {
    for (rest, parts) in SHAPES {
        let error = Definition::parse("own/parcel.toml", &format!("{HEAD}{rest}\n")).unwrap_err();
        assert!(matches!(error, DefinitionError::Shape { .. }), "{error}");
        let message = error.to_string();
        contains(&message, "own/parcel.toml: ");
        for part in *parts {
            contains(&message, part);
        }
    }
}

#[test]
fn a_file_without_a_name_strategy_or_visibility_says_what_is_missing() {
    for key in ["name", "strategy", "visibility"] {
        let text: String = HEAD.lines().filter(|line| !line.starts_with(key)).collect::<Vec<_>>().join("\n");
        let message = Definition::parse("parcel.toml", &text).unwrap_err().to_string();
        contains(&message, &format!("missing field `{key}`"));
    }
}

#[track_caller]
fn check_rule(text: &str, expected_place: &str, parts: &[&str]) {
    let error = Definition::parse("parcel.toml", text).expect_err(text);
    let DefinitionError::Rule { place, .. } = &error else { panic!("{text}\n{error}") };
    assert_eq!(place, expected_place, "{error}");
    let message = error.to_string();
    contains(&message, &format!("parcel.toml: {expected_place}: "));
    for part in parts {
        contains(&message, part);
    }
}

#[test]
fn a_file_that_contradicts_itself_names_the_place() {
    for (rest, place, parts) in RULES {
        check_rule(&format!("{HEAD}{STATE}{rest}\n"), place, parts);
    }
    for (top, place, parts) in TOPS {
        check_rule(&format!("{HEAD}{top}\n{STATE}"), place, parts);
    }
    for name in ["Parcel", "", "9to5", "a.b", "a/b", "ä", &"a".repeat(65)] {
        check_rule(&HEAD.replace("parcel", name), "name", &["lower-case"]);
    }
    check_rule(&HEAD.replace("manual", "preserve_escalation"), "strategy", &["needs [escalation]"]);
}

#[test]
fn a_file_may_go_to_the_edge_of_what_is_allowed() {
    for name in ["a", "z-9_b", &"a".repeat(64)] {
        assert!(Definition::parse("parcel.toml", &HEAD.replace("parcel", name)).is_ok(), "{name}");
    }
    for rule in ["type='integer'\nminimum=1\nmaximum=1", "type='string'\nmin_length=2\nmax_length=2"] {
        assert!(Definition::parse("parcel.toml", &format!("{HEAD}[fields.a]\n{rule}")).is_ok(), "{rule}");
    }
}
