//! Which version each line became, for the lines that rest on it.
//!
//! A line rests on its base line: the one that its person had seen. It names the version that the
//! answer to that line named, even when its device holds a newer one by now. A base that was refused
//! left the person with what was there before it, so the nearest accepted line before it counts.

use std::sync::Arc;

use tokio::sync::SetOnce;

use crate::survey::{LineNo, Survey};

/// What became of a line, as far as others rest on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The record stood at this version when the line was answered.
    Version(u64),
    /// The same, and the record was deleted: no copy will hold that version.
    Deleted(u64),
    /// The line was refused, or never answered.
    Refused,
}

/// What a line names, and what its device must hold first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named {
    /// The version that the entry names.
    pub(crate) version: u64,
    /// Whether the device is to hold that version before it acts.
    pub(crate) wait: bool,
    /// Whether the base line itself was refused.
    pub(crate) base_refused: bool,
}

/// The outcomes of all lines.
#[derive(Debug)]
pub(crate) struct Board {
    survey: Arc<Survey>,
    outcomes: Vec<SetOnce<Outcome>>,
}

impl Board {
    /// A board on which nothing is known yet.
    pub(crate) fn new(survey: Arc<Survey>) -> Self {
        let outcomes = survey.steps.iter().map(|_| SetOnce::new()).collect();
        Self { survey, outcomes }
    }

    /// Notes what became of a line; the first note counts.
    pub(crate) fn settle(&self, line: LineNo, outcome: Outcome) {
        // A second note is a second answer, which the ledger counts.
        drop(self.outcomes[line].set(outcome));
    }

    /// Waits for what `line` rests on. It rests on earlier lines only, so this ends as long as the
    /// earliest unanswered line of the trace is being played.
    pub(crate) async fn named(&self, line: LineNo) -> Named {
        let step = self.survey.steps[line];
        let seen = &self.survey.lines_of[step.record][..step.base as usize];
        let mut base_refused = false;
        for &base in seen.iter().rev() {
            match *self.outcomes[base].wait().await {
                Outcome::Version(version) => return Named { version, wait: true, base_refused },
                Outcome::Deleted(version) => return Named { version, wait: false, base_refused },
                Outcome::Refused => base_refused = true,
            }
        }
        Named { version: 0, wait: false, base_refused }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::trace::tests::line;

    fn board(bases: &[u32]) -> Board {
        let lines = bases.iter().map(|&base| Ok(line("u", "d", 1, base)));
        Board::new(Arc::new(Survey::take(lines).unwrap()))
    }

    fn poll(board: &Board, line: LineNo) -> Poll<Named> {
        std::pin::pin!(board.named(line)).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_create_rests_on_nothing() {
        let ready = Poll::Ready(Named { version: 0, wait: false, base_refused: false });
        assert_eq!(poll(&board(&[0]), 0), ready);
    }

    #[test]
    fn a_line_names_the_version_of_its_base_line_and_no_newer_one() {
        let board = board(&[0, 1, 1]);
        assert!(poll(&board, 2).is_pending());
        board.settle(0, Outcome::Version(1));
        board.settle(1, Outcome::Version(9));
        let ready = Poll::Ready(Named { version: 1, wait: true, base_refused: false });
        assert_eq!(poll(&board, 2), ready);
    }

    #[test]
    fn a_refused_base_leaves_what_was_seen_before_it() {
        let board = board(&[0, 1, 2]);
        board.settle(1, Outcome::Refused);
        assert!(poll(&board, 2).is_pending(), "the line before the refused one is not answered yet");
        board.settle(0, Outcome::Version(4));
        assert_eq!(poll(&board, 2), Poll::Ready(Named { version: 4, wait: true, base_refused: true }));
    }

    #[test]
    fn a_refused_create_leaves_nothing() {
        let board = board(&[0, 1]);
        board.settle(0, Outcome::Refused);
        assert_eq!(poll(&board, 1), Poll::Ready(Named { version: 0, wait: false, base_refused: true }));
    }

    #[test]
    fn a_deleted_base_is_named_but_not_waited_for() {
        let board = board(&[0, 1]);
        board.settle(0, Outcome::Deleted(2));
        assert_eq!(poll(&board, 1), Poll::Ready(Named { version: 2, wait: false, base_refused: false }));
    }
}
