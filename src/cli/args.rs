//! What can be written on the command line. The comments here are the help texts.

#![expect(clippy::doc_markdown, reason = "help texts are shown as they stand, without Markdown")]

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use uuid::Uuid;

use crate::auth::Role;

/// A real-time sync hub for mobile apps that must work offline
#[derive(Debug, Parser)]
#[command(name = "synchub", version, arg_required_else_help = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the hub
    Serve(ServeArgs),
    /// Print a token that this hub accepts
    Token(TokenArgs),
    /// Print the settings that are in effect, with secrets masked
    CheckConfig(ConfigArgs),
    /// Bring the store's tables up to this version, and stop
    Migrate(ConfigArgs),
    /// Copy the store into one file; a hub may be running on it
    Backup(CopyArgs),
    /// Put a backup in the place of the store, and begin a new epoch; the hub must be stopped
    Restore(CopyArgs),
    /// Look into the store; prints one JSON object a line
    Show(ShowArgs),
    /// Ask a running hub to push a message, a trigger or an alert; prints what becomes of it
    Push(PushArgs),
    /// Check domain definitions, or list those that hold
    Domains(DomainsArgs),
}

#[derive(Debug, Clone, Default, Args)]
pub(super) struct ConfigArgs {
    /// Configuration file, TOML [env: SYNCHUB_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Folder with the database and the development key [default: ./synchub-data] [env: SYNCHUB_DATA_DIR]
    #[arg(long, value_name = "FOLDER")]
    pub(super) data_dir: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Address and port to listen on [default: 127.0.0.1:8480] [env: SYNCHUB_LISTEN]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) listen: Option<String>,
    /// Record what the hub takes into this new file, as a trace for the load tester [env: SYNCHUB_RECORD_FILE]
    #[arg(long, value_name = "FILE")]
    pub(super) record: Option<String>,
    /// Replace contents in the recording by nonsense of the same shape [env: SYNCHUB_RECORD_MASKED]
    #[arg(long)]
    pub(super) record_masked: bool,
    /// Without a configured key: make one, keep it in the data folder, and print a token to try
    #[arg(long)]
    pub(super) dev: bool,
}

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Tenant that the token is for
    #[arg(long)]
    pub(super) tenant: String,
    /// User that the token is for
    #[arg(long)]
    pub(super) user: String,
    /// What the token allows: device, publisher or operator
    #[arg(long)]
    pub(super) role: Role,
    /// Bind the token to this device
    #[arg(long)]
    pub(super) device: Option<String>,
    /// Unit that the user belongs to
    #[arg(long)]
    pub(super) unit: Option<String>,
    /// Units that a publisher may write, with commas between; all if absent
    #[arg(long, value_delimiter = ',')]
    pub(super) units: Option<Vec<String>>,
    /// Domains that a publisher may write, with commas between; all if absent
    #[arg(long, value_delimiter = ',')]
    pub(super) domains: Option<Vec<String>>,
    /// How long the token is good, such as 90s, 1h or 30d
    #[arg(long, default_value = "1h", value_parser = time_to_live)]
    pub(super) ttl: Duration,
}

#[derive(Debug, Args)]
pub(super) struct CopyArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// File of the backup
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(subcommand)]
    pub(super) what: Show,
}

