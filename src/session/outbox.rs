//! The two lanes of a session: control, and data in one order (protocol: Carrier).
//!
//! Control frames may overtake data frames. The control lane is bounded: a peer that does not even read
//! answers is closed. The data lane holds at most one page; the session fills it only when it is empty. On a
//! poor link live changes that are urgent overtake those that are not, and nothing else.

use std::collections::VecDeque;

use bytes::Bytes;
use synchub_protocol::CloseReason;

/// What the control lane may hold, in bytes.
const CONTROL_BYTES: usize = 4 * 1024 * 1024;

/// Frames that wait for room on the socket.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    control: VecDeque<Bytes>,
    control_bytes: usize,
    data: VecDeque<Bytes>,
    /// Changes that go after all of `data`: more urgent ones may still come before them.
    later: VecDeque<Bytes>,
    /// Bytes of `subscribed` frames since the data lane was last empty.
    subscribed_bytes: usize,
}

impl Outbox {
    /// Queues an answer, `goaway` or `error`.
    pub(super) fn push_control(&mut self, frame: Bytes) -> Result<(), CloseReason> {
        self.control_bytes += frame.len();
        // A single large answer passes: the bound is against what piles up.
        if self.control_bytes > CONTROL_BYTES && !self.control.is_empty() {
            return Err(CloseReason::TooSlow);
        }
        self.control.push_back(frame);
        Ok(())
    }

    /// Queues a frame of the data lane, after everything that is there.
    pub(super) fn push_data(&mut self, frame: Bytes) {
        self.data.append(&mut self.later);
        self.data.push_back(frame);
    }

    /// Queues a change before the changes that are not urgent.
    pub(super) fn push_urgent(&mut self, frame: Bytes) {
        self.data.push_back(frame);
    }

    /// Queues a change that urgent ones may overtake.
    pub(super) fn push_later(&mut self, frame: Bytes) {
        self.later.push_back(frame);
    }

    /// Whether changes wait that urgent ones may overtake.
    pub(super) fn has_later(&self) -> bool {
        !self.later.is_empty()
    }

    /// Queues a `subscribed`, an answer in the data lane; what piles up is bounded like other answers.
    pub(super) fn push_subscribed(&mut self, frame: Bytes) -> Result<(), CloseReason> {
        self.subscribed_bytes += frame.len();
        self.push_data(frame);
        if self.subscribed_bytes > CONTROL_BYTES { Err(CloseReason::TooSlow) } else { Ok(()) }
    }

    /// The next frame, control first, if there is room for it.
    pub(super) fn pop_if(&mut self, has_room: bool) -> Option<Bytes> {
        if has_room { self.pop() } else { None }
    }

    fn pop(&mut self) -> Option<Bytes> {
        if let Some(frame) = self.control.pop_front() {
            self.control_bytes -= frame.len();
            if self.control.is_empty() {
                // Answers are rare: an idle session keeps no buffer for them.
                self.control = VecDeque::new();
            }
            return Some(frame);
        }
        let frame = self.data.pop_front();
        if self.data.is_empty() {
            self.subscribed_bytes = 0;
        }
        frame.or_else(|| self.later.pop_front())
    }

    /// Gives back what busier times have left: nothing was sent for a while.
    pub(super) fn rest(&mut self) {
        self.data.shrink_to_fit();
        self.later.shrink_to_fit();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.control.is_empty() && !self.has_data()
    }

    pub(super) fn has_control(&self) -> bool {
        !self.control.is_empty()
    }

    pub(super) fn has_data(&self) -> bool {
        !self.data.is_empty() || self.has_later()
    }

    /// How many frames of the data lane wait.
    pub(super) fn data_frames(&self) -> usize {
        self.data.len() + self.later.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv5_control_goes_first_and_is_bounded() {
        let mut outbox = Outbox::default();
        outbox.push_data(Bytes::from_static(b"data"));
        outbox.push_control(Bytes::from_static(b"pong")).unwrap();
        assert_eq!(outbox.pop().unwrap(), "pong");
        assert_eq!(outbox.pop().unwrap(), "data");
        assert!(outbox.push_control(Bytes::from(vec![0; CONTROL_BYTES])).is_ok());
        assert_eq!(outbox.push_control(Bytes::from_static(b"x")), Err(CloseReason::TooSlow));
    }

    #[test]
    fn bw4_urgent_changes_overtake_others_and_nothing_else() {
        let mut outbox = Outbox::default();
        outbox.push_data(Bytes::from_static(b"snapshot"));
        for (frame, urgent) in [("1", false), ("2", true), ("3", false), ("4", true)] {
            let frame = Bytes::from_static(frame.as_bytes());
            if urgent { outbox.push_urgent(frame) } else { outbox.push_later(frame) }
        }
        assert_eq!((outbox.data_frames(), outbox.has_later()), (5, true));
        outbox.push_data(Bytes::from_static(b"position"));
        outbox.push_urgent(Bytes::from_static(b"5"));
        outbox.push_control(Bytes::from_static(b"pong")).unwrap();
        let sent: Vec<_> = std::iter::from_fn(|| outbox.pop()).collect();
        assert_eq!(sent, ["pong", "snapshot", "2", "4", "1", "3", "position", "5"]);
        assert!(outbox.is_empty() && !outbox.has_later());
    }

    #[test]
    fn inv5_an_idle_session_keeps_no_buffer() {
        let mut outbox = Outbox::default();
        for _ in 0..100 {
            outbox.push_data(Bytes::from_static(b"data"));
            outbox.push_control(Bytes::from_static(b"pong")).unwrap();
        }
        while outbox.pop().is_some() {}
        outbox.rest();
        assert_eq!((outbox.data.capacity(), outbox.control.capacity()), (0, 0));
    }

    #[test]
    fn inv5_answers_in_the_data_lane_are_bounded_until_it_is_read() {
        let mut outbox = Outbox::default();
        let half = Bytes::from(vec![0; CONTROL_BYTES / 2]);
        for _ in 0..3 {
            outbox.push_subscribed(half.clone()).unwrap();
            outbox.push_subscribed(half.clone()).unwrap();
            assert!(outbox.pop().is_some() && outbox.pop().is_some());
        }
        outbox.push_data(Bytes::from(vec![0; 2 * CONTROL_BYTES]));
        outbox.push_subscribed(half.clone()).unwrap();
        outbox.push_subscribed(half.clone()).unwrap();
        assert_eq!(outbox.push_subscribed(half), Err(CloseReason::TooSlow));
    }
}
