//! Compressed messages: gzip of a frame's bytes, told by its first two.
//!
//! No state outlives a message but one compressor a thread. What a peer sends is inflated into a buffer
//! that grows with what has come out and never past the limit, whatever the message claims.

use std::cell::RefCell;

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// The name of the compression in `hello` and `welcome`.
pub const NAME: &str = "gzip";

/// Frames of at most so many bytes are sent as they are.
pub const MIN_BYTES: usize = 1024;

/// By how many times the largest frame a compressed one may grow when it is inflated.
pub const INFLATED_FRAMES: usize = 4;

/// The window of deflate, in bits (RFC 1950: at most 15).
const WINDOW_BITS: u8 = 15;

/// Why a compressed message is no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// More came out than may: 4505.
    #[error("the message inflates to more than the limit; send smaller frames")]
    TooLarge,
    /// Not one whole gzip member and nothing else: 4503.
    #[error("the message is not one whole gzip stream")]
    Corrupt,
}

/// Whether a message begins as gzip does (RFC 1952). No MessagePack map and no JSON text begins so.
pub fn is_gzip(message: &[u8]) -> bool {
    message.starts_with(&[0x1f, 0x8b])
}

/// Inflates a message to at most `most` bytes.
pub fn inflate(message: &[u8], most: usize) -> Result<Bytes, InflateError> {
    let mut state = Decompress::new_gzip(WINDOW_BITS);
    let mut frame = Vec::with_capacity(message.len().saturating_mul(2).min(most));
    loop {
        let taken = usize::try_from(state.total_in()).unwrap_or(usize::MAX);
        let rest = message.get(taken..).unwrap_or_default();
        let status = state.decompress_vec(rest, &mut frame, FlushDecompress::None);
        let status = status.map_err(|_| InflateError::Corrupt)?;
        if frame.len() > most {
            return Err(InflateError::TooLarge);
        }
        if status == Status::StreamEnd {
            let is_whole = state.total_in() == message.len() as u64;
            return if is_whole { Ok(frame.into()) } else { Err(InflateError::Corrupt) };
        }
        if frame.len() < frame.capacity() {
            // There was room, so it is the message that ended.
            return Err(InflateError::Corrupt);
        }
        let left = most - frame.len();
        frame.reserve_exact(frame.len().max(MIN_BYTES).min(left).max(1));
    }
}

thread_local! {
    static COMPRESS: RefCell<Compress> =
        RefCell::new(Compress::new_gzip(Compression::fast(), WINDOW_BITS));
}

/// Compresses a frame above [`MIN_BYTES`]; none if that saves less than an eighth.
pub fn deflate(frame: &[u8]) -> Option<Bytes> {
    if frame.len() <= MIN_BYTES {
        return None;
    }
    COMPRESS.with_borrow_mut(|state| {
        state.reset();
        // What does not fit in here does not pay.
        let mut message = Vec::with_capacity(frame.len() - frame.len() / 8);
        let status = state.compress_vec(frame, &mut message, FlushCompress::Finish).ok()?;
        message.shrink_to_fit();
        (status == Status::StreamEnd).then(|| message.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: usize) -> Vec<u8> {
        b"all work and no play makes jack a dull boy; ".iter().copied().cycle().take(bytes).collect()
    }

    /// Bytes that no compressor makes smaller.
    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let next = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            u8::try_from(state >> 56).unwrap()
        });
        next.take(bytes).collect()
    }

    #[test]
    fn frames_come_back_whole_from_one_compressor_again_and_again() {
        for size in [1025, 1500, 70_000, 1_000_000, 1025] {
            let frame = text(size);
            let message = deflate(&frame).unwrap();
            assert!(is_gzip(&message) && message.len() < size / 2);
            assert!(inflate(&message, size).unwrap() == frame, "{size}");
            assert_eq!(inflate(&message, size - 1), Err(InflateError::TooLarge));
        }
        let bomb = deflate(&vec![0; 64 << 20]).unwrap();
        assert_eq!(inflate(&bomb, 4 << 20), Err(InflateError::TooLarge), "{} bytes", bomb.len());
    }

    #[test]
    fn only_what_is_large_and_pays_is_compressed() {
        assert_eq!(deflate(&text(1024)), None);
        assert_eq!(deflate(&noise(100_000)), None);
        assert!(deflate(&text(1025)).is_some(), "the compressor is as good as new after a failure");
        assert!(!is_gzip(b"{}") && !is_gzip(&[0x81]) && !is_gzip(&[0x1f]) && is_gzip(&[0x1f, 0x8b]));
    }

    #[test]
    fn what_is_not_one_whole_stream_is_corrupt() {
        let message = deflate(&text(5000)).unwrap().to_vec();
        let most = 1 << 20;
        for length in 0..message.len() {
            assert_eq!(inflate(&message[..length], most), Err(InflateError::Corrupt), "{length}");
        }
        let mut flipped = message.clone();
        let checksum = flipped.len() - 6;
        flipped[checksum] ^= 1;
        let more: &[&[u8]] = &[&message, &[0], &[0x1f, 0x8b]];
        for tail in more {
            assert_eq!(inflate(&[&message, *tail].concat(), most), Err(InflateError::Corrupt));
        }
        assert_eq!(inflate(&flipped, most), Err(InflateError::Corrupt));
    }
}
