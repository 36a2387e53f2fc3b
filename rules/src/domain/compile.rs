//! From a file's text to a [`Definition`]: what it says is checked as a whole, once, and every
//! fault names the file, the place in it and what would be right.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};
use synchub_protocol::server::Strategy;

use crate::domain::Definition;
use crate::domain::escalation::{Escalation, KeepHigher};
use crate::domain::fields::Field;
use crate::domain::file::{
    DefinitionFile, EscalationFile, FieldType, KeepHigherFile, PriorityFile, UnknownFields, WorkflowFile,
};
use crate::domain::priority::PriorityRule;
use crate::domain::violation::shown;
use crate::domain::workflow::Workflow;

/// Why definition files cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// The text is not TOML, or not of the shape of a definition.
    #[error("{file}: {message}")]
    Shape {
        /// The file's path, as it was given.
        file: String,
        /// What the reader says, with line and column.
        message: String,
    },
    /// The text is a definition, but it contradicts itself.
    #[error("{file}: {place}: {message}")]
    Rule {
        /// The file's path, as it was given.
        file: String,
        /// The key at fault, from the top of the file: `fields.status.enum`.
        place: String,
        /// What would be right.
        message: String,
    },
    /// The path does not say whose definition it is.
    #[error("{file}: a definition file is NAME.toml (for all tenants) or TENANT/NAME.toml (for one)")]
    Path {
        /// The file's path, as it was given.
        file: String,
    },
    /// Two domains of one tenant have the same address over HTTP.
    #[error("the domains {first} and {second} both have the path {path:?}; give one of them another `path`")]
    SamePath {
        /// The path.
        path: String,
        /// One domain.
        first: String,
        /// The other.
        second: String,
    },
}

/// A fault, before the file is known.
#[derive(Debug)]
pub(super) struct Fault {
    place: String,
    message: String,
}

impl Fault {
    pub(super) fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }

    fn under(self, place: &str) -> Self {
        Self { place: format!("{place}.{}", self.place), ..self }
    }
}

type Fields = BTreeMap<String, Field>;

impl Definition {
    /// Reads a definition file's text; `file` is the name that errors give it.
    pub fn parse(file: &str, text: &str) -> Result<Self, DefinitionError> {
        let read: DefinitionFile = toml::from_str(text).map_err(|error| DefinitionError::Shape {
            file: file.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        })?;
        compile(read).map_err(|Fault { place, message }| DefinitionError::Rule {
            file: file.to_owned(),
            place,
            message,
        })
    }

    /// Reads a definition file that is called `stem` and `.toml`: the domain must have that name.
    pub fn parse_named(file: &str, stem: &str, text: &str) -> Result<Self, DefinitionError> {
        let definition = Self::parse(file, text)?;
        if definition.name == stem {
            return Ok(definition);
        }
        let message = format!("is {:?}, but the file is named {stem:?}; make both the same", definition.name);
        Err(DefinitionError::Rule { file: file.to_owned(), place: "name".to_owned(), message })
    }
}

fn compile(file: DefinitionFile) -> Result<Definition, Fault> {
    check_name("name", &file.name)?;
    let path = file.path.clone().unwrap_or_else(|| file.name.clone());
    check_name("path", &path)?;
    let fields = compile_fields(&file)?;
    check_uses(&file, &fields)?;
    let workflow = file.workflow.map(|workflow| compile_workflow(workflow, &fields)).transpose()?;
    let escalation = file.escalation.map(|escalation| compile_escalation(escalation, &fields)).transpose()?;
    let rules = file.priority.into_iter().enumerate();
    let priority = rules.map(|(n, rule)| compile_priority(n, rule, &fields)).collect::<Result<_, _>>()?;
    let mut definition = Definition {
        title: file.title.unwrap_or_else(|| file.name.clone()),
        name: file.name,
        path,
        strategy: file.strategy.into(),
        visibility: file.visibility,
        feed: file.feed,
        append_only: file.append_only,
        keeps_unknown: file.unknown_fields == UnknownFields::Keep,
        required: file.required,
        date_field: file.date_field,
        append: file.append,
        fields,
        before: file.checks.into_iter().map(|check| check.before).collect(),
        workflow,
        escalation: escalation.unwrap_or_default(),
        priority,
        fingerprint: [0; 8],
    };
    definition.fingerprint = fingerprint(&definition);
    Ok(definition)
}

