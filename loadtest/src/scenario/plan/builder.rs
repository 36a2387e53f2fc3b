//! Makes a plan out of devices, records, lines and absences.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Act, Kept, Line, Move, Plan};
use crate::chance::Chance;
use crate::scenario::options::Load;
use crate::survey::{Actor, DeviceIndex, RecordIndex, RecordName, Step, Survey};

/// A plan in the making.
pub(super) struct Builder<'a> {
    pub(super) load: &'a Load,
    pub(super) chance: &'a Chance,
    survey: Survey,
    lines: Vec<Line>,
    before: usize,
    moves: Vec<Vec<Move>>,
    absences: Vec<Vec<(Duration, Duration)>>,
    pub(super) slow: HashSet<DeviceIndex>,
}

impl<'a> Builder<'a> {
    /// The devices, two to a user, spread over the tenants. The seed is in the tenants' names, so that runs
    /// of different seeds do not meet in one hub.
    pub(super) fn new(load: &'a Load, seed: u64, chance: &'a Chance) -> Self {
        let actor = |index: u32| {
            let (tenant, place) = (index % load.tenants, index / load.tenants);
            Actor {
                tenant: format!("load-{seed}-{tenant}"),
                user: format!("user-{}", place / 2),
                device: format!("device-{}", place % 2),
                unit: None,
                lines: 0,
            }
        };
        let devices: Vec<Actor> = (0..load.devices).map(actor).collect();
        let count = devices.len();
        let domains = [Kept::Shared, Kept::Own].map(|kept| kept.domain().to_owned());
        Self {
            load,
            chance,
            survey: Survey { devices, domains: domains.into(), ..Survey::default() },
            lines: Vec::new(),
            before: 0,
            moves: vec![Vec::new(); count],
            absences: vec![Vec::new(); count],
            slow: HashSet::new(),
        }
    }

    /// The devices of each tenant.
    pub(super) fn tenants(&self) -> Vec<Vec<DeviceIndex>> {
        let tenants = self.load.tenants as usize;
        let all = 0..self.survey.devices.len();
        (0..tenants).map(|tenant| all.clone().skip(tenant).step_by(tenants).collect()).collect()
    }

    /// A device at random.
    pub(super) fn any_device(&self) -> DeviceIndex {
        self.below(self.survey.devices.len())
    }

    /// One of these at random.
    pub(super) fn any<T: Copy>(&self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn below(&self, bound: usize) -> usize {
        usize::try_from(self.chance.below(bound as u64)).unwrap_or(0)
    }

    /// Adds a line that creates a record.
    pub(super) fn create(&mut self, device: DeviceIndex, kept: Kept, due: Duration) -> RecordIndex {
        let tenant = self.survey.devices[device].tenant.clone();
        self.survey.records.push(RecordName {
            tenant,
            domain: kept.domain().to_owned(),
            id: self.chance.uuid(),
        });
        self.survey.lines_of.push(Vec::new());
        let record = self.survey.records.len() - 1;
        self.line((device, record), Line { due, kept, creates: true, offline: false });
        record
    }

    /// Adds a line that edits a record.
    pub(super) fn edit(&mut self, device: DeviceIndex, record: RecordIndex, kept: Kept, due: Duration) {
        self.line((device, record), Line { due, kept, creates: false, offline: false });
    }

    fn line(&mut self, (device, record): (DeviceIndex, RecordIndex), line: Line) {
        let number = self.lines.len();
        let base = u32::from(!line.creates);
        self.survey.steps.push(Step { device, record, base });
        self.survey.lines_of[record].push(number);
        self.survey.devices[device].lines += 1;
        self.lines.push(line);
    }

    /// What was added so far is there before the load begins.
    pub(super) fn begin(&mut self) {
        self.before = self.lines.len();
    }

    /// The device is offline from one time to the other; its absences are added in order.
    pub(super) fn absent(&mut self, device: DeviceIndex, from: Duration, to: Duration) {
        self.absences[device].push((from, to));
    }

    /// The plan of all this.
    pub(super) fn finish(mut self, length: Duration) -> Plan {
        for number in self.before..self.lines.len() {
            let (device, line) = (self.survey.steps[number].device, &mut self.lines[number]);
            line.offline = self.absences[device].iter().any(|(from, to)| (*from..*to).contains(&line.due));
            self.moves[device].push(Move { at: line.due, act: Act::Submit(number) });
        }
        for (moves, absences) in self.moves.iter_mut().zip(&self.absences) {
            let going =
                |&(from, to)| [Move { at: from, act: Act::Leave }, Move { at: to, act: Act::ComeBack }];
            moves.extend(absences.iter().flat_map(going));
            // What happens at one time keeps its order: a device leaves before it writes offline.
            moves.sort_by_key(|step| (step.at, matches!(step.act, Act::Submit(_))));
        }
        Plan {
            survey: Arc::new(self.survey),
            lines: self.lines,
            before: self.before,
            moves: self.moves,
            length,
            slow: self.slow,
            size: self.load.size as usize,
        }
    }
}
