//! Digests: what proves that two sides hold the same records of a domain, in whatever order they came.
//!
//! A digest is a count and a sum. Sums of parts that share no record add up, and a change of one record
//! changes the sum by the difference of two parts, so nobody has to look at the other records.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::server::{DigestSum, DomainDigest};

/// How many live records a view of a domain holds, and the sum of their parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest {
    /// The records.
    pub count: u64,
    /// The sum of their parts, modulo 2^64.
    pub sum: u64,
}

impl Digest {
    /// Takes in a record as it stands.
    pub fn add(&mut self, mobile_id: Uuid, version: u64) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(part(mobile_id, version));
    }

    /// Takes out a record as it was taken in.
    pub fn remove(&mut self, mobile_id: Uuid, version: u64) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(part(mobile_id, version));
    }
}

impl From<Digest> for DomainDigest {
    fn from(Digest { count, sum }: Digest) -> Self {
        Self { count, digest: DigestSum(sum) }
    }
}

impl From<DomainDigest> for Digest {
    fn from(DomainDigest { count, digest: DigestSum(sum) }: DomainDigest) -> Self {
        Self { count, sum }
    }
}

/// What one record adds to a sum: the first 8 bytes, big-endian, of SHA-256 over `mobile_id ":" version`,
/// the id hyphenated in lower case, the version in decimal digits.
pub fn part(mobile_id: Uuid, version: u64) -> u64 {
    let hash: [u8; 32] = Sha256::digest(format!("{}:{version}", mobile_id.hyphenated())).into();
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [&str; 3] = [
        "0193b5f0-0000-7000-8000-000000000001",
        "ABCDEF01-2345-6789-ABCD-EF0123456789",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
    ];

    fn of(records: &[(&str, u64)]) -> Digest {
        let mut digest = Digest::default();
        for (id, version) in records {
            digest.add(id.parse().unwrap(), *version);
        }
        digest
    }

    fn text(digest: Digest) -> String {
        DomainDigest::from(digest).digest.to_string()
    }

    /// The sums were made with another program, from what the protocol says alone.
    #[test]
    fn en13_the_sum_is_what_the_protocol_says() {
        assert_eq!(text(of(&[])), "0000000000000000");
        assert_eq!(text(of(&[(IDS[0], 1)])), "d04fe4de5c2b42ad");
        assert_eq!(text(of(&[(IDS[1], 4_294_967_297)])), "5c89fdb9592e6a1b");
        let all = of(&[(IDS[0], 1), (IDS[1], 4_294_967_297), (IDS[2], 12)]);
        assert_eq!((all.count, text(all).as_str()), (3, "85f3ca4f5095d1d8"));
    }

    #[test]
    fn en13_order_is_nothing_and_what_is_taken_out_leaves_no_trace() {
        let mut digest = of(&[(IDS[2], 3), (IDS[0], 1), (IDS[1], 2)]);
        assert_eq!(digest, of(&[(IDS[0], 1), (IDS[1], 2), (IDS[2], 3)]));
        digest.remove(IDS[1].parse().unwrap(), 2);
        digest.add(IDS[1].parse().unwrap(), 4);
        assert_eq!(digest, of(&[(IDS[0], 1), (IDS[1], 4), (IDS[2], 3)]));
        assert_ne!(digest.sum, of(&[(IDS[0], 1), (IDS[1], 5), (IDS[2], 3)]).sum);
        for (id, version) in [(IDS[0], 1), (IDS[1], 4), (IDS[2], 3)] {
            digest.remove(id.parse().unwrap(), version);
        }
        assert_eq!(digest, Digest::default());
    }
}
