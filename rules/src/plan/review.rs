//! What did not land whole: audit rows, open conflicts and the review inbox (E11).

use serde_json::Value;
use sha2::{Digest, Sha256};
use synchub_protocol::server::ConflictInfo;
use synchub_protocol::{Data, ErrorCode};
use uuid::Uuid;

use crate::group::{Domain, Review, ReviewKind, Submission};
use crate::plan::entry::Dispute;
use crate::record::{Record, Scope};

/// One entry of a batch, as its review rows name it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) submission: &'a Submission,
    /// Its place in the batch, from 0 on.
    pub(super) place: usize,
    /// Its number.
    pub(super) number: Option<u64>,
    pub(super) domain: &'a Domain,
    pub(super) key: Option<Uuid>,
    pub(super) base: u64,
    /// The fields that it sends.
    pub(super) sent: Option<&'a Data>,
    pub(super) now_us: i64,
}

/// Which of an entry's review rows an id is for.
#[derive(Debug, Clone, Copy)]
enum Row {
    Main,
    Besides,
}

/// Whether a refused entry is one that a person could want back.
pub(super) fn is_kept(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::InvalidTransition
            | ErrorCode::ValidationFailed
            | ErrorCode::NotFound
            | ErrorCode::DependsOnFailed
    )
}

impl Subject<'_> {
    /// The conflict that the answer names.
    pub(super) fn conflict(&self, dispute: &Dispute) -> ConflictInfo {
        let Dispute { strategy, resolution, .. } = *dispute;
        ConflictInfo { conflict_id: self.id(Row::Main), strategy, resolution }
    }

    /// The row of a refused entry. `met` is the record that stands, if the sender may see it.
    pub(super) fn refusal(&self, code: ErrorCode, entry: Value, met: Option<&Record>) -> Review {
        Review { code: Some(code), ..self.row(Row::Main, ReviewKind::Refused, entry, met) }
    }

    /// The rows of a conflict: itself, and the edits that are not allowed.
    pub(super) fn conflict_rows(&self, dispute: Dispute, entry: Value, met: &Record) -> Vec<Review> {
        let barred = dispute.barred.map(|violation| Review {
            code: Some(violation.code),
            fields: dispute.fields.clone(),
            ..self.row(Row::Besides, ReviewKind::Refused, entry.clone(), Some(met))
        });
        let row = Review {
            strategy: Some(dispute.strategy),
            resolution: Some(dispute.resolution),
            fields: dispute.fields,
            ..self.row(Row::Main, dispute.kind, entry, Some(met))
        };
        [Some(row), barred].into_iter().flatten().collect()
    }

    fn row(&self, row: Row, kind: ReviewKind, entry: Value, met: Option<&Record>) -> Review {
        let author = &self.submission.author;
        Review {
            id: self.id(row),
            kind,
            domain: self.domain.no,
            key: self.key,
            scope: met.map_or(Scope::Party(author.user), |record| record.scope),
            device: author.device,
            install: author.install,
            number: self.number,
            at_us: self.now_us,
            code: None,
            strategy: None,
            resolution: None,
            base_version: self.base,
            server_version: met.map_or(0, |record| record.version),
            entry,
            server: met.map(|record| self.met(record)).unwrap_or_default(),
            fields: Data::new(),
        }
    }

    /// What the record holds of the fields that are sent.
    fn met(&self, record: &Record) -> Data {
        let sent = self.sent.into_iter().flat_map(Data::keys);
        sent.filter_map(|field| Some((field.clone(), record.data.get(field)?.clone()))).collect()
    }

    /// An id that follows from the batch alone, so that planning needs no chance; with the time of
    /// receipt, since a `batch_id` may come again when it is forgotten.
    fn id(&self, row: Row) -> Uuid {
        let Submission { author, batch_id, received_us, .. } = self.submission;
        let place = u64::try_from(self.place).unwrap_or(u64::MAX);
        let hash = Sha256::new()
            .chain_update(author.device.to_be_bytes())
            .chain_update(author.install.to_be_bytes())
            .chain_update(batch_id.as_bytes())
            .chain_update(received_us.to_be_bytes())
            .chain_update(place.to_be_bytes())
            .chain_update([row as u8])
            .finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}
