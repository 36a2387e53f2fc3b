//! The domains of the histories: the four first built-in ones as docs/domains.md describes them, written
//! down a second time, and some of the histories' own.

use serde_json::Value;

use super::{Data, Scope};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    ClientWins,
    ServerWins,
    MostRecentWins,
    PreserveEscalation,
    DevicePriority,
    Manual,
}

impl Strategy {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ClientWins => "client_wins",
            Self::ServerWins => "server_wins",
            Self::MostRecentWins => "most_recent_wins",
            Self::PreserveEscalation => "preserve_escalation",
            Self::DevicePriority => "device_priority",
            Self::Manual => "manual",
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Visibility {
    Tenant,
    Unit,
    Owner,
}

/// What a field may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Text,
    OneOf(&'static [&'static str]),
    Integer(i64),
    Number(f64, f64),
    Boolean,
    Time,
    /// A list that only grows (E9).
    Append,
}

/// A workflow: its field, what may begin (all, if empty), and what may follow.
pub(crate) type Workflow =
    (&'static str, &'static [&'static str], &'static [(&'static str, &'static [&'static str])]);

#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    pub(crate) strategy: Strategy,
    pub(crate) visibility: Visibility,
    pub(crate) required: &'static [&'static str],
    pub(crate) fields: &'static [(&'static str, Kind)],
    pub(crate) before: Option<(&'static str, &'static str)>,
    pub(crate) workflow: Option<Workflow>,
    pub(crate) keep: &'static [&'static str],
    /// A field whose higher value is kept, and the order of its values.
    pub(crate) keep_higher: Option<(&'static str, &'static [&'static str])>,
    /// The level and the field's value that gives it; the first that holds counts. 1 is normal.
    pub(crate) priority: &'static [(usize, &'static str, &'static str)],
    pub(crate) append_only: bool,
    pub(crate) refuses_unknown: bool,
}

const BARE: Definition = Definition {
    name: "",
    strategy: Strategy::MostRecentWins,
    visibility: Visibility::Unit,
    required: &[],
    fields: &[],
    before: None,
    workflow: None,
    keep: &[],
    keep_higher: None,
    priority: &[],
    append_only: false,
    refuses_unknown: false,
};

const LEVELS: &[&str] = &["LOW", "MEDIUM", "HIGH", "CRITICAL"];

/// What the histories write.
pub(crate) static DOMAINS: [Definition; 8] = [
    Definition {
        name: "ticket",
        strategy: Strategy::PreserveEscalation,
        required: &["subject"],
        fields: &[
            ("subject", Kind::Text),
            (
                "status",
                Kind::OneOf(&["NEW", "OPEN", "INPROGRESS", "ONHOLD", "RESOLVED", "CLOSED", "CANCELLED"]),
            ),
            ("priority", Kind::OneOf(LEVELS)),
            ("impact", Kind::Integer(i64::MIN)),
            ("reopens", Kind::Integer(0)),
            ("escalated", Kind::Boolean),
            ("escalation_level", Kind::Integer(0)),
            ("ticket_history", Kind::Append),
        ],
        workflow: Some((
            "status",
            &["NEW"],
            &[
                ("NEW", &["OPEN"]),
                ("OPEN", &["INPROGRESS", "ONHOLD"]),
                ("INPROGRESS", &["RESOLVED", "ONHOLD"]),
                ("ONHOLD", &["OPEN", "INPROGRESS", "CANCELLED"]),
                ("RESOLVED", &["CLOSED", "OPEN"]),
                ("CLOSED", &[]),
                ("CANCELLED", &[]),
            ],
        )),
        keep: &["escalated", "escalation_level"],
        keep_higher: Some(("priority", LEVELS)),
        priority: &[(3, "priority", "CRITICAL"), (3, "escalated", "true"), (2, "priority", "HIGH")],
        ..BARE
    },
    Definition {
        name: "task",
        required: &["jobdesc"],
        fields: &[
            ("jobdesc", Kind::Text),
            ("jobstatus", Kind::OneOf(&["ASSIGNED", "INPROGRESS", "COMPLETED", "CANCELLED"])),
            ("priority", Kind::OneOf(&["LOW", "MEDIUM", "HIGH"])),
            ("plandatetime", Kind::Time),
            ("expirydatetime", Kind::Time),
            ("gracetime", Kind::Integer(0)),
        ],
        before: Some(("plandatetime", "expirydatetime")),
        workflow: Some((
            "jobstatus",
            &[],
            &[
                ("ASSIGNED", &["INPROGRESS", "CANCELLED"]),
                ("INPROGRESS", &["COMPLETED", "CANCELLED", "ASSIGNED"]),
                ("COMPLETED", &[]),
                ("CANCELLED", &[]),
            ],
        )),
        ..BARE
    },
    Definition {
        name: "journal",
        strategy: Strategy::ClientWins,
        visibility: Visibility::Owner,
        required: &["content"],
        fields: &[("content", Kind::Text), ("title", Kind::Text)],
        ..BARE
    },
    Definition {
        name: "attendance",
        strategy: Strategy::ServerWins,
        required: &["latitude", "longitude"],
        fields: &[
            ("latitude", Kind::Number(-90.0, 90.0)),
            ("longitude", Kind::Number(-180.0, 180.0)),
            ("transport", Kind::OneOf(&["WALK", "BIKE", "CAR", "BUS", "TRAIN"])),
        ],
        ..BARE
    },
    Definition { name: "notice", strategy: Strategy::Manual, visibility: Visibility::Tenant, ..BARE },
    Definition { name: "gauge", strategy: Strategy::DevicePriority, ..BARE },
    Definition { name: "wiki", visibility: Visibility::Tenant, ..BARE },
    Definition {
        name: "punch",
        visibility: Visibility::Tenant,
        fields: &[("a", Kind::Text), ("f", Kind::Integer(i64::MIN))],
        append_only: true,
        refuses_unknown: true,
        ..BARE
    },
];

/// The definition files that the hub does not bring along.
pub(crate) const OWN_DEFINITIONS: [(&str, &str); 4] = [
    ("notice.toml", "name = \"notice\"\nstrategy = \"manual\"\nvisibility = \"tenant\"\n"),
    ("gauge.toml", "name = \"gauge\"\nstrategy = \"device_priority\"\nvisibility = \"unit\"\n"),
    ("wiki.toml", "name = \"wiki\"\nstrategy = \"most_recent_wins\"\nvisibility = \"tenant\"\n"),
    (
        "punch.toml",
        "name = \"punch\"\nstrategy = \"most_recent_wins\"\nvisibility = \"tenant\"\nappend_only = true\n\
         unknown_fields = \"refuse\"\n[fields.a]\ntype = \"string\"\n[fields.f]\ntype = \"integer\"\n",
    ),
];

/// The definition of a domain that the histories write.
pub(crate) fn definition(name: &str) -> &'static Definition {
    known(name).unwrap_or_else(|| panic!("no domain {name}"))
}

/// The same; none for a domain that there is not.
pub(super) fn known(name: &str) -> Option<&'static Definition> {
    DOMAINS.iter().find(|domain| domain.name == name)
}

