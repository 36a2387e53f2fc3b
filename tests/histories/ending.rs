//! The end of a history: everybody comes back, sends and reads everything, and holds what the model says; and
//! how long a device waits that sent more than it may (WS7).

use crate::reading::Until;
use crate::world::World;

/// How many minutes all that waits takes at most, and how long one is.
const MINUTES: usize = 50;
const MINUTE_US: i64 = 61_000_000;

impl World {
    /// Whether a device has to wait before it sends more (WS7).
    pub(crate) fn is_limited(&self, at: usize) -> bool {
        self.devices[at].limited.as_ref().is_some_and(|limited| self.host.ticks_us < limited.until_us)
    }

    /// Whether a batch is on the wire, or comes next, that was refused for its rate before.
    pub(crate) fn goes_alone(&self, at: usize) -> bool {
        let device = &self.devices[at];
        let Some(link) = &device.link else { return false };
        device.limited.is_some() && !link.flights.is_empty()
            || link.flights.iter().any(|flight| flight.waited)
    }

    /// As much time passes as a device was told to wait.
    pub(crate) async fn wait_out(&mut self, at: usize) {
        if self.is_limited(at) {
            self.resolve().await;
            let wait_us =
                self.devices[at].limited.as_ref().map(|limited| limited.until_us - self.host.ticks_us);
            self.host.advance(wait_us.unwrap_or(0).max(0));
            self.ledgers[self.devices[at].tenant].count("device that waited for its rate");
        }
    }

    /// Whether a device's cursor stands at the log's head.
    fn is_at_head(&self, at: usize) -> bool {
        let head = self.host.head(&self.ledgers[self.devices[at].tenant].tenant);
        self.devices[at].link.as_ref().is_some_and(|link| link.place.is_some_and(|place| place >= head))
    }

    /// The end: everybody sends and reads everything, and holds what the model says.
    pub(crate) async fn finish(&mut self) {
        self.note("-- the end".to_owned());
        for at in 0..self.devices.len() {
            for _ in 0..200 {
                if !self.is_online(at) {
                    self.connect(at).await;
                }
                self.wait_out(at).await;
                while self.send(at).await {}
                self.read(at, Until::Answered).await;
                self.change_install(at);
                if self.devices[at].disk.outbox.is_empty() && self.is_online(at) {
                    break;
                }
            }
            assert!(
                self.devices[at].disk.outbox.is_empty(),
                "{} cannot send what waits",
                self.devices[at].name()
            );
        }
        self.judge().await;
        for _ in 0..MINUTES {
            for at in 0..self.devices.len() {
                while !self.is_online(at) {
                    self.connect(at).await;
                    self.read(at, Until::Head).await;
                }
                self.read(at, Until::Head).await;
            }
            if (0..self.devices.len()).all(|at| self.is_at_head(at)) {
                break;
            }
            self.host.advance(MINUTE_US);
            self.ledgers[0].count("push that waited for a minute");
        }
        assert!((0..self.devices.len()).all(|at| self.is_at_head(at)), "P3: somebody waits for ever");
        self.judge().await;
        self.check_deliveries_now().await;
        self.check_forgotten();
        for device in &self.devices {
            if device.disk.doubts {
                continue;
            }
            let ledger = &self.ledgers[device.tenant];
            let due = ledger.model.copy(device.user, device.unit.as_deref(), &device.disk.wish);
            for key in due.keys().chain(device.disk.copy.keys()) {
                let (held, due) = (device.disk.copy.get(key), due.get(key));
                assert!(held == due, "{} holds {key:?} as {held:?}; the model says {due:?}", device.name());
            }
        }
    }
}
