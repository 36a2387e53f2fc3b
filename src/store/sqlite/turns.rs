//! How often each domain's definition came to say something else about who is sent its records.
//!
//! One row a domain: the count and what was said last.

use rusqlite::{OptionalExtension as _, Transaction, params};
use synchub_rules::record::DomainNo;

use super::fault::Fault;
use super::writer::Writer;

pub(super) fn turns(writer: &mut Writer, covers: &[(DomainNo, String)]) -> Result<Vec<u64>, Fault> {
    writer.transact(|transaction| covers.iter().map(|(no, cover)| turn(transaction, *no, cover)).collect())
}

fn turn(transaction: &Transaction<'_>, domain: DomainNo, cover: &str) -> Result<u64, Fault> {
    let key = format!("cover:{domain}");
    let known: Option<String> = transaction
        .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([&key], |row| row.get(0))
        .optional()?;
    let known = known.as_deref().and_then(|known| known.split_once(' '));
    let known = known.and_then(|(turn, cover)| Some((turn.parse::<u64>().ok()?, cover)));
    let turn = match known {
        Some((turn, known)) if known == cover => return Ok(turn),
        Some((turn, _)) => turn + 1,
        None => 0,
    };
    transaction
        .prepare_cached("INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2")?
        .execute(params![key, format!("{turn} {cover}")])?;
    Ok(turn)
}
