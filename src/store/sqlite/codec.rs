//! Between plain data and what the tables hold: bodies as MessagePack arrays and maps, small enumerations
//! as numbers. Bodies are written as they will be read for years: a change here needs a migration.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer as _};
use synchub_protocol::server::{ConflictInfo, EntryError, Resolution, Status, Strategy};
use synchub_protocol::{Data, DeviceKind, ErrorCode, Priority, plain};
use synchub_rules::group::StoredOutcome;
use synchub_rules::push::PushBody;
use synchub_rules::record::{Stamp, SyncStatus, Write};
use uuid::Uuid;

/// Something in a table that the hub did not write so.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be read: {why}")]
pub(super) struct Unreadable {
    what: &'static str,
    why: String,
}

impl Unreadable {
    pub(super) fn new(what: &'static str, why: &impl ToString) -> Self {
        Self { what, why: why.to_string() }
    }
}

/// A number that SQLite's 64 signed bits cannot hold.
#[derive(Debug, thiserror::Error)]
#[error("the number {0} is too large to be stored")]
pub(super) struct TooLarge(u64);

pub(super) fn to_db(number: u64) -> Result<i64, TooLarge> {
    i64::try_from(number).map_err(|_| TooLarge(number))
}

pub(super) fn from_db(number: i64) -> Result<u64, Unreadable> {
    u64::try_from(number).map_err(|_| Unreadable::new("a number", &format_args!("{number} is below 0")))
}

pub(super) fn encode<T: Serialize>(body: &T) -> Vec<u8> {
    // Every body is plain data, and a Vec takes every write.
    rmp_serde::to_vec(body).expect("a body can be encoded")
}

/// Encodes into what is there, in place of what it held: one that is used again has room already.
pub(super) fn encode_into<T: Serialize>(place: &mut Vec<u8>, body: &T) {
    place.clear();
    rmp_serde::encode::write(place, body).expect("a body can be encoded");
}

/// The fields of a record, or those that a change replaced.
pub(super) fn decode_data(what: &'static str, body: &[u8]) -> Result<Data, Unreadable> {
    plain::data(body).map_or_else(|| decode(what, body), Ok)
}

pub(super) fn decode<T: DeserializeOwned>(what: &'static str, body: &[u8]) -> Result<T, Unreadable> {
    rmp_serde::from_slice(body).map_err(|error| Unreadable::new(what, &error))
}

pub(super) fn uuid(bytes: &[u8]) -> Result<Uuid, Unreadable> {
    Uuid::from_slice(bytes).map_err(|error| Unreadable::new("a UUID", &error))
}

pub(super) fn array<const N: usize>(what: &'static str, bytes: &[u8]) -> Result<[u8; N], Unreadable> {
    bytes.try_into().map_err(|_| Unreadable::new(what, &format_args!("{} bytes, not {N}", bytes.len())))
}

#[derive(Serialize, Deserialize)]
struct WriteBody(u64, i64, i64, i64, u64, Vec<String>);

#[derive(Serialize)]
struct WriteBodyRef<'a>(u64, i64, i64, i64, u64, &'a [String]);

pub(super) fn encode_writes_into(place: &mut Vec<u8>, writes: &[Write]) {
    fn body(Write { version, stamp, fields }: &Write) -> WriteBodyRef<'_> {
        WriteBodyRef(*version, stamp.time_us, stamp.priority, stamp.install, stamp.number, fields)
    }
    place.clear();
    let mut serializer = rmp_serde::Serializer::new(place);
    serializer.collect_seq(writes.iter().map(body)).expect("a list of known length can be encoded");
}

pub(super) fn decode_writes(body: &[u8]) -> Result<Vec<Write>, Unreadable> {
    let bodies: Vec<WriteBody> = decode("a record's writes", body)?;
    let write = |WriteBody(version, time_us, priority, install, number, fields)| Write {
        version,
        stamp: Stamp { time_us, priority, install, number },
        fields,
    };
    Ok(bodies.into_iter().map(write).collect())
}

#[derive(Serialize, Deserialize)]
struct ErrorBody(i64, String, Option<String>);

impl From<&EntryError> for ErrorBody {
    fn from(error: &EntryError) -> Self {
        Self(error.code.number(), error.message.clone(), error.field.clone())
    }
}

impl From<ErrorBody> for EntryError {
    fn from(ErrorBody(code, message, field): ErrorBody) -> Self {
        Self { code: ErrorCode::from_number(code), message, field }
    }
}

pub(super) fn encode_error(error: &EntryError) -> Vec<u8> {
    encode(&ErrorBody::from(error))
}

pub(super) fn decode_error(body: &[u8]) -> Result<EntryError, Unreadable> {
    decode::<ErrorBody>("a refusal", body).map(EntryError::from)
}

