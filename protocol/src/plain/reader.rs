//! `MessagePack` values from the front of a message, in any of their forms; none where another kind stands there.

use crate::MAX_SAFE_INTEGER;

/// What is left of a message.
pub(super) struct Reader<'b> {
    pub(super) rest: &'b [u8],
}

impl<'b> Reader<'b> {
    fn bytes(&mut self, count: usize) -> Option<&'b [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    pub(super) fn skip(&mut self) -> Option<()> {
        self.byte().map(drop)
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    /// A number of fixed size behind its marker.
    pub(super) fn marked<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.skip()?;
        self.number()
    }

    fn length(&mut self, width: usize) -> Option<usize> {
        self.bytes(width).map(|bytes| bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }

    pub(super) fn text(&mut self) -> Option<&'b str> {
        let length = match self.byte()? {
            marker @ 0xa0..=0xbf => usize::from(marker & 0x1f),
            0xd9 => self.length(1)?,
            0xda => self.length(2)?,
            0xdb => self.length(4)?,
            _ => return None,
        };
        std::str::from_utf8(self.bytes(length)?).ok()
    }

    pub(super) fn map(&mut self) -> Option<usize> {
        match self.byte()? {
            marker @ 0x80..=0x8f => Some(usize::from(marker & 0x0f)),
            0xde => self.length(2),
            0xdf => self.length(4),
            _ => None,
        }
    }

    pub(super) fn array(&mut self) -> Option<usize> {
        match self.byte()? {
            marker @ 0x90..=0x9f => Some(usize::from(marker & 0x0f)),
            0xdc => self.length(2),
            0xdd => self.length(4),
            _ => None,
        }
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0xc2 => Some(false),
            0xc3 => Some(true),
            _ => None,
        }
    }

    /// A count or a number of an entry.
    pub(super) fn uint(&mut self) -> Option<u64> {
        self.any_uint().filter(|number| *number <= MAX_SAFE_INTEGER)
    }

    pub(super) fn any_uint(&mut self) -> Option<u64> {
        match self.byte()? {
            marker @ 0x00..=0x7f => Some(u64::from(marker)),
            0xcc => self.number().map(u8::from_be_bytes).map(u64::from),
            0xcd => self.number().map(u16::from_be_bytes).map(u64::from),
            0xce => self.number().map(u32::from_be_bytes).map(u64::from),
            0xcf => self.number().map(u64::from_be_bytes),
            _ => None,
        }
    }

    pub(super) fn int(&mut self) -> Option<i64> {
        match self.byte()? {
            marker @ 0xe0..=0xff => Some(i64::from(marker.cast_signed())),
            0xd0 => self.number().map(i8::from_be_bytes).map(i64::from),
            0xd1 => self.number().map(i16::from_be_bytes).map(i64::from),
            0xd2 => self.number().map(i32::from_be_bytes).map(i64::from),
            0xd3 => self.number().map(i64::from_be_bytes),
            _ => None,
        }
    }
}
