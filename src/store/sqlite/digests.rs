//! The digests: added to in every commit, counted anew where records moved without one, read as sums.
//!
//! A sum is modulo 2^64 and stored as the signed integer with the same bits. SQLite's `+` turns into
//! floating point where it overflows, so sums are added in halves of 32 bits.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use synchub_protocol::Digest;
use synchub_rules::filter::Filters;
use synchub_rules::group::DigestChange;
use synchub_rules::record::{DomainNo, Scope, Sight, TenantNo};

use super::codec;
use super::fault::Fault;
use super::reader::{Read, json_numbers};
use super::rows;
use crate::store::StoreError;

/// The key in `meta` that says that the digests were counted once.
const COUNTED: &str = "digests";

/// How many records are looked at before other tasks get their turn.
const TURN: u64 = 256;

/// Adds a group's changes to what stands.
pub(super) fn add(
    transaction: &Transaction<'_>,
    tenant: TenantNo,
    changes: &[DigestChange],
) -> Result<(), Fault> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO digest (tenant, domain, scope, count, sum) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET
           count = count + excluded.count,
           sum = (((sum >> 32) + (excluded.sum >> 32)
                   + (((sum & 0xffffffff) + (excluded.sum & 0xffffffff)) >> 32)) << 32)
                 | (((sum & 0xffffffff) + (excluded.sum & 0xffffffff)) & 0xffffffff)",
    )?;
    for DigestChange { domain, scope, count, sum } in changes {
        statement.execute(params![tenant, domain, scope.number(), count, sum.cast_signed()])?;
    }
    Ok(())
}

/// Counts the digests of a store from before there were any, once.
pub(super) fn count_once(connection: &mut Connection) -> Result<(), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let counted = "SELECT 1 FROM meta WHERE key = ?1";
    let counted: Option<i64> = transaction.query_row(counted, [COUNTED], |row| row.get(0)).optional()?;
    if counted.is_some() {
        return Ok(());
    }
    count(&transaction, None)?;
    transaction.execute("INSERT INTO meta (key, value) VALUES (?1, 1)", [COUNTED])?;
    Ok(transaction.commit()?)
}

/// Counts the digests of a domain, or of all, anew from the records.
pub(super) fn count(transaction: &Transaction<'_>, domain: Option<DomainNo>) -> Result<(), Fault> {
    transaction.execute("DELETE FROM digest WHERE ?1 IS NULL OR domain = ?1", [domain])?;
    let mut statement = transaction.prepare(
        "SELECT tenant, domain, scope, key, version FROM record
         WHERE deleted = 0 AND (?1 IS NULL OR domain = ?1)",
    )?;
    let mut rows = statement.query([domain])?;
    let mut digests: BTreeMap<(TenantNo, DomainNo, i64), Digest> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (key, version): (Vec<u8>, i64) = (row.get(3)?, row.get(4)?);
        let digest = digests.entry((row.get(0)?, row.get(1)?, row.get(2)?)).or_default();
        digest.add(codec::uuid(&key)?, codec::from_db(version)?);
    }
    for ((tenant, domain, scope), Digest { count, sum }) in digests {
        let scope = Scope::from_number(scope);
        let change = DigestChange { domain, scope, count: codec::to_db(count)?, sum };
        add(transaction, tenant, &[change])?;
    }
    Ok(())
}

/// The digest of all live records of a domain that may be seen.
pub(super) async fn of_scopes(
    read: &mut Read,
    tenant: TenantNo,
    domain: DomainNo,
    sight: &Sight,
) -> Result<Digest, StoreError> {
    let query = match sight {
        Sight::Everything => sqlx::query_as(rows::DIGEST_OF_ALL).bind(tenant).bind(domain),
        Sight::Scopes(scopes) => sqlx::query_as(rows::DIGEST).bind(tenant).bind(domain).bind(numbers(scopes)),
    };
    let (count, high, low): (i64, i64, i64) = query.fetch_one(&mut **read).await?;
    let sum = high.wrapping_shl(32).wrapping_add(low).cast_unsigned();
    Ok(Digest { count: codec::from_db(count)?, sum })
}

/// The same of those that a filter wants: each record is looked at, one after the other.
pub(super) async fn of_matching(
    read: &mut Read,
    tenant: TenantNo,
    domain: DomainNo,
    (sight, filters): (&Sight, &Filters),
) -> Result<Digest, StoreError> {
    let query = match sight {
        Sight::Everything => sqlx::query_as(rows::LIVE_BODIES_OF_ALL).bind(tenant).bind(domain),
        Sight::Scopes(scopes) => {
            sqlx::query_as(rows::LIVE_BODIES).bind(tenant).bind(domain).bind(numbers(scopes))
        }
    };
    let mut rows = query.fetch(&mut **read);
    let (mut digest, mut looked_at) = (Digest::default(), 0_u64);
    while let Some((key, version, data)) = rows.try_next().await? {
        let (key, version, data): (Vec<u8>, i64, Vec<u8>) = (key, version, data);
        if filters.matches(&codec::decode_data("a record's data", &data)?) {
            digest.add(codec::uuid(&key)?, codec::from_db(version)?);
        }
        looked_at += 1;
        if looked_at.is_multiple_of(TURN) {
            tokio::task::yield_now().await;
        }
    }
    Ok(digest)
}

fn numbers(scopes: &[Scope]) -> String {
    json_numbers(scopes.iter().map(|scope| scope.number()).collect())
}