#[derive(Debug, Subcommand)]
pub(super) enum Show {
    /// One record as it stands
    Record {
        #[command(flatten)]
        config: ConfigArgs,
        /// Tenant that the record belongs to
        #[arg(long)]
        tenant: String,
        /// Domain of the record, such as ticket
        #[arg(long)]
        domain: String,
        /// The record's mobile_id, a UUID
        #[arg(long)]
        id: Uuid,
    },
    /// Devices, with the places they acknowledged
    Device {
        #[command(flatten)]
        config: ConfigArgs,
        /// Tenant that the devices belong to
        #[arg(long)]
        tenant: String,
        /// Only this user's
        #[arg(long)]
        user: Option<String>,
        /// Only devices with this id
        #[arg(long)]
        device: Option<String>,
    },
    /// A part of a tenant's log
    Log {
        #[command(flatten)]
        config: ConfigArgs,
        /// Tenant whose log it is
        #[arg(long)]
        tenant: String,
        /// Begin after this number
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// How many rows at most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// What became of pushes: a line for each push and device
    Deliveries {
        #[command(flatten)]
        config: ConfigArgs,
        /// Tenant whose pushes are meant
        #[arg(long)]
        tenant: String,
        /// Only devices of this user
        #[arg(long)]
        user: Option<String>,
        /// Only devices with this id
        #[arg(long)]
        device: Option<String>,
        /// Only this push
        #[arg(long, value_name = "PUSH_ID")]
        push: Option<Uuid>,
        /// Only pushes after this number of the log
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// How many lines at most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// How many live records each domain has, and their digest: what two sides compare
    Digest {
        #[command(flatten)]
        config: ConfigArgs,
        /// Tenant whose records are summed up
        #[arg(long)]
        tenant: String,
        /// Only this domain, and each scope of it
        #[arg(long)]
        domain: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct PushArgs {
    #[command(subcommand)]
    pub(super) what: PushWhat,
}

#[derive(Debug, Subcommand)]
pub(super) enum PushWhat {
    /// A message of your own
    Message {
        #[command(flatten)]
        to: Addressee,
        /// What it is about
        #[arg(long)]
        topic: Option<String>,
        /// What it says, a JSON object
        #[arg(long, default_value = "{}")]
        data: String,
    },
    /// Ask the apps to sync
    Trigger {
        #[command(flatten)]
        to: Addressee,
        /// Domains that it is about, with commas between; all if absent
        #[arg(long, value_delimiter = ',')]
        domains: Option<Vec<String>>,
    },
    /// Tell of a conflict
    Alert {
        #[command(flatten)]
        to: Addressee,
        /// The conflict_id, a UUID
        #[arg(long)]
        conflict: Uuid,
    },
}

#[derive(Debug, Clone, Args)]
pub(super) struct Addressee {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Tenant whose devices are meant
    #[arg(long)]
    pub(super) tenant: String,
    /// User whose devices are meant
    #[arg(long, required_unless_present = "everybody")]
    pub(super) user: Option<String>,
    /// Only this device of the user
    #[arg(long, requires = "user")]
    pub(super) device: Option<String>,
    /// All devices of the tenant
    #[arg(long, conflicts_with_all = ["user", "device"])]
    pub(super) everybody: bool,
    /// How urgent it is: low, normal, high or critical
    #[arg(long, value_parser = ["low", "normal", "high", "critical"])]
    pub(super) priority: Option<String>,
    /// How long it is kept for who is away, such as 90s, 1h or 30d
    #[arg(long, value_parser = time_to_live)]
    pub(super) ttl: Option<Duration>,
    /// Address of the hub [default: http:// and the hub's own `listen`]
    #[arg(long)]
    pub(super) url: Option<String>,
    /// File with a token of a publisher or an operator [default: one signed with the hub's key]
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct DomainsArgs {
    #[command(subcommand)]
    pub(super) what: Domains,
}

#[derive(Debug, Subcommand)]
pub(super) enum Domains {
    /// Check definition files as the hub would load them, together with those that it has
    Check {
        #[command(flatten)]
        config: ConfigArgs,
        /// Take files from outside of domains_dir as this tenant's own [default: for all tenants]
        #[arg(long)]
        tenant: Option<String>,
        /// Definition files, each named NAME.toml
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// List the domains that the hub has, built in and from domains_dir
    List {
        #[command(flatten)]
        config: ConfigArgs,
        /// Only those that hold for this tenant
        #[arg(long)]
        tenant: Option<String>,
    },
}

fn time_to_live(text: &str) -> Result<Duration, String> {
    let ttl = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a number and a unit, such as 90s, 1h or 30d"))?;
    if ttl < Duration::from_secs(1) {
        return Err("it must be a second at least".to_owned());
    }
    Ok(ttl)
}
