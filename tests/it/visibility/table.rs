//! The table: what happens to a record, and who may see it after each step.

use serde_json::{Value, json};

/// Somebody who looks. Everyone's filter lets open records through and no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looker {
    /// Alice's second device, in the unit north like the device that writes.
    Second,
    /// Alice's third device, whose token says south.
    Elsewhere,
    /// Bob, of north.
    Colleague,
    /// Carol, of south.
    OtherUnit,
    /// Dave, who has no unit.
    NoUnit,
    /// An Alice of north, with the id of the second device, in another tenant.
    OtherTenant,
    /// An operator of the tenant.
    Operator,
    /// A publisher that may write in north.
    Publisher,
}

use Looker::{Colleague, Elsewhere, NoUnit, Operator, OtherTenant, OtherUnit, Publisher, Second};

pub(super) const LOOKERS: [Looker; 8] =
    [Second, Elsewhere, Colleague, OtherUnit, NoUnit, OtherTenant, Operator, Publisher];

const EVERYONE: &[Looker] = &[Second, Elsewhere, Colleague, OtherUnit, NoUnit, Operator, Publisher];
const NORTH: &[Looker] = &[Second, Colleague, Operator, Publisher];
const SOUTH: &[Looker] = &[Elsewhere, OtherUnit, Operator];
const ALICE: &[Looker] = &[Second, Elsewhere, Operator];
const BOB: &[Looker] = &[Colleague, Operator];
const DAVE: &[Looker] = &[NoUnit, Operator];
const NOBODY: &[Looker] = &[];