/// What a cursor's holder must have been sent under: a change of it makes the domain fresh.
fn fingerprint(definition: &Definition) -> [u8; 8] {
    let text = format!("{}\n{:?}\n{}", definition.name, definition.visibility, definition.feed);
    let mut start = [0; 8];
    for (to, from) in start.iter_mut().zip(Sha256::digest(text)) {
        *to = from;
    }
    start
}

/// Names stand in addresses, folders and metrics: nothing in them ever needs an escape.
fn check_name(place: &str, name: &str) -> Result<(), Fault> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if name.starts_with(|c: char| c.is_ascii_lowercase()) && name.len() <= 64 && name.chars().all(plain) {
        return Ok(());
    }
    let message =
        "must be 1 to 64 characters: a lower-case letter, then lower-case letters, digits, `_` or `-`";
    Err(Fault::new(place, format!("{message}; it is {name:?}")))
}

fn compile_fields(file: &DefinitionFile) -> Result<Fields, Fault> {
    let compiled = file.fields.iter().map(|(name, field)| {
        let place = format!("fields.{name}");
        let field = Field::compile(field, file.append.contains(name)).map_err(|fault| fault.under(&place))?;
        Ok((name.clone(), field))
    });
    compiled.collect()
}

/// Checks the keys at the top of the file that name fields, and those that exclude each other.
fn check_uses(file: &DefinitionFile, fields: &Fields) -> Result<(), Fault> {
    for (place, names) in [("required", &file.required), ("append", &file.append)] {
        check_distinct(place, names)?;
        for name in names {
            known(place, name, fields)?;
        }
    }
    if let Some(name) = &file.date_field {
        check_time("date_field", name, fields)?;
    }
    for (n, check) in file.checks.iter().enumerate() {
        let place = format!("checks[{n}].before");
        check_distinct(&place, &check.before)?;
        for name in &check.before {
            check_time(&place, name, fields)?;
        }
    }
    let escalates = matches!(Strategy::from(file.strategy), Strategy::PreserveEscalation);
    if escalates && file.escalation.is_none() {
        return Err(Fault::new(
            "strategy",
            "preserve_escalation needs [escalation], which says what it keeps",
        ));
    }
    if file.append_only && (file.workflow.is_some() || file.escalation.is_some() || !file.append.is_empty()) {
        let message = "records that are never changed have no `workflow`, `escalation` or `append`; \
                       take these away, or append_only";
        return Err(Fault::new("append_only", message));
    }
    Ok(())
}

fn known<'f>(place: &str, name: &str, fields: &'f Fields) -> Result<&'f Field, Fault> {
    fields.get(name).ok_or_else(|| {
        Fault::new(place, format!("there is no field {name:?}; add [fields.{name}] or name another"))
    })
}

fn check_time(place: &str, name: &str, fields: &Fields) -> Result<(), Fault> {
    if known(place, name, fields)?.kind == FieldType::Time {
        return Ok(());
    }
    Err(Fault::new(place, format!("the field {name:?} must be of the type \"time\"")))
}

fn check_distinct(place: &str, names: &[String]) -> Result<(), Fault> {
    let twice = names.iter().enumerate().find(|(n, name)| names[..*n].contains(name));
    twice.map_or(Ok(()), |(_, name)| Err(Fault::new(place, format!("{name:?} stands there twice"))))
}

