//! The codes that say why a request, or one entry of it, was refused.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal, $temporary:literal;)*) => {
        /// Why something was refused. `temporary` codes may be tried again as they are.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
            /// A code that this version does not know.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl ErrorCode {
            /// The code's name on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* Self::Unknown => "unknown" }
            }

            /// Whether the same request may succeed later.
            pub fn is_temporary(self) -> bool {
                match self { $(Self::$name => $temporary,)* Self::Unknown => false }
            }

            /// The number under which the store keeps the code.
            pub fn number(self) -> i64 {
                match self { $(Self::$name => $number,)* Self::Unknown => 0 }
            }

            /// The code that the store keeps under a number.
            pub fn from_number(number: i64) -> Self {
                match number { $($number => Self::$name,)* _ => Self::Unknown }
            }
        }
    };
}

codes! {
    /// A field is missing or of the wrong type.
    BadRequest = 1, "bad_request", false;
    /// Nothing goes before `hello`.
    Unauthorized = 2, "unauthorized", false;
    /// The token's role may not do this.
    Forbidden = 3, "forbidden", false;
    /// The hub does not know this frame.
    UnknownType = 4, "unknown_type", false;
    /// No such domain, or one without a feed.
    UnknownDomain = 5, "unknown_domain", false;
    /// A field breaks the domain's definition.
    ValidationFailed = 6, "validation_failed", false;
    /// The workflow has no such step.
    InvalidTransition = 7, "invalid_transition", false;
    /// The record does not exist, as far as the sender may know.
    NotFound = 8, "not_found", false;
    /// A frame or an entry is over its limit.
    TooLarge = 9, "too_large", false;
    /// More entries than a batch may hold.
    TooManyEntries = 10, "too_many_entries", false;
    /// More `sync` frames in flight than allowed.
    TooManyInFlight = 11, "too_many_in_flight", true;
    /// Over a rate limit.
    RateLimited = 12, "rate_limited", true;
    /// The batch would leave a gap in the install's numbers.
    OutOfOrder = 13, "out_of_order", true;
    /// The same `batch_id` came with other contents.
    IdempotencyKeyReused = 14, "idempotency_key_reused", false;
    /// The entry that would have created the record was refused.
    DependsOnFailed = 15, "depends_on_failed", false;
    /// Another entry sank the atomic batch.
    NotApplied = 16, "not_applied", false;
    /// The conflict is resolved already.
    ConflictNotOpen = 17, "conflict_not_open", false;
    /// The record went on since the conflict was shown.
    ConflictMoved = 18, "conflict_moved", false;
    /// The device was deactivated.
    DeviceDeactivated = 19, "device_deactivated", false;
    /// The cursor is not one of the hub's.
    CursorInvalid = 20, "cursor_invalid", false;
    /// The cursor lies below what the log still holds.
    CursorExpired = 21, "cursor_expired", false;
    /// The hub cannot do it now.
    Unavailable = 22, "unavailable", true;
    /// Something broke inside the hub.
    Internal = 23, "internal", true;
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_their_codes() {
        for number in 1..=23 {
            let code = ErrorCode::from_number(number);
            assert_eq!(code.number(), number);
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
        assert_eq!(ErrorCode::from_number(99), ErrorCode::Unknown);
    }
}
