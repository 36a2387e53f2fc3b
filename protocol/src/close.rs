//! The one table of reasons for which the hub closes a socket.

/// Why a socket ends. 4000–4499: reconnect with backoff; 4500–4999: not again with the same
/// token, device or frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The peer closed, or went away.
    PeerClosed,
    /// The node shuts down, or a new epoch began.
    GoingAway,
    /// The peer was silent for two heartbeats.
    HeartbeatMissed,
    /// The peer does not read even the control lane.
    TooSlow,
    /// The node is full.
    Overloaded,
    /// No `hello` in time.
    HelloTimeout,
    /// The token is no good.
    InvalidToken,
    /// The token ran out and was not renewed.
    TokenExpired,
    /// The device was deactivated.
    DeviceDeactivated,
    /// A message that is no frame.
    Undecodable,
    /// A newer connection of the device took over.
    Replaced,
    /// A message more than twice over the limit.
    FrameTooLarge,
    /// A second `hello`, or forbidden requests again and again.
    Misbehaved,
    /// A rate limit was ignored.
    RateLimitIgnored,
}

impl CloseReason {
    /// The code of the close frame (RFC 6455, section 7.4.2: 4000–4999 are private use).
    pub fn code(self) -> u16 {
        match self {
            Self::PeerClosed => 1000,
            Self::GoingAway => 4001,
            Self::HeartbeatMissed => 4002,
            Self::TooSlow => 4003,
            Self::Overloaded => 4004,
            Self::HelloTimeout => 4005,
            Self::InvalidToken => 4500,
            Self::TokenExpired => 4501,
            Self::DeviceDeactivated => 4502,
            Self::Undecodable => 4503,
            Self::Replaced => 4504,
            Self::FrameTooLarge => 4505,
            Self::Misbehaved => 4506,
            Self::RateLimitIgnored => 4507,
        }
    }

    /// The reason that a close code stands for.
    pub fn from_code(code: u16) -> Option<Self> {
        Some(match code {
            4001 => Self::GoingAway,
            4002 => Self::HeartbeatMissed,
            4003 => Self::TooSlow,
            4004 => Self::Overloaded,
            4005 => Self::HelloTimeout,
            4500 => Self::InvalidToken,
            4501 => Self::TokenExpired,
            4502 => Self::DeviceDeactivated,
            4503 => Self::Undecodable,
            4504 => Self::Replaced,
            4505 => Self::FrameTooLarge,
            4506 => Self::Misbehaved,
            4507 => Self::RateLimitIgnored,
            _ => return None,
        })
    }

    /// The text of the close frame, which is also the metric label.
    pub fn text(self) -> &'static str {
        match self {
            Self::PeerClosed => "peer_closed",
            Self::GoingAway => "going_away",
            Self::HeartbeatMissed => "heartbeat_missed",
            Self::TooSlow => "too_slow",
            Self::Overloaded => "overloaded",
            Self::HelloTimeout => "hello_timeout",
            Self::InvalidToken => "invalid_token",
            Self::TokenExpired => "token_expired",
            Self::DeviceDeactivated => "device_deactivated",
            Self::Undecodable => "undecodable",
            Self::Replaced => "replaced",
            Self::FrameTooLarge => "frame_too_large",
            Self::Misbehaved => "misbehaved",
            Self::RateLimitIgnored => "rate_limit_ignored",
        }
    }

    /// Whether the client may come back by itself with the same token, device and frames.
    pub fn may_reconnect(self) -> bool {
        self.code() < 4500
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_name_their_reasons() {
        for code in (4001..=4005).chain(4500..=4507) {
            let reason = CloseReason::from_code(code).unwrap();
            assert_eq!(reason.code(), code);
            assert_eq!(reason.may_reconnect(), code < 4500);
        }
        assert_eq!(CloseReason::from_code(4006), None);
    }
}
