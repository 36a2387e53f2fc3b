//! Sees every change that reaches a device's copy, in order, and notes what no hub may do.
//!
//! The end of a replay shows the newest version of each record only: a change that was lost and soon
//! followed by another leaves no trace there. So each device's storage keeps, instead of the copy, the
//! version that is held of each record and the last place that the hub has named. A jump over versions
//! is right only as long as no place at or past them had been named (C2).

use std::collections::HashMap;
use std::sync::Arc;

use synchub_client::storage::{CopyRecord, Domain, Storage, StorageError, Stored, StoredChange};
use uuid::Uuid;

use crate::scenario::arrivals::Arrival;
use crate::sightings::Sightings;
use crate::survey::DeviceIndex;
use crate::verdict::sightings::Jump;

/// The storage of one device: it keeps no copy, for the client has it in memory and is never restarted.
#[derive(Debug)]
pub(crate) struct Witness {
    device: DeviceIndex,
    tenant: Arc<str>,
    sightings: Arc<Sightings>,
    held: HashMap<Domain, HashMap<Uuid, u64>>,
    position: u64,
    arrival: Option<Arrival>,
}

impl Witness {
    /// The witness of a device that holds nothing yet.
    pub(crate) fn new(
        device: DeviceIndex,
        tenant: &str,
        sightings: Arc<Sightings>,
        arrival: Option<Arrival>,
    ) -> Self {
        Self { device, tenant: tenant.into(), sightings, held: HashMap::new(), position: 0, arrival }
    }

    fn see(&mut self, change: &StoredChange) {
        match change {
            StoredChange::Record { domain, mobile_id, record: Some(record) } => {
                self.adopt(domain, *mobile_id, record);
            }
            StoredChange::Record { domain, mobile_id, record: None } => {
                self.held.get_mut(domain).and_then(|held| held.remove(mobile_id));
            }
            StoredChange::DomainDropped(domain) => drop(self.held.remove(domain)),
            StoredChange::Position(seq) => self.position = *seq,
            _ => {}
        }
    }

    fn adopt(&mut self, domain: &Domain, id: Uuid, record: &CopyRecord) {
        let (device, adopted, position) = (self.device, record.version, self.position);
        let of_domain = self.held.entry(Domain::clone(domain)).or_default();
        let held = of_domain.insert(id, adopted).unwrap_or(0);
        // Before the first place was named nothing can have been passed over.
        if adopted > held + 1 && position > 0 {
            let domain = Domain::clone(domain);
            self.sightings.jumped(Jump { device, domain, id, held, adopted, position });
        }
        if let Some(arrival) = &mut self.arrival {
            arrival.saw(id, &record.data);
        }
        let key = (Arc::clone(&self.tenant), Domain::clone(domain), id);
        self.sightings.saw(device, key, adopted, &record.data);
    }
}

impl Storage for Witness {
    fn load(&mut self) -> Result<Stored, StorageError> {
        Ok(Stored::default())
    }

    fn apply(&mut self, changes: &[StoredChange]) -> Result<(), StorageError> {
        for change in changes {
            self.see(change);
        }
        Ok(())
    }

    fn blocks(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use synchub_protocol::{Data, Priority, Timestamp};

    use super::*;

    const ID: Uuid = Uuid::from_u128(7);

    fn record(version: u64, status: &str) -> StoredChange {
        let data = Data::from_iter([("status".to_owned(), status.into())]);
        let (data, priority, server_timestamp) = (Arc::new(data), Priority::Normal, Timestamp(0));
        let record = Some(CopyRecord { version, data, priority, server_timestamp });
        StoredChange::Record { domain: "ticket".into(), mobile_id: ID, record }
    }

    fn gone() -> StoredChange {
        StoredChange::Record { domain: "ticket".into(), mobile_id: ID, record: None }
    }

    fn jumps(changes: &[StoredChange]) -> Vec<(u64, u64, u64)> {
        let sightings = Arc::new(Sightings::default());
        Witness::new(0, "t", Arc::clone(&sightings), None).apply(changes).unwrap();
        sightings.read().0.iter().map(|jump| (jump.held, jump.adopted, jump.position)).collect()
    }

    #[test]
    fn c2_a_jump_is_noted_with_the_place_that_had_been_named() {
        let place = StoredChange::Position;
        assert!(jumps(&[record(1, "a"), place(1), record(2, "b"), place(2), record(3, "c")]).is_empty());
        assert_eq!(jumps(&[record(1, "a"), place(9), record(3, "c"), place(20)]), [(1, 3, 9)]);
        assert_eq!(jumps(&[place(4), record(3, "c")]), [(0, 3, 4)]);
        assert_eq!(jumps(&[place(1), record(1, "a"), gone(), record(3, "c")]), [(0, 3, 1)]);
        assert!(jumps(&[record(3, "c"), place(4)]).is_empty());
        let dropped = StoredChange::DomainDropped("ticket".into());
        assert_eq!(jumps(&[place(1), record(1, "a"), dropped, record(2, "c")]), [(0, 2, 1)]);
    }
}