pub(super) fn encode_push(id: Uuid, body: &PushBody) -> Vec<u8> {
    encode(&(id, body))
}

pub(super) fn decode_push(body: &[u8]) -> Result<(Uuid, PushBody), Unreadable> {
    decode("a push", body)
}

#[derive(Serialize, Deserialize)]
struct ConflictBody(Uuid, Strategy, Resolution);

#[derive(Serialize, Deserialize)]
struct OutcomeBody(Status, Option<u64>, bool, Option<ConflictBody>, Option<ErrorBody>);

pub(super) fn encode_outcomes(outcomes: &[StoredOutcome]) -> Vec<u8> {
    let conflict = |info: &ConflictInfo| ConflictBody(info.conflict_id, info.strategy, info.resolution);
    let body = |outcome: &StoredOutcome| {
        OutcomeBody(
            outcome.status,
            outcome.version,
            outcome.deleted,
            outcome.conflict.as_ref().map(conflict),
            outcome.error.as_ref().map(ErrorBody::from),
        )
    };
    encode(&outcomes.iter().map(body).collect::<Vec<_>>())
}

pub(super) fn decode_outcomes(body: &[u8]) -> Result<Vec<StoredOutcome>, Unreadable> {
    let conflict =
        |ConflictBody(conflict_id, strategy, resolution)| ConflictInfo { conflict_id, strategy, resolution };
    let outcome = |OutcomeBody(status, version, deleted, info, error)| StoredOutcome {
        status,
        version,
        deleted,
        conflict: info.map(conflict),
        error: error.map(EntryError::from),
    };
    let bodies: Vec<OutcomeBody> = decode("a batch's answer", body)?;
    Ok(bodies.into_iter().map(outcome).collect())
}

const PRIORITIES: [Priority; 4] = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical];
const SYNC_STATUSES: [SyncStatus; 4] =
    [SyncStatus::Synced, SyncStatus::PendingSync, SyncStatus::SyncError, SyncStatus::Conflict];

/// The number of a record's or a log row's priority and status, two bits each.
pub(super) fn flags(priority: Priority, status: SyncStatus) -> i64 {
    let priority = match priority {
        Priority::Low => 0,
        Priority::Normal => 1,
        Priority::High => 2,
        Priority::Critical => 3,
    };
    let status = match status {
        SyncStatus::Synced => 0,
        SyncStatus::PendingSync => 1,
        SyncStatus::SyncError => 2,
        SyncStatus::Conflict => 3,
    };
    priority + 4 * status
}

pub(super) fn from_flags(flags: i64) -> Result<(Priority, SyncStatus), Unreadable> {
    let flags = usize::try_from(flags).ok().filter(|flags| *flags < 16);
    let flags = flags.ok_or_else(|| Unreadable::new("flags", &"not from 0 to 15"))?;
    Ok((PRIORITIES[flags % 4], SYNC_STATUSES[flags / 4]))
}

pub(super) fn device_kind(kind: DeviceKind) -> i64 {
    match kind {
        DeviceKind::Desktop => 1,
        DeviceKind::Laptop => 2,
        DeviceKind::Tablet => 3,
        DeviceKind::Phone => 4,
    }
}

pub(super) fn strategy(strategy: Strategy) -> i64 {
    match strategy {
        Strategy::Unknown => 0,
        Strategy::ClientWins => 1,
        Strategy::ServerWins => 2,
        Strategy::MostRecentWins => 3,
        Strategy::PreserveEscalation => 4,
        Strategy::DevicePriority => 5,
        Strategy::Manual => 6,
    }
}

const STRATEGIES: [Strategy; 7] = [
    Strategy::Unknown,
    Strategy::ClientWins,
    Strategy::ServerWins,
    Strategy::MostRecentWins,
    Strategy::PreserveEscalation,
    Strategy::DevicePriority,
    Strategy::Manual,
];
const RESOLUTIONS: [Resolution; 5] = [
    Resolution::Unknown,
    Resolution::Client,
    Resolution::Server,
    Resolution::Merged,
    Resolution::ManualRequired,
];

/// The strategy behind a number; a review without one has none that is known.
pub(super) fn from_strategy(number: Option<i64>) -> Strategy {
    STRATEGIES.into_iter().find(|known| Some(strategy(*known)) == number).unwrap_or(Strategy::Unknown)
}

/// The resolution behind a number.
pub(super) fn from_resolution(number: Option<i64>) -> Resolution {
    RESOLUTIONS.into_iter().find(|known| Some(resolution(*known)) == number).unwrap_or(Resolution::Unknown)
}

pub(super) fn resolution(resolution: Resolution) -> i64 {
    match resolution {
        Resolution::Unknown => 0,
        Resolution::Client => 1,
        Resolution::Server => 2,
        Resolution::Merged => 3,
        Resolution::ManualRequired => 4,
    }
}