/// The field's states: a list of strings that the file must give.
fn states(place: &str, name: &str, fields: &Fields) -> Result<Vec<String>, Fault> {
    let field = known(place, name, fields)?;
    let values = field.one_of.as_ref().filter(|_| field.kind == FieldType::String).ok_or_else(|| {
        Fault::new(place, format!("the field {name:?} must be a string with an `enum` of its values"))
    })?;
    Ok(values.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn check_states(place: &str, used: &[String], states: &[String]) -> Result<(), Fault> {
    check_distinct(place, used)?;
    let unknown = used.iter().find(|state| !states.contains(state));
    unknown.map_or(Ok(()), |state| {
        Err(Fault::new(place, format!("{state:?} is not in the field's enum: {}", states.join(", "))))
    })
}

fn compile_workflow(file: WorkflowFile, fields: &Fields) -> Result<Workflow, Fault> {
    let states = states("workflow.field", &file.field, fields)?;
    if let Some(initial) = &file.initial {
        check_states("workflow.initial", initial, &states)?;
        if initial.is_empty() {
            return Err(Fault::new("workflow.initial", "must name a state; leave it out to allow any"));
        }
    }
    let from: Vec<String> = file.transitions.keys().cloned().collect();
    check_states("workflow.transitions", &from, &states)?;
    for (state, next) in &file.transitions {
        check_states(&format!("workflow.transitions.{state}"), next, &states)?;
    }
    let used: Vec<&String> =
        file.initial.iter().flatten().chain(&from).chain(file.transitions.values().flatten()).collect();
    if let Some(lost) = states.iter().find(|state| !used.contains(state)) {
        let message = format!("the state {lost:?} is neither initial nor in any transition; add {lost} = []");
        return Err(Fault::new("workflow.transitions", format!("{message} if it is meant to stand alone")));
    }
    let mut next = file.transitions;
    for state in states {
        next.entry(state).or_default();
    }
    Ok(Workflow { field: file.field, initial: file.initial, next })
}

fn compile_escalation(file: EscalationFile, fields: &Fields) -> Result<Escalation, Fault> {
    check_distinct("escalation.keep", &file.keep)?;
    for name in &file.keep {
        known("escalation.keep", name, fields)?;
    }
    let higher = file.keep_higher.into_iter().enumerate();
    let keep_higher =
        higher.map(|(n, rule)| compile_higher(n, rule, fields)).collect::<Result<Vec<_>, _>>()?;
    let ranked: Vec<String> =
        file.keep.iter().chain(keep_higher.iter().map(|rule| &rule.field)).cloned().collect();
    check_distinct("escalation.keep_higher", &ranked)?;
    Ok(Escalation { keep: file.keep, keep_higher })
}

fn compile_higher(n: usize, rule: KeepHigherFile, fields: &Fields) -> Result<KeepHigher, Fault> {
    let states = states(&format!("escalation.keep_higher[{n}].field"), &rule.field, fields)?;
    let place = format!("escalation.keep_higher[{n}].order");
    check_states(&place, &rule.order, &states)?;
    if let Some(lost) = states.iter().find(|state| !rule.order.contains(state)) {
        let message = format!("{lost:?} is missing; it must list the whole enum, the lowest first");
        return Err(Fault::new(place, message));
    }
    Ok(KeepHigher { field: rule.field, order: rule.order })
}

fn compile_priority(n: usize, rule: PriorityFile, fields: &Fields) -> Result<PriorityRule, Fault> {
    let place = format!("priority[{n}].when");
    if rule.when.is_empty() {
        return Err(Fault::new(place, "must name a field and the values for which the level holds"));
    }
    for (name, values) in &rule.when {
        let place = format!("{place}.{name}");
        let field = known(&place, name, fields)?;
        if let Some(value) = values.iter().find(|value| !field.fits(value)) {
            let message = format!("{} never stands there: the field is {}", shown(value), field.expected());
            return Err(Fault::new(place, message));
        }
        if values.is_empty() {
            return Err(Fault::new(place, "must list at least one value"));
        }
    }
    Ok(PriorityRule { level: rule.level, when: rule.when.into_iter().collect() })
}
