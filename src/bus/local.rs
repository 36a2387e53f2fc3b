//! The bus of a hub of one node, in the process.
//!
//! Bounded like any other: a reader that falls behind loses the oldest updates and is told `Gap`.

use async_trait::async_trait;
use dashmap::DashMap;
use synchub_rules::record::TenantNo;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::{Bus, BusEvent, BusReader, Update};

/// How many commits a reader may be behind; a commit holds many rows, so this is seconds of work.
const BACKLOG: usize = 256;

/// The bus in the process.
#[derive(Debug, Default)]
pub struct LocalBus {
    tenants: DashMap<TenantNo, broadcast::Sender<Update>>,
}

#[async_trait]
impl Bus for LocalBus {
    fn publish(&self, update: Update) {
        let tenant = update.tenant;
        let unheard = self.tenants.get(&tenant).is_some_and(|sender| sender.send(update).is_err());
        if unheard {
            self.tenants.remove_if(&tenant, |_, sender| sender.receiver_count() == 0);
        }
    }

    async fn subscribe(&self, tenant: TenantNo) -> Box<dyn BusReader> {
        let entry = self.tenants.entry(tenant).or_insert_with(|| broadcast::channel(BACKLOG).0);
        Box::new(LocalReader(entry.subscribe()))
    }
}

#[derive(Debug)]
struct LocalReader(broadcast::Receiver<Update>);

#[async_trait]
impl BusReader for LocalReader {
    async fn next(&mut self) -> BusEvent {
        match self.0.recv().await {
            Ok(update) => BusEvent::Update(update),
            Err(RecvError::Lagged(_)) => BusEvent::Gap,
            Err(RecvError::Closed) => BusEvent::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use synchub_rules::record::Head;

    use super::*;

    fn update(seq: u64) -> Update {
        Update {
            tenant: 1,
            epoch: 0,
            rows: Arc::from([]),
            head: Head { seq, time_us: 0 },
            traces: Vec::new(),
        }
    }

    #[tokio::test]
    async fn inv4_who_falls_behind_is_told_of_a_gap() {
        let bus = LocalBus::default();
        bus.publish(update(1));
        let mut reader = bus.subscribe(1).await;
        bus.publish(update(2));
        assert!(matches!(reader.next().await, BusEvent::Update(update) if update.head.seq == 2));
        for seq in 0..=BACKLOG as u64 {
            bus.publish(update(3 + seq));
        }
        assert!(matches!(reader.next().await, BusEvent::Gap));
        assert!(matches!(reader.next().await, BusEvent::Update(_)));
    }
}
