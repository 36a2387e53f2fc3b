//! Counts the parts of messages (RFC 6455, section 5.4) in what a peer sends: the library above joins them,
//! so a peer could send parts of nothing without end and never be seen.

/// The longest head of a frame without its mask.
const HEAD: usize = 10;

/// Follows the heads of the frames in a stream of bytes.
#[derive(Debug, Default)]
pub(super) struct Parts {
    head: [u8; HEAD],
    /// How much of a head was read.
    read: usize,
    /// What is left of the frame behind its head.
    rest: u64,
    /// The parts that continued a message and were not taken yet.
    count: u64,
}

impl Parts {
    /// Follows the stream.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while let Some(first) = bytes.first() {
            if self.rest > 0 {
                let skipped = bytes.len().min(usize::try_from(self.rest).unwrap_or(usize::MAX));
                self.rest -= skipped as u64;
                bytes = &bytes[skipped..];
                continue;
            }
            self.head[self.read] = *first;
            self.read += 1;
            bytes = &bytes[1..];
            self.end_head();
        }
    }

    /// How many there are that were not taken.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Takes the count and begins anew.
    pub(super) fn take(&mut self) -> u64 {
        std::mem::take(&mut self.count)
    }

    /// If the head is whole, goes on to what is behind it.
    fn end_head(&mut self) {
        let extended = match self.head[1] & 0x7f {
            _ if self.read < 2 => return,
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if self.read < 2 + extended {
            return;
        }
        let length = match extended {
            0 => u64::from(self.head[1] & 0x7f),
            _ => self.head[2..2 + extended].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        self.rest = length.saturating_add(mask);
        self.read = 0;
        let opcode = self.head[0] & 0x0f;
        self.count += u64::from(opcode == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![first];
        match payload {
            0..126 => frame.push(0x80 | u8::try_from(payload).unwrap()),
            126..65_536 => {
                frame.push(0xfe);
                frame.extend(u16::try_from(payload).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(0xff);
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        frame.extend(vec![0; 4 + payload]);
        frame
    }

    #[test]
    fn ws7_parts_are_counted_however_the_bytes_come() {
        let stream: Vec<u8> = [(0x02, 0), (0x00, 125), (0x89, 7), (0x00, 126), (0x80, 70_000), (0x82, 0)]
            .into_iter()
            .cycle()
            .take(18)
            .flat_map(|(first, payload)| frame(first, payload))
            .collect();
        for size in [1, 2, 3, 7, 4096, stream.len()] {
            let mut parts = Parts::default();
            stream.chunks(size).for_each(|bytes| parts.follow(bytes));
            assert_eq!((parts.count(), parts.rest, parts.read), (9, 0, 0), "in pieces of {size}");
            assert_eq!((parts.take(), parts.take()), (9, 0));
        }
    }
}
