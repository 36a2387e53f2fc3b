//! Comparing the copy with the hub: a digest is asked for, and held against the copy at the place for
//! which it stands.
//!
//! The answer names a place of the log. The copy stands for a place only at the moment at which a
//! `position` or `caught_up` names it: there, and only there, the two are compared.

use std::collections::HashMap;

use synchub_protocol::Digest;
use synchub_protocol::server::{DigestResult, ErrorFrame};

use crate::copy::HubCopy;

/// What a domain adds up to on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// The domain.
    pub domain: String,
    /// What the hub says.
    pub hub: Digest,
    /// What the copy holds.
    pub copy: Digest,
}

/// What one attempt at a comparison came to.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// The copy and the hub agree in every domain.
    Equal(Vec<Compared>),
    /// The copy stood at the hub's place, and they do not agree.
    Different(Vec<Compared>),
    /// The copy was past the hub's place and does not agree, which says nothing.
    Passed,
    /// The hub refused to answer.
    Refused(ErrorFrame),
}

/// The comparisons that were asked for, by the numbers that [`Comparisons::begin`] gave.
#[derive(Debug, Default)]
pub(crate) struct Comparisons {
    last: u64,
    waiting: Vec<u64>,
    /// By the id of the request.
    asked: HashMap<u64, u64>,
    answered: Vec<(u64, DigestResult)>,
}

impl Comparisons {
    /// Takes the wish for a comparison; gives its number.
    pub(crate) fn begin(&mut self) -> u64 {
        self.last += 1;
        self.waiting.push(self.last);
        self.last
    }

    /// Whether a digest is to be asked for: one at a time.
    pub(crate) fn is_due(&self) -> bool {
        !self.waiting.is_empty() && self.asked.is_empty()
    }

    /// A digest is asked for in this request.
    pub(crate) fn asked(&mut self, request: u64) {
        self.asked.extend(self.waiting.pop().map(|number| (request, number)));
    }

    /// The hub has answered.
    pub(crate) fn answered(&mut self, result: DigestResult) {
        self.answered.extend(self.asked.remove(&result.id).map(|number| (number, result)));
    }

    /// The hub has refused; says whether the request was one of these.
    pub(crate) fn refused(&mut self, request: u64) -> Option<u64> {
        self.asked.remove(&request)
    }

    /// The connection is gone: what had no verdict is asked for again.
    pub(crate) fn ask_again(&mut self) {
        self.waiting.extend(self.asked.drain().map(|(_, number)| number));
        self.waiting.extend(self.answered.drain(..).map(|(number, _)| number));
    }

    /// The verdicts that can be given now.
    pub(crate) fn verdicts(&mut self, copy: &HubCopy) -> Vec<(u64, Verdict)> {
        if !copy.is_at_its_position() {
            return Vec::new();
        }
        let (ready, waiting) = self.answered.drain(..).partition(|(_, result)| copy.position() >= result.seq);
        self.answered = waiting;
        ready
            .into_iter()
            .map(|(number, result): (u64, DigestResult)| (number, verdict(copy, result)))
            .collect()
    }
}

fn verdict(copy: &HubCopy, result: DigestResult) -> Verdict {
    let is_exact = copy.position() == result.seq;
    let compare = |(domain, hub): (String, _)| {
        let copy = copy.digest(&domain);
        Compared { domain, hub: Digest::from(hub), copy }
    };
    let compared: Vec<Compared> = result.domains.into_iter().map(compare).collect();
    match compared.iter().all(|one| one.hub == one.copy) {
        true => Verdict::Equal(compared),
        false if is_exact => Verdict::Different(compared),
        false => Verdict::Passed,
    }
}
