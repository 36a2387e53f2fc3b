//! Which messages have reached whom: every subscriber is sent all of them, in the same order.

use std::collections::VecDeque;

/// What was published and what of it has come.
#[derive(Debug)]
pub(crate) struct Progress {
    /// How many messages each subscriber has.
    received: Vec<usize>,
    /// How many subscribers each message still lacks, from message `first` on.
    missing: VecDeque<usize>,
    first: usize,
    deliveries: u64,
}

impl Progress {
    /// Nothing was published to so many.
    pub(crate) fn new(subscribers: usize) -> Self {
        Self { received: vec![0; subscribers], missing: VecDeque::new(), first: 0, deliveries: 0 }
    }

    /// Another message is on its way; its number.
    pub(crate) fn publish(&mut self) -> usize {
        self.missing.push_back(self.received.len());
        self.first + self.missing.len() - 1
    }

    /// The next message has reached a subscriber; its number, or none if nothing was on its way.
    pub(crate) fn deliver(&mut self, subscriber: usize) -> Option<usize> {
        let number = self.received[subscriber];
        *self.missing.get_mut(number - self.first)? -= 1;
        self.received[subscriber] += 1;
        self.deliveries += 1;
        while self.missing.front() == Some(&0) {
            self.missing.pop_front();
            self.first += 1;
        }
        Some(number)
    }

    /// Messages that have not reached everybody.
    pub(crate) fn outstanding(&self) -> usize {
        self.missing.len()
    }

    /// All deliveries until now.
    pub(crate) fn deliveries(&self) -> u64 {
        self.deliveries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_outstanding_until_everybody_has_it() {
        let mut progress = Progress::new(2);
        assert_eq!((progress.publish(), progress.publish()), (0, 1));
        assert_eq!((progress.deliver(0), progress.deliver(0)), (Some(0), Some(1)));
        assert_eq!(progress.outstanding(), 2, "the other has none");
        assert_eq!(progress.deliver(1), Some(0));
        assert_eq!(progress.outstanding(), 1);
        assert_eq!(progress.publish(), 2);
        assert_eq!((progress.deliver(1), progress.deliver(1)), (Some(1), Some(2)));
        assert_eq!((progress.deliver(1), progress.deliveries()), (None, 5), "nothing more was published");
    }
}
