//! Small domains, one for each way to be.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use synchub_rules::domain::Definition;
use synchub_rules::group::Domain;

/// Each strategy with free fields, seen by the whole tenant.
const STRATEGIES: [&str; 5] = ["client_wins", "server_wins", "most_recent_wins", "device_priority", "manual"];

const TICKET: &str = r#"
name = "ticket"
strategy = "preserve_escalation"
visibility = "tenant"
required = ["subject"]
append = ["history"]
[fields.subject]
type = "string"
[fields.status]
type = "string"
enum = ["NEW", "OPEN", "DONE"]
[fields.priority]
type = "string"
enum = ["LOW", "HIGH", "CRITICAL"]
[fields.escalated]
type = "boolean"
[fields.history]
type = "array"
[fields.from]
type = "time"
[fields.to]
type = "time"
[[checks]]
before = ["from", "to"]
[workflow]
field = "status"
initial = ["NEW"]
[workflow.transitions]
NEW = ["OPEN"]
OPEN = ["DONE"]
[escalation]
keep = ["escalated"]
keep_higher = [{ field = "priority", order = ["LOW", "HIGH", "CRITICAL"] }]
[[priority]]
level = "critical"
when = { priority = ["CRITICAL"] }
[[priority]]
level = "high"
when = { priority = ["HIGH"] }
"#;

const OTHERS: [&str; 6] = [
    TICKET,
    "name = \"unit\"\nstrategy = \"most_recent_wins\"\nvisibility = \"unit\"",
    "name = \"owner\"\nstrategy = \"client_wins\"\nvisibility = \"owner\"",
    "name = \"item\"\nstrategy = \"server_wins\"\nvisibility = \"tenant\"\nappend_only = true",
    "name = \"silent\"\nstrategy = \"most_recent_wins\"\nvisibility = \"tenant\"\nfeed = false",
    "name = \"telemetry\"\nstrategy = \"server_wins\"\nvisibility = \"owner\"\nfeed = false\nappend_only = true",
];

static DOMAINS: LazyLock<BTreeMap<String, Arc<Domain>>> = LazyLock::new(|| {
    let free = |name: &&str| format!("name = \"{name}\"\nstrategy = \"{name}\"\nvisibility = \"tenant\"");
    let texts = STRATEGIES.iter().map(free).chain(OTHERS.map(str::to_owned));
    let domains = texts.zip(1..).map(|(text, no)| {
        let definition = Definition::parse("test.toml", &text).expect("test definitions are right");
        let name = definition.name().to_owned();
        (name.clone(), Arc::new(Domain { no, name: name.into(), definition: Arc::new(definition) }))
    });
    domains.collect()
});

pub fn domain(name: &str) -> Arc<Domain> {
    Arc::clone(DOMAINS.get(name).unwrap_or_else(|| panic!("no test domain {name}")))
}
