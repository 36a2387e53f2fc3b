//! The wish to have what was held back (C9): one request at a time, asked for again after a lost connection.

/// What was wished for, and how far that is done.
#[derive(Debug, Default)]
pub(crate) struct CatchUps {
    wished: u64,
    done: u64,
    /// The request on the way, and the wishes that it stands for.
    asked: Option<(u64, u64)>,
}

impl CatchUps {
    /// Takes a wish; gives its number.
    pub(crate) fn begin(&mut self) -> u64 {
        self.wished += 1;
        self.wished
    }

    /// Whether the wish of this number, and all before it, is done.
    pub(crate) fn is_done(&self, number: u64) -> bool {
        number <= self.done
    }

    /// The id of the request that goes out now, if one does.
    pub(crate) fn next(&mut self, id: impl FnOnce() -> u64) -> Option<u64> {
        if self.asked.is_some() || self.wished == self.done {
            return None;
        }
        let id = id();
        self.asked = Some((id, self.wished));
        Some(id)
    }

    /// A request was answered, or refused for good; says whether it was this one.
    pub(crate) fn answered(&mut self, request: u64) -> bool {
        let Some((_, upto)) = self.asked.filter(|(id, _)| *id == request) else { return false };
        self.asked = None;
        self.done = upto;
        true
    }

    /// The connection is gone.
    pub(crate) fn ask_again(&mut self) {
        self.asked = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c9_one_request_stands_for_all_wishes_before_it_and_is_made_again_after_a_lost_connection() {
        let mut wishes = CatchUps::default();
        assert_eq!(wishes.next(|| 1), None);
        let (first, second) = (wishes.begin(), wishes.begin());
        assert_eq!((wishes.next(|| 5), wishes.next(|| 6)), (Some(5), None));
        let third = wishes.begin();
        wishes.ask_again();
        assert!(!wishes.answered(5) && !wishes.is_done(first));
        assert_eq!(wishes.next(|| 2), Some(2));
        assert!(wishes.answered(2) && wishes.is_done(second) && wishes.is_done(third));
        assert_eq!(wishes.next(|| 3), None);
    }
}
