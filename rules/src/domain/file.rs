//! The definition file as it is written: the shape that serde reads, nothing checked beyond it.
//!
//! Every key is described in `docs/domains.md`; a key that is not here is an error that names it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Number, Value};
use synchub_protocol::Priority;
use synchub_protocol::server::Strategy;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DefinitionFile {
    pub(super) name: String,
    pub(super) title: Option<String>,
    pub(super) path: Option<String>,
    pub(super) strategy: StrategyName,
    pub(super) visibility: Visibility,
    #[serde(default = "yes")]
    pub(super) feed: bool,
    #[serde(default)]
    pub(super) append_only: bool,
    #[serde(default)]
    pub(super) unknown_fields: UnknownFields,
    #[serde(default)]
    pub(super) required: Vec<String>,
    pub(super) date_field: Option<String>,
    #[serde(default)]
    pub(super) append: Vec<String>,
    #[serde(default)]
    pub(super) fields: BTreeMap<String, FieldFile>,
    #[serde(default)]
    pub(super) checks: Vec<CheckFile>,
    pub(super) workflow: Option<WorkflowFile>,
    pub(super) escalation: Option<EscalationFile>,
    #[serde(default)]
    pub(super) priority: Vec<PriorityFile>,
}

fn yes() -> bool {
    true
}

/// The strategies that a file may name: the wire's, without its place for unknown ones.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StrategyName {
    ClientWins,
    ServerWins,
    MostRecentWins,
    PreserveEscalation,
    DevicePriority,
    Manual,
}

impl From<StrategyName> for Strategy {
    fn from(name: StrategyName) -> Self {
        match name {
            StrategyName::ClientWins => Self::ClientWins,
            StrategyName::ServerWins => Self::ServerWins,
            StrategyName::MostRecentWins => Self::MostRecentWins,
            StrategyName::PreserveEscalation => Self::PreserveEscalation,
            StrategyName::DevicePriority => Self::DevicePriority,
            StrategyName::Manual => Self::Manual,
        }
    }
}

/// Who sees a domain's records (V2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Everyone in the tenant.
    Tenant,
    /// The record's unit; everyone in the tenant where it has none.
    Unit,
    /// The record's owner alone.
    Owner,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum UnknownFields {
    #[default]
    Keep,
    Refuse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FieldType {
    String,
    Integer,
    Number,
    Boolean,
    Object,
    Array,
    Time,
    Uuid,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FieldFile {
    #[serde(rename = "type")]
    pub(super) kind: FieldType,
    #[serde(rename = "enum")]
    pub(super) one_of: Option<Vec<Value>>,
    pub(super) minimum: Option<Number>,
    pub(super) maximum: Option<Number>,
    pub(super) exclusive_minimum: Option<Number>,
    pub(super) min_length: Option<u64>,
    pub(super) max_length: Option<u64>,
    pub(super) pattern: Option<String>,
    /// For readers of the file; the hub has no use for it.
    #[serde(rename = "description")]
    pub(super) _description: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckFile {
    pub(super) before: [String; 2],
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkflowFile {
    pub(super) field: String,
    pub(super) initial: Option<Vec<String>>,
    #[serde(default)]
    pub(super) transitions: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EscalationFile {
    #[serde(default)]
    pub(super) keep: Vec<String>,
    #[serde(default)]
    pub(super) keep_higher: Vec<KeepHigherFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeepHigherFile {
    pub(super) field: String,
    pub(super) order: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PriorityFile {
    pub(super) level: Priority,
    pub(super) when: BTreeMap<String, Vec<Value>>,
}
