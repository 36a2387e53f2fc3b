//! The first reading of a trace: who acts, on which records, and which line rests on which.
//!
//! A few bytes a line are kept for the whole replay; the records' bodies are not, they are read
//! again when the line is played. Nothing here knows sockets or time.

use std::collections::{BTreeSet, HashMap, HashSet};

use anyhow::{Result, bail};
use uuid::Uuid;

use crate::trace::Line;

/// A line's place in the trace, from 0.
pub(crate) type LineNo = usize;
/// A device's place in [`Survey::devices`].
pub(crate) type DeviceIndex = usize;
/// A record's place in [`Survey::records`].
pub(crate) type RecordIndex = usize;

/// A device of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Actor {
    pub(crate) tenant: String,
    pub(crate) user: String,
    pub(crate) device: String,
    pub(crate) unit: Option<String>,
    /// How many lines it sends; 0: it only receives.
    pub(crate) lines: usize,
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.tenant, self.user, self.device)
    }
}

/// A record as the trace names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RecordName {
    pub(crate) tenant: String,
    pub(crate) domain: String,
    pub(crate) id: Uuid,
}

impl std::fmt::Display for RecordName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.tenant, self.domain, self.id)
    }
}

/// Where a line stands among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) device: DeviceIndex,
    pub(crate) record: RecordIndex,
    /// How many lines of its record the person had seen; 0: none.
    pub(crate) base: u32,
}

/// What the first reading found.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// All devices: those of the trace in order of appearance, then silent ones.
    pub(crate) devices: Vec<Actor>,
    /// All records, in order of appearance.
    pub(crate) records: Vec<RecordName>,
    /// One step a line.
    pub(crate) steps: Vec<Step>,
    /// The lines of each record, in order.
    pub(crate) lines_of: Vec<Vec<LineNo>>,
    /// Every domain that occurs.
    pub(crate) domains: BTreeSet<String>,
    /// The time of the last line, in milliseconds.
    pub(crate) length_ms: u64,
    /// Lines that name an older line of their record than the one before them.
    pub(crate) behind: usize,
}

impl Survey {
    /// Reads all lines; one that rests on a line that is not before it is an error.
    pub(crate) fn take(lines: impl Iterator<Item = Result<Line>>) -> Result<Self> {
        let mut survey = Self::default();
        let mut devices = HashMap::new();
        let mut records = HashMap::new();
        for line in lines {
            survey.add(&line?, &mut devices, &mut records)?;
        }
        if survey.steps.is_empty() {
            bail!("the trace has no lines");
        }
        Ok(survey)
    }

    fn add(
        &mut self,
        line: &Line,
        devices: &mut HashMap<[String; 3], DeviceIndex>,
        records: &mut HashMap<RecordName, RecordIndex>,
    ) -> Result<()> {
        let number = self.steps.len();
        let who = [line.tenant.clone(), line.user.clone(), line.device.clone()];
        let device = *devices.entry(who).or_insert_with(|| {
            self.devices.push(actor(line));
            self.devices.len() - 1
        });
        self.devices[device].lines += 1;
        let name =
            RecordName { tenant: line.tenant.clone(), domain: line.domain.clone(), id: line.mobile_id };
        let record = *records.entry(name).or_insert_with_key(|name| {
            self.records.push(name.clone());
            self.lines_of.push(Vec::new());
            self.records.len() - 1
        });
        let before = self.lines_of[record].len();
        if line.base_version as usize > before {
            bail!(
                "line {} rests on line {} of its record, which has {before} before it",
                number + 1,
                line.base_version
            );
        }
        self.behind += usize::from((line.base_version as usize) < before);
        self.lines_of[record].push(number);
        self.domains.insert(line.domain.clone());
        self.length_ms = self.length_ms.max(line.t_ms);
        self.steps.push(Step { device, record, base: line.base_version });
        Ok(())
    }

    /// Gives every account at least `count` devices; the added ones only receive.
    pub(crate) fn at_least(&mut self, count: usize) {
        let mut accounts: HashMap<(String, String), usize> = HashMap::new();
        for device in &self.devices {
            *accounts.entry((device.tenant.clone(), device.user.clone())).or_default() += 1;
        }
        let firsts: Vec<Actor> = self.devices.clone();
        for first in firsts {
            let Some(have) = accounts.remove(&(first.tenant.clone(), first.user.clone())) else { continue };
            for number in have..count {
                let device = format!("silent-{}", number + 1);
                self.devices.push(Actor { device, lines: 0, ..first.clone() });
            }
        }
    }

    /// The device of each tenant that sends the least.
    pub(crate) fn observers(&self) -> HashSet<DeviceIndex> {
        let mut least: HashMap<&str, DeviceIndex> = HashMap::new();
        for (index, device) in self.devices.iter().enumerate() {
            let held = least.entry(&device.tenant).or_insert(index);
            if device.lines < self.devices[*held].lines {
                *held = index;
            }
        }
        least.into_values().collect()
    }
}

fn actor(line: &Line) -> Actor {
    Actor {
        tenant: line.tenant.clone(),
        user: line.user.clone(),
        device: line.device.clone(),
        unit: line.unit.clone(),
        lines: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Reader;
    use crate::trace::tests::line;

    fn survey(lines: Vec<Line>) -> Result<Survey> {
        Survey::take(lines.into_iter().map(Ok))
    }

    #[test]
    fn lines_are_counted_for_each_record_and_device() {
        let survey = survey(vec![
            line("a", "1", 7, 0),
            line("b", "1", 7, 1),
            line("a", "1", 8, 0),
            line("a", "2", 7, 1),
        ])
        .unwrap();
        assert_eq!(survey.lines_of, vec![vec![0, 1, 3], vec![2]]);
        assert_eq!(survey.devices.iter().map(|d| d.lines).collect::<Vec<_>>(), vec![2, 1, 1]);
        assert_eq!(survey.steps[3], Step { device: 2, record: 0, base: 1 });
        assert_eq!((survey.behind, survey.length_ms), (1, 5));
    }

    #[test]
    fn a_base_that_lies_ahead_is_an_error() {
        let message = survey(vec![line("a", "1", 7, 0), line("a", "1", 7, 2)]).unwrap_err().to_string();
        assert!(message.contains("line 2 rests on line 2"), "{message}");
        assert!(survey(vec![]).is_err());
    }

    #[test]
    fn silent_devices_fill_up_accounts_that_have_too_few() {
        let mut survey =
            survey(vec![line("a", "1", 7, 0), line("b", "1", 7, 1), line("a", "2", 7, 1)]).unwrap();
        survey.at_least(2);
        let silent: Vec<String> = survey.devices[3..].iter().map(ToString::to_string).collect();
        assert_eq!(silent, ["t/b/silent-2"]);
        assert_eq!((survey.devices[3].lines, survey.observers()), (0, HashSet::from([3])));
    }

    #[test]
    fn an_eighth_of_the_shipped_trace_is_behind() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/traces/incidents-a-lag8h.jsonl.zst");
        let survey = Survey::take(Reader::open(path.as_ref(), None).unwrap()).unwrap();
        assert_eq!((survey.steps.len(), survey.records.len(), survey.devices.len()), (56_660, 9910, 2298));
        assert_eq!((survey.behind, survey.observers().len()), (6655, 8));
    }
}
