//! Why a connection ended, and what follows: the one place that decides whether and when to come back.

use std::time::Duration;

use synchub_protocol::{CloseReason, ErrorCode};

use crate::clock::Entropy;
use crate::config::Backoff;

/// Why a connection ended, or could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The app asked for it.
    #[error("the app asked to be offline")]
    Asked,
    /// There was no token.
    #[error("{0}")]
    NoToken(String),
    /// The hub closed with this code for the token's sake, and the source gave the same token again.
    #[error("the hub refused the token ({code} {text}), and the token source gave the same again")]
    SameToken {
        /// The close code by which it was refused (4500 or 4501).
        code: u16,
        /// The text beside it.
        text: String,
    },
    /// The hub cannot be reached, or the connection broke.
    #[error("connection lost: {0}")]
    Lost(String),
    /// The hub closed the socket.
    #[error("the hub closed the socket: {code} {text}")]
    Closed {
        /// The close code (4000 to 4999 are the hub's own).
        code: u16,
        /// The text beside it.
        text: String,
    },
    /// The hub was silent for two heartbeats.
    #[error("the hub was silent for two heartbeats")]
    Silent,
    /// The next hello says something else: another install, other numbers.
    #[error("hello has to be said again")]
    HelloAgain,
    /// The hub sent something that this version cannot take.
    #[error("the hub sent a frame that this client cannot take: {0}")]
    Unreadable(String),
    /// The hub refused `hello`, or something without which there is no session.
    #[error("the hub refused: {code}: {message}")]
    Refused {
        /// The code.
        code: ErrorCode,
        /// The hub's sentence.
        message: String,
        /// Whether the same may succeed later.
        temporary: bool,
    },
    /// What was received could not be stored.
    #[error("{0}")]
    Storage(String),
}

/// Why a client stopped for good. A new start begins with what is stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StopReason {
    /// The app stopped it, or dropped its last handle.
    #[error("the app stopped the client")]
    Asked,
    /// The hub does not want this device, token or kind of frame.
    #[error("the hub does not want this client back: {0}; it has to be started anew when that is mended")]
    NotWanted(End),
    /// The token was refused and the source had no other.
    #[error("{0}; log in anew")]
    TokenRefused(End),
    /// The storage failed.
    #[error("{0}")]
    Storage(String),
}

/// The client has stopped; what was not answered stays in the outbox for the next start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the client has stopped: {reason}")]
pub struct Stopped {
    /// Why.
    pub reason: StopReason,
}

/// What follows the end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Wait for so long, then connect.
    Wait(Duration),
    /// Stay offline until the app asks to come back.
    Offline,
    /// Stop for good.
    Stop(StopReason),
}

/// Decides when to come back.
#[derive(Debug)]
pub struct Retry {
    backoff: Backoff,
    long_pause: Duration,
    failures: u32,
}

impl Retry {
    /// A fresh start.
    pub fn new(backoff: Backoff, long_pause: Duration) -> Self {
        Self { backoff, long_pause, failures: 0 }
    }

    /// The session has caught up: the next failure is a first one.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// What follows this end. `not_within` is what the hub's goaway or error asked for; it counts on top
    /// of the jitter, so that the devices of one node do not come back at one instant.
    pub fn after(&mut self, end: &End, not_within: Duration, entropy: &dyn Entropy) -> Next {
        let next = match end {
            End::Asked => Next::Offline,
            End::Storage(text) => Next::Stop(StopReason::Storage(text.clone())),
            End::SameToken { .. } => Next::Stop(StopReason::TokenRefused(end.clone())),
            End::Refused { temporary: false, .. } => Next::Stop(StopReason::NotWanted(end.clone())),
            End::HelloAgain if self.failures == 0 => Next::Wait(Duration::ZERO),
            End::Closed { code, .. } => self.after_close(*code, end, entropy),
            End::HelloAgain
            | End::NoToken(_)
            | End::Lost(_)
            | End::Silent
            | End::Unreadable(_)
            | End::Refused { .. } => Next::Wait(self.backoff.delay(self.failures, entropy)),
        };
        self.failures = self.failures.saturating_add(1);
        match next {
            Next::Wait(delay) => Next::Wait(delay + not_within),
            other => other,
        }
    }

