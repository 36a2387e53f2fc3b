//! Which pushes the app was told of already: the hub sends them again until it knows that they came (P2).

use std::collections::{HashSet, VecDeque};

/// How many are remembered: as many as the hub keeps for a device.
const MOST: usize = 1000;

/// The names of pushes, the newest ones.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    order: VecDeque<String>,
    names: HashSet<String>,
}

impl Seen {
    /// Whether a push is new; from now on it is not.
    pub(crate) fn is_new(&mut self, push_id: &str) -> bool {
        if !self.names.insert(push_id.to_owned()) {
            return false;
        }
        self.order.push_back(push_id.to_owned());
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.names.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p2_a_push_is_told_once_and_what_is_remembered_is_bounded() {
        let mut seen = Seen::default();
        assert!(seen.is_new("a") && !seen.is_new("a"));
        assert!((0..MOST).all(|n| seen.is_new(&n.to_string())));
        assert_eq!(seen.names.len(), MOST);
        assert!(!seen.is_new("0") && seen.is_new("a"), "the oldest was forgotten");
    }
}
