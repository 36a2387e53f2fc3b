//! A page of the log on its way to one reader (C5): each record once, at the first of its rows, as it
//! stands when the page is read.

use std::collections::HashMap;
use std::sync::Arc;

use crate::filter::Filters;
use crate::record::{DomainNo, History, Record, RecordNo};
use crate::route::{Audience, Delivery, is_in_view, was_in_view};

/// A change or leave row of a page, in a scope that the reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRow {
    /// Its place.
    pub seq: u64,
    /// The record's domain.
    pub domain: DomainNo,
    /// The record.
    pub record: RecordNo,
    /// The version that the change made.
    pub version: u64,
}

/// What a reader is sent for the rows of one record.
#[derive(Debug, Clone, PartialEq)]
pub struct PageDelivery {
    /// The place of the first of its rows in the page.
    pub seq: u64,
    /// What it is to the reader.
    pub delivery: Delivery,
    /// The record as it stands; a delete or remove carries its version too.
    pub record: Arc<Record>,
}

/// A page whose records were read with it.
#[derive(Debug)]
pub struct ReplayPage<'a> {
    audience: &'a Audience,
    items: Vec<Item<'a>>,
}

/// One record of a page.
#[derive(Debug)]
struct Item<'a> {
    seq: u64,
    record: &'a Arc<Record>,
    filters: &'a Filters,
    versions: Vec<u64>,
    in_view: bool,
}

impl<'a> ReplayPage<'a> {
    /// Takes a page: its rows in order and the records that they name, as they stand now. Rows of
    /// domains that are not subscribed to, or of records that are gone altogether, are left out.
    pub fn new(
        rows: &[PageRow],
        records: &'a HashMap<RecordNo, Arc<Record>>,
        audience: &'a Audience,
    ) -> Self {
        let mut items: Vec<Item<'a>> = Vec::new();
        let mut places = HashMap::new();
        for row in rows {
            let (Some(record), Some(filters)) = (records.get(&row.record), audience.domains.get(&row.domain))
            else {
                continue;
            };
            let place = *places.entry(row.record).or_insert(items.len());
            if place == items.len() {
                let in_view = is_in_view(record, &audience.sight, filters);
                items.push(Item { seq: row.seq, record, filters, versions: Vec::new(), in_view });
            }
            items[place].versions.push(row.version);
        }
        Self { audience, items }
    }

    /// The records whose past decides, each with the version down to which (or to the first below it)
    /// its changes are needed, [`crate::record::HISTORY_LIMIT`] at most.
    pub fn wanted(&self) -> Vec<(RecordNo, u64)> {
        let past = self.items.iter().filter(|item| !item.in_view);
        past.map(|item| {
            let first = item.versions.iter().min().copied().unwrap_or(0);
            (item.record.no, first.saturating_sub(1))
        })
        .collect()
    }

    /// What goes out, in order. A history that is missing leaves the record's past in doubt.
    pub fn deliveries(self, histories: &HashMap<RecordNo, History>) -> Vec<PageDelivery> {
        let sight = &self.audience.sight;
        let deliveries = self.items.into_iter().filter_map(|item| {
            let was_in_view = |history| was_in_view(history, &item.versions, sight, item.filters);
            let delivery = if item.in_view {
                Delivery::Upsert
            } else if !histories.get(&item.record.no).is_none_or(was_in_view) {
                return None;
            } else if item.record.deleted {
                Delivery::Delete
            } else {
                Delivery::Remove
            };
            Some(PageDelivery { seq: item.seq, delivery, record: Arc::clone(item.record) })
        });
        deliveries.collect()
    }
}