    fn after_close(&self, code: u16, end: &End, entropy: &dyn Entropy) -> Next {
        match CloseReason::from_code(code) {
            Some(CloseReason::Replaced | CloseReason::FrameTooLarge | CloseReason::RateLimitIgnored) => {
                Next::Wait(self.long_pause + self.backoff.delay(self.failures, entropy))
            }
            // The token source is asked again; whether it has another token shows there.
            Some(CloseReason::InvalidToken | CloseReason::TokenExpired) => {
                Next::Wait(self.backoff.delay(self.failures, entropy))
            }
            Some(reason) if !reason.may_reconnect() => Next::Stop(StopReason::NotWanted(end.clone())),
            None if (4500..5000).contains(&code) => Next::Stop(StopReason::NotWanted(end.clone())),
            _ => Next::Wait(self.backoff.delay(self.failures, entropy)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Counting;

    const SECOND: Duration = Duration::from_secs(1);

    fn retry() -> Retry {
        Retry::new(Backoff { first: SECOND, most: 8 * SECOND }, 60 * SECOND)
    }

    fn closed(code: u16) -> End {
        End::Closed { code, text: String::new() }
    }

    fn after(end: &End) -> Next {
        retry().after(end, Duration::ZERO, &Counting::default())
    }

    #[test]
    fn waits_double_up_to_the_most_and_begin_anew_after_a_session_that_caught_up() {
        let (mut retry, entropy) = (retry(), Counting::default());
        let mut wait = || retry.after(&End::Silent, Duration::ZERO, &entropy);
        let waits: Vec<Next> = (0..6).map(|_| wait()).collect();
        let expected = [500, 1000, 2000, 4000, 4000, 4000].map(|ms| Next::Wait(Duration::from_millis(ms)));
        assert_eq!(waits, expected);
        retry.succeeded();
        assert_eq!(retry.after(&End::Silent, Duration::ZERO, &entropy), Next::Wait(SECOND / 2));
        for _ in 0..80 {
            retry.after(&End::Silent, Duration::ZERO, &entropy);
        }
        assert_eq!(retry.after(&End::Silent, Duration::ZERO, &entropy), Next::Wait(4 * SECOND));
    }

    #[test]
    fn each_close_code_has_its_answer() {
        let short = Next::Wait(SECOND / 2);
        for code in [1000, 1006, 1012, 4001, 4002, 4003, 4004, 4005, 4499, 4500, 4501] {
            assert_eq!(after(&closed(code)), short, "{code}");
        }
        for code in [4504, 4505, 4507] {
            assert_eq!(after(&closed(code)), Next::Wait(60 * SECOND + SECOND / 2), "{code}");
        }
        for code in [4502, 4503, 4506, 4508, 4999] {
            let next = after(&closed(code));
            assert_eq!(next, Next::Stop(StopReason::NotWanted(closed(code))), "{code}");
        }
    }

    #[test]
    fn what_goaway_asks_for_is_waited_for_in_any_case() {
        let next = retry().after(&closed(4001), 5 * SECOND, &Counting::default());
        assert_eq!(next, Next::Wait(5 * SECOND + SECOND / 2));
    }

    #[test]
    fn hello_is_said_again_at_once_but_not_for_ever_without_progress() {
        let (mut retry, entropy) = (retry(), Counting::default());
        assert_eq!(retry.after(&End::HelloAgain, Duration::ZERO, &entropy), Next::Wait(Duration::ZERO));
        assert_eq!(retry.after(&End::HelloAgain, Duration::ZERO, &entropy), Next::Wait(SECOND));
    }

    #[test]
    fn only_the_app_and_what_cannot_be_mended_stop_it() {
        assert_eq!(after(&End::Asked), Next::Offline);
        let refused =
            |temporary| End::Refused { code: ErrorCode::Internal, message: String::new(), temporary };
        assert_eq!(after(&refused(true)), Next::Wait(SECOND / 2));
        assert_eq!(after(&refused(false)), Next::Stop(StopReason::NotWanted(refused(false))));
        let same = End::SameToken { code: 4500, text: String::new() };
        assert_eq!(after(&same), Next::Stop(StopReason::TokenRefused(same)));
        assert_eq!(after(&End::Lost(String::new())), Next::Wait(SECOND / 2));
    }
}