impl Definition {
    pub(super) fn scope(&self, unit: Option<&str>, owner: Option<&str>) -> Scope {
        match (self.visibility, unit, owner) {
            (Visibility::Unit, Some(unit), _) => Scope::Unit(unit.to_owned()),
            (Visibility::Owner, _, Some(owner)) => Scope::User(owner.to_owned()),
            _ => Scope::Tenant,
        }
    }

    pub(super) fn kind(&self, field: &str) -> Option<Kind> {
        self.fields.iter().find(|(name, _)| *name == field).map(|(_, kind)| *kind)
    }

    pub(super) fn level(&self, data: &Data) -> usize {
        let holds = |field: &str, wanted: &str| match data.get(field) {
            Some(Value::String(text)) => text == wanted,
            Some(Value::Bool(true)) => wanted == "true",
            _ => false,
        };
        let rule = self.priority.iter().find(|(_, field, wanted)| holds(field, wanted));
        rule.map_or(1, |(level, _, _)| *level)
    }

    /// Whether a field may hold a value, whatever else the record holds.
    pub(super) fn fits(&self, field: &str, value: &Value) -> bool {
        if value.is_null() {
            return !self.required.contains(&field) && (self.kind(field).is_some() || !self.refuses_unknown);
        }
        match self.kind(field) {
            None => !self.refuses_unknown,
            Some(Kind::Text) => value.is_string(),
            Some(Kind::OneOf(names)) => value.as_str().is_some_and(|name| names.contains(&name)),
            Some(Kind::Integer(least)) => value.as_i64().is_some_and(|number| number >= least),
            Some(Kind::Number(least, most)) => {
                value.as_f64().is_some_and(|number| number >= least && number <= most)
            }
            Some(Kind::Boolean) => value.is_boolean(),
            Some(Kind::Time) => value.as_str().and_then(super::batch::time).is_some(),
            Some(Kind::Append) => value
                .as_array()
                .is_some_and(|list| list.iter().all(|item| item["id"].is_string() || item["id"].is_number())),
        }
    }

    /// Whether a workflow lets a device go from one state to another.
    pub(super) fn may_go(&self, field: &str, from: &Value, to: &Value, trusted: bool) -> bool {
        let Some((_, initial, steps)) = self.workflow.filter(|(of, _, _)| *of == field) else { return true };
        match from.as_str() {
            _ if from == to => true,
            Some(from) => {
                let next = steps.iter().find(|(state, _)| *state == from).map_or(&[][..], |(_, next)| next);
                to.as_str().is_some_and(|to| next.contains(&to))
            }
            None => trusted || initial.is_empty() || to.as_str().is_some_and(|to| initial.contains(&to)),
        }
    }

    /// Whether the pair of times stands in its order.
    pub(super) fn is_ordered(&self, data: &Data) -> bool {
        let Some((early, late)) = self.before else { return true };
        let time = |field: &str| data.get(field).and_then(Value::as_str).and_then(super::batch::time);
        time(early).zip(time(late)).is_none_or(|(early, late)| early < late)
    }
}
