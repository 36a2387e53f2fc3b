//! Cursors: a device's place in its tenant's log, authenticated by the hub (C1).
//!
//! A cursor names the tenant, the epoch, the place and the time of the row there, for each domain a hash
//! of what it covers, and how far a running snapshot has come. At most 1024 ASCII characters. The tenant's
//! number stands in it; its name is part of what authenticates it, since a store that was put back may
//! give the number to somebody else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use synchub_rules::record::{DomainNo, Head, RecordNo, Scope, TenantNo};

use crate::store::Witness;

/// The hash of what a cursor covers of a domain: filter, scopes, definition.
pub(crate) type CoverHash = [u8; 6];

/// The form of the bytes below the authentication.
const FORMAT: u8 = 1;
/// How much of the HMAC a cursor carries: 16 bytes cannot be guessed.
const TAG_BYTES: usize = 16;

/// A place, and what it covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    pub(crate) tenant: TenantNo,
    pub(crate) epoch: u64,
    /// The place.
    pub(crate) seq: u64,
    /// The time of the row there.
    pub(crate) time_us: i64,
    /// What it covers, by domain number.
    pub(crate) covered: Vec<(DomainNo, CoverHash)>,
    /// A snapshot that is under way.
    pub(crate) running: Option<RunningSnapshot>,
}

/// How far a snapshot has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunningSnapshot {
    pub(crate) domain: DomainNo,
    pub(crate) hash: CoverHash,
    /// The scope of the last record, as its number.
    scope: i64,
    record: RecordNo,
}

impl RunningSnapshot {
    pub(crate) fn new(domain: DomainNo, hash: CoverHash, (scope, record): (Scope, RecordNo)) -> Self {
        Self { domain, hash, scope: scope.number(), record }
    }

    /// The last record that was sent: its scope and number.
    pub(crate) fn after(&self) -> (Scope, RecordNo) {
        (Scope::from_number(self.scope), self.record)
    }
}

impl Cursor {
    /// The place as the head of what was sent.
    pub(crate) fn place(&self) -> Head {
        Head { seq: self.seq, time_us: self.time_us }
    }

    /// What it says of the log (R1).
    pub(crate) fn witness(&self) -> Witness {
        Witness { tenant: self.tenant, epoch: self.epoch, place: self.place() }
    }
}

/// Makes and reads cursors: the key that authenticates them.
#[derive(Clone)]
pub struct CursorKey(Hmac<Sha256>);

impl std::fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CursorKey(..)")
    }
}

impl CursorKey {
    /// Cursors under a key, which is the same on every node.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes a key of any length"))
    }

    /// The cursor of a tenant of this name, as clients store it.
    pub fn seal(&self, tenant: &str, cursor: &Cursor) -> String {
        let mut bytes = vec![FORMAT];
        bytes = postcard::to_extend(cursor, bytes).expect("a Vec takes every write");
        let tag = self.mac(tenant, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(&tag[..TAG_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a cursor; none if it is not one that this hub made for a tenant of this name.
    pub fn open(&self, tenant: &str, text: &str) -> Option<Cursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (body, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG_BYTES)?)?;
        self.mac(tenant, body).verify_truncated_left(tag).ok()?;
        let (format, body) = body.split_first()?;
        (*format == FORMAT).then(|| postcard::from_bytes(body).ok())?
    }

    /// The name's length goes first, so that no name and body read like another pair.
    fn mac(&self, tenant: &str, body: &[u8]) -> Hmac<Sha256> {
        let length = (tenant.len() as u64).to_be_bytes();
        self.0.clone().chain_update(length).chain_update(tenant).chain_update(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(domains: u8) -> Cursor {
        let covered = (0..domains).map(|n| (1_000_000 + i64::from(n), [n; 6])).collect();
        let running = RunningSnapshot::new(1_000_000, [9; 6], (Scope::Party(1 << 40), 1 << 50));
        Cursor {
            tenant: 1 << 40,
            epoch: 1 << 12,
            seq: 1 << 52,
            time_us: 1 << 51,
            covered,
            running: Some(running),
        }
    }

    #[test]
    fn c1_a_cursor_of_64_domains_fits_into_1024_characters() {
        let key = CursorKey::new(&[7; 32]);
        let text = key.seal("acme", &cursor(64));
        assert!(text.is_ascii() && text.len() <= 1024, "{}", text.len());
        assert_eq!(key.open("acme", &text), Some(cursor(64)));
    }

    #[test]
    fn c1_an_altered_or_foreign_cursor_is_refused() {
        let key = CursorKey::new(&[7; 32]);
        let text = key.seal("acme", &cursor(2));
        assert_eq!(CursorKey::new(&[8; 32]).open("acme", &text), None);
        assert_eq!(key.open("umbrella", &text), None);
        for at in 0..text.len() {
            let mut altered = text.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(key.open("acme", &String::from_utf8(altered).unwrap()), None, "character {at}");
        }
        for text in ["", "A", "not base64 !", &"A".repeat(40)] {
            assert_eq!(key.open("acme", text), None);
        }
    }
}
