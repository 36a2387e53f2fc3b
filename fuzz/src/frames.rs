//! Both decoders, and the way of compressed messages.

use synchub_protocol::codec::{decode_client, decode_server};
use synchub_protocol::gzip::{InflateError, deflate, inflate};
use synchub_protocol::{ClientFrame, DecodeError, Encoding};

const ENCODINGS: [Encoding; 2] = [Encoding::MessagePack, Encoding::Json];
/// More than what an error repeats of a frame, in bytes.
const LONGEST_MESSAGE: usize = 2000;
/// What a compressed message may inflate to here.
const INFLATED: usize = 64 * 1024;

/// What is read as a client's frame reads the same again, in both encodings.
pub fn client_frame(data: &[u8]) {
    for encoding in ENCODINGS {
        match decode_client(encoding, data) {
            Ok(frame) if has_faults(&frame) => {}
            Ok(frame) => {
                for other in ENCODINGS {
                    assert_eq!(decode_client(other, &other.encode(&frame)).as_ref(), Ok(&frame));
                }
            }
            Err(error) => is_short(&error),
        }
    }
}

/// An entry that cannot be taken is no entry when it is written again.
fn has_faults(frame: &ClientFrame) -> bool {
    match frame {
        ClientFrame::Sync(sync) => sync.entries.iter().any(|entry| entry.entry.is_err()),
        ClientFrame::Publish(publish) => publish.changes.iter().any(|change| change.change.is_err()),
        _ => false,
    }
}

/// The same for a hub's frame.
pub fn server_frame(data: &[u8]) {
    for encoding in ENCODINGS {
        match decode_server(encoding, data) {
            Ok(frame) => {
                for other in ENCODINGS {
                    assert_eq!(decode_server(other, &other.encode(&frame)).as_ref(), Ok(&frame));
                }
            }
            Err(error) => is_short(&error),
        }
    }
}

/// A peer cannot make the hub say or log what it likes at any length.
fn is_short(error: &DecodeError) {
    let words = error.to_string();
    assert!(!words.is_empty() && words.len() < LONGEST_MESSAGE, "{} bytes", words.len());
}

/// Nothing inflates past its limit, and what is compressed inflates to what it was.
pub fn gzip(data: &[u8]) {
    if let Ok(inflated) = inflate(data, INFLATED) {
        assert!(inflated.len() <= INFLATED, "{} bytes", inflated.len());
    }
    if let Some(message) = deflate(data) {
        assert!(message.len() < data.len(), "compressing must pay");
        assert_eq!(inflate(&message, data.len()).as_deref(), Ok(data));
        assert_eq!(inflate(&message, data.len() - 1), Err(InflateError::TooLarge));
    }
}