/// What makes a record's next version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Create, edit or re-create: open or closed, with this number.
    Write(&'static str, u64),
    /// Delete.
    Delete,
    /// A publisher gives it to a unit, or to none.
    Unit(Option<&'static str>),
    /// A publisher gives it to a user.
    Owner(&'static str),
}

use Act::{Delete, Owner, Unit, Write};

/// Who creates a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hand {
    /// A device of Alice, in north.
    Alice,
    /// A device of Dave, who has no unit.
    Dave,
}

/// What happens to one record. Its versions are its steps, from 1 on.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) domain: &'static str,
    pub(super) hand: Hand,
    /// How many steps are made before anybody looks (or goes away).
    pub(super) before: usize,
    pub(super) steps: Vec<(Act, &'static [Looker])>,
}

impl Case {
    /// Whether somebody may see the record at a version and the filter lets it through.
    pub(super) fn sees(&self, looker: Looker, version: usize) -> bool {
        version > 0 && self.steps[version - 1].1.contains(&looker)
    }

    /// The record's fields at a version.
    pub(super) fn data(&self, version: usize) -> Value {
        let acts = self.steps[..version].iter().rev().map(|(act, _)| *act);
        let written = acts.filter_map(|act| match act {
            Write(state, n) => Some(json!({"state": state, "n": n, "of": self.name})),
            _ => None,
        });
        written.into_iter().next().unwrap()
    }
}

/// What happens alike to records of every visibility: their audience is `all` or nobody.
fn common(domain: &'static str, all: &'static [Looker]) -> Vec<Case> {
    let case = |name: &str, before, steps: Vec<(Act, &'static [Looker])>| Case {
        name: format!("{domain}: {name}"),
        domain,
        hand: Hand::Alice,
        before,
        steps,
    };
    let (open, closed) = ((Write("open", 1), all), (Write("closed", 1), NOBODY));
    vec![
        case("create", 0, vec![open]),
        case("create outside the filter", 0, vec![closed]),
        case("nothing", 1, vec![open]),
        case("edit", 1, vec![open, (Write("open", 2), all)]),
        case("two edits", 1, vec![open, (Write("open", 2), all), (Write("open", 3), all)]),
        case("create and edit", 0, vec![open, (Write("open", 2), all)]),
        case("edit outside the filter", 1, vec![closed, (Write("closed", 2), NOBODY)]),
        case("edit that enters the filter", 1, vec![closed, (Write("open", 2), all)]),
        case("edit that leaves the filter", 1, vec![open, (Write("closed", 2), NOBODY)]),
        case(
            "edit that leaves the filter and another",
            1,
            vec![open, (Write("closed", 2), NOBODY), (Write("closed", 3), NOBODY)],
        ),
        case("leaves and enters", 1, vec![open, (Write("closed", 2), NOBODY), (Write("open", 3), all)]),
        case("enters and leaves", 1, vec![closed, (Write("open", 2), all), (Write("closed", 3), NOBODY)]),
        case("delete", 1, vec![open, (Delete, NOBODY)]),
        case("delete of something filtered out", 1, vec![closed, (Delete, NOBODY)]),
        case("edit and delete", 1, vec![open, (Write("open", 2), all), (Delete, NOBODY)]),
        case("leaves and delete", 1, vec![open, (Write("closed", 2), NOBODY), (Delete, NOBODY)]),
        case("create and delete", 0, vec![open, (Delete, NOBODY)]),
        case("re-create", 2, vec![open, (Delete, NOBODY), (Write("open", 3), all)]),
        case("delete and re-create", 1, vec![open, (Delete, NOBODY), (Write("open", 3), all)]),
        case(
            "delete and re-create outside the filter",
            1,
            vec![open, (Delete, NOBODY), (Write("closed", 3), NOBODY)],
        ),
    ]
}

/// What happens to where a record belongs.
fn moves() -> Vec<Case> {
    let case = |domain, name: &str, steps: Vec<(Act, &'static [Looker])>| Case {
        name: format!("{domain}: {name}"),
        domain,
        hand: Hand::Alice,
        before: 1,
        steps,
    };
    let (open, closed) = (Write("open", 1), Write("closed", 1));
    let (south, north) = (Unit(Some("south")), Unit(Some("north")));
    vec![
        case("hall", "another unit", vec![(open, EVERYONE), (south, EVERYONE)]),
        case("hall", "another owner", vec![(open, EVERYONE), (Owner("bob"), EVERYONE)]),
        case("desk", "another unit", vec![(open, NORTH), (south, SOUTH)]),
        case("desk", "another unit, outside the filter", vec![(closed, NOBODY), (south, NOBODY)]),
        case(
            "desk",
            "another unit, then into the filter",
            vec![(closed, NOBODY), (south, NOBODY), (Write("open", 3), SOUTH)],
        ),
        case(
            "desk",
            "out of the filter, another unit, into the filter",
            vec![(open, NORTH), (Write("closed", 2), NOBODY), (south, NOBODY), (Write("open", 4), SOUTH)],
        ),
        case("desk", "to no unit", vec![(open, NORTH), (Unit(None), EVERYONE)]),
        case("desk", "another owner", vec![(open, NORTH), (Owner("bob"), NORTH)]),
        case("desk", "another unit and back", vec![(open, NORTH), (south, SOUTH), (north, NORTH)]),
        case(
            "desk",
            "another unit and edited there",
            vec![(open, NORTH), (south, SOUTH), (Write("open", 3), SOUTH)],
        ),
        case(
            "desk",
            "edited and to another unit",
            vec![(open, NORTH), (Write("open", 2), NORTH), (south, SOUTH)],
        ),
        case("desk", "another unit and deleted there", vec![(open, NORTH), (south, SOUTH), (Delete, NOBODY)]),
        case(
            "desk",
            "deleted, re-created, to another unit",
            vec![(open, NORTH), (Delete, NOBODY), (Write("open", 3), NORTH), (south, SOUTH)],
        ),
        case("diary", "another owner", vec![(open, ALICE), (Owner("bob"), BOB)]),
        case(
            "diary",
            "another owner and back",
            vec![(open, ALICE), (Owner("bob"), BOB), (Owner("alice"), ALICE)],
        ),
        case(
            "diary",
            "another owner and edited there",
            vec![(open, ALICE), (Owner("bob"), BOB), (Write("open", 3), BOB)],
        ),
        case("diary", "another unit", vec![(open, ALICE), (south, ALICE)]),
    ]
}

/// What a user without a unit writes.
fn without_unit() -> Vec<Case> {
    let case = |domain, name: &str, before, steps: Vec<(Act, &'static [Looker])>| Case {
        name: format!("{domain}, without a unit: {name}"),
        domain,
        hand: Hand::Dave,
        before,
        steps,
    };
    let open = Write("open", 1);
    vec![
        case("hall", "create", 0, vec![(open, EVERYONE)]),
        case("desk", "create", 0, vec![(open, EVERYONE)]),
        case("desk", "edit", 1, vec![(open, EVERYONE), (Write("open", 2), EVERYONE)]),
        case("desk", "delete", 1, vec![(open, EVERYONE), (Delete, NOBODY)]),
        case("desk", "to a unit", 1, vec![(open, EVERYONE), (Unit(Some("south")), SOUTH)]),
        case("diary", "create", 0, vec![(open, DAVE)]),
        case("diary", "edit", 1, vec![(open, DAVE), (Write("open", 2), DAVE)]),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    let parts =
        [common("hall", EVERYONE), common("desk", NORTH), common("diary", ALICE), moves(), without_unit()];
    parts.into_iter().flatten().collect()
}
