//! WebSocket as far as the clients of a benchmark need it: cheap, so that they do not slow the server down.
//!
//! What they send is masked with a key of zeros, which leaves it as it is.

use std::ops::Range;

/// A binary message, whole.
const BINARY: u8 = 0x82;
/// The peer ends the connection.
pub(crate) const CLOSE: u8 = 8;

/// A frame of the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The operation code.
    pub(crate) code: u8,
    /// Where its payload lies.
    pub(crate) payload: Range<usize>,
}

/// Asks for an upgrade.
pub(crate) fn upgrade(path: &str, subprotocol: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\
         sec-websocket-protocol: {subprotocol}\r\n\r\n"
    )
    .into_bytes()
}

/// The same as a proxy hands it on for a peer at `address`.
pub(crate) fn upgrade_through_proxy(path: &str, subprotocol: &str, address: &str) -> Vec<u8> {
    let mut upgrade = upgrade(path, subprotocol);
    upgrade.truncate(upgrade.len() - 2);
    upgrade.extend(format!("x-forwarded-for: {address}\r\n\r\n").bytes());
    upgrade
}

/// Appends a binary message.
pub(crate) fn put(out: &mut Vec<u8>, payload: &[u8]) {
    const MASKED: u8 = 0x80;
    out.push(BINARY);
    match payload.len() {
        size @ 0..126 => out.push(MASKED + u8::try_from(size).unwrap_or(0)),
        size @ 126..=0xffff => {
            out.push(MASKED + 126);
            out.extend(u16::try_from(size).unwrap_or(0).to_be_bytes());
        }
        size => {
            out.push(MASKED + 127);
            out.extend((size as u64).to_be_bytes());
        }
    }
    out.extend([0; 4]);
    out.extend(payload);
}

/// The first frame of what came from a server; none while it is not whole.
pub(crate) fn first(bytes: &[u8]) -> Option<Frame> {
    let code = bytes.first()? & 0x0f;
    let (begin, size) = match bytes.get(1)? & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        size => (2, usize::from(size)),
    };
    let payload = begin..begin + size;
    (payload.end <= bytes.len()).then_some(Frame { code, payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_server(size: usize) -> Vec<u8> {
        let mut masked = Vec::new();
        put(&mut masked, &vec![7; size]);
        let head = masked.len() - size - 4;
        masked.drain(head..head + 4);
        masked[1] &= 0x7f;
        masked
    }

    #[test]
    fn frames_of_all_sizes_are_found_when_they_are_whole() {
        for size in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
            let mut bytes = of_server(size);
            for short in [0, 1, 2, bytes.len() - 1] {
                assert!(short == bytes.len() || first(&bytes[..short]).is_none(), "{short} of {size}");
            }
            bytes.extend([0x82, 1, 9]);
            let frame = first(&bytes).unwrap();
            assert_eq!((frame.code, frame.payload.len()), (2, size));
            assert!(bytes[frame.payload.clone()].iter().all(|byte| *byte == 7));
            assert_eq!(first(&bytes[frame.payload.end..]).unwrap().payload.len(), 1);
        }
    }
}
