//! Brings what a replay left behind before the verdict: copies, answers and what the hub holds.

use std::collections::HashMap;

use uuid::Uuid;

use crate::ledger::{Entry, submitted_by_device};
use crate::report::Verdict;
use crate::survey::{Actor, DeviceIndex, RecordIndex, Survey};
use crate::verdict::copies::{Held, Sight, judge_copy};
use crate::verdict::records::{Answered, judge_by_version, judge_record};
use crate::verdict::sightings::{Jump, Mismatch, judge_jump, judge_mismatch};
use crate::verdict::{
    Findings, StoredRecord, TenantStore, judge_install, judge_line, judge_log, judge_regressions,
};

/// What the replay itself knows at its end.
pub(crate) struct Evidence<'a> {
    pub(crate) survey: &'a Survey,
    /// One entry a line.
    pub(crate) entries: &'a [Entry],
    /// The install of each device.
    pub(crate) installs: &'a [Uuid],
    /// How often a version went down in each device's copy.
    pub(crate) regressions: &'a [u64],
    /// Where a copy and the hub's digest of it do not agree, in words; empty where none was asked for.
    pub(crate) differences: &'a [String],
    /// Where copies went over versions.
    pub(crate) jumps: &'a [Jump],
    /// Where a version came with other data than elsewhere.
    pub(crate) mismatches: &'a [Mismatch],
}

/// What an account sees through a fresh snapshot, by domain.
pub(crate) type View = HashMap<String, HashMap<Uuid, StoredRecord>>;

/// Judges against the hub's database.
pub(crate) fn against_store(
    evidence: &Evidence<'_>,
    stores: &HashMap<String, TenantStore>,
    held: impl Fn(DeviceIndex, &str) -> Vec<Held>,
) -> Verdict {
    let nothing = TenantStore::default();
    let store_of = |tenant: &str| stores.get(tenant).unwrap_or(&nothing);
    let mut judged = Judged::of_lines(evidence, "store");
    for (tenant, store) in stores {
        judge_log(tenant, store, &mut judged.findings);
    }
    judge_installs(evidence, stores, &mut judged.findings);
    for (index, device) in evidence.survey.devices.iter().enumerate() {
        let store = store_of(&device.tenant);
        let sight = sight(device, store);
        for domain in &evidence.survey.domains {
            let empty = HashMap::new();
            let records = store.records.get(domain).unwrap_or(&empty);
            judged.copy(&format!("{device} {domain}"), held(index, domain), records, &sight);
        }
    }
    let mut answers = answers_by_record(evidence);
    for (index, name) in evidence.survey.records.iter().enumerate() {
        let store = store_of(&name.tenant);
        let stands = store.records.get(&name.domain).and_then(|records| records.get(&name.id));
        let log = store.log.get(&name.domain).and_then(|log| log.get(&name.id));
        let log = log.map_or(&[][..], Vec::as_slice);
        judge_record(
            &name.to_string(),
            &answers.remove(&index).unwrap_or_default(),
            log,
            stands,
            &mut judged.findings,
        );
    }
    judge_strangers(evidence.survey, stores, &mut judged.findings);
    judge_jumps(evidence, stores, &mut judged.findings);
    judged.verdict(evidence)
}

/// Judges against what each account sees through a fresh snapshot: without log and numbers.
pub(crate) fn against_snapshots(
    evidence: &Evidence<'_>,
    views: &HashMap<(String, String), View>,
    held: impl Fn(DeviceIndex, &str) -> Vec<Held>,
) -> Verdict {
    let mut judged = Judged::of_lines(evidence, "snapshots");
    let all = Sight { parties: Vec::new() };
    let mut versions: HashMap<(&str, &str, Uuid), u64> = HashMap::new();
    for ((tenant, _), view) in views {
        for (domain, records) in view {
            versions.extend(
                records.iter().map(|(id, record)| ((tenant.as_str(), domain.as_str(), *id), record.version)),
            );
        }
    }
    for (index, device) in evidence.survey.devices.iter().enumerate() {
        let view = views.get(&(device.tenant.clone(), device.user.clone()));
        for domain in &evidence.survey.domains {
            let empty = HashMap::new();
            let seen = view.and_then(|view| view.get(domain)).unwrap_or(&empty);
            judged.copy(&format!("{device} {domain}"), held(index, domain), seen, &all);
        }
    }
    for (index, answers) in answers_by_record(evidence) {
        let name = &evidence.survey.records[index];
        // A deleted record is in no snapshot: its versions cannot be told without the log.
        if answers.iter().all(|answered| !answered.answer.deleted) {
            let version = versions.get(&(name.tenant.as_str(), name.domain.as_str(), name.id));
            judge_by_version(
                &name.to_string(),
                &answers,
                version.copied().unwrap_or(0),
                &mut judged.findings,
            );
        }
    }
    judged.verdict(evidence)
}

/// A verdict in the making.
struct Judged {
    source: &'static str,
    findings: Findings,
    copies: u64,
    copied_records: u64,
}

impl Judged {
    fn of_lines(evidence: &Evidence<'_>, source: &'static str) -> Self {
        let mut findings = Findings::default();
        for (line, entry) in evidence.entries.iter().enumerate() {
            judge_line(line, entry, &mut findings);
        }
        for (device, regressions) in evidence.survey.devices.iter().zip(evidence.regressions) {
            judge_regressions(&device.to_string(), *regressions, &mut findings);
        }
        for difference in evidence.differences {
            findings.add("another digest", || difference.clone());
        }
        for mismatch in evidence.mismatches {
            let device = mismatch.device.map(|device| evidence.survey.devices[device].to_string());
            judge_mismatch(device.as_deref(), mismatch, &mut findings);
        }
        Self { source, findings, copies: 0, copied_records: 0 }
    }

    fn copy(&mut self, place: &str, held: Vec<Held>, stored: &HashMap<Uuid, StoredRecord>, sight: &Sight) {
        self.copies += 1;
        self.copied_records += held.len() as u64;
        judge_copy(place, held, stored, sight, &mut self.findings);
    }

    fn verdict(self, evidence: &Evidence<'_>) -> Verdict {
        Verdict {
            yes: self.findings.is_empty(),
            source: self.source,
            copies: self.copies,
            copied_records: self.copied_records,
            records: evidence.survey.records.len() as u64,
            notes: Vec::new(),
            findings: self.findings,
        }
    }
}

fn sight(device: &Actor, store: &TenantStore) -> Sight {
    let unit = device.unit.as_ref().and_then(|unit| store.units.get(unit));
    Sight { parties: unit.into_iter().chain(store.users.get(&device.user)).copied().collect() }
}

fn judge_installs(evidence: &Evidence<'_>, stores: &HashMap<String, TenantStore>, findings: &mut Findings) {
    let submitted = submitted_by_device(evidence.survey, evidence.entries);
    for (index, device) in evidence.survey.devices.iter().enumerate() {
        let marks = stores.get(&device.tenant).map(|store| &store.marks);
        let mark = marks.and_then(|marks| marks.get(&evidence.installs[index])).copied();
        judge_install(&device.to_string(), submitted[index], mark, findings);
    }
}

fn answers_by_record(evidence: &Evidence<'_>) -> HashMap<RecordIndex, Vec<Answered>> {
    let mut answers: HashMap<RecordIndex, Vec<Answered>> = HashMap::new();
    for (line, (step, entry)) in evidence.survey.steps.iter().zip(evidence.entries).enumerate() {
        let install = evidence.installs[step.device];
        let of_record = answers.entry(step.record).or_default();
        of_record.extend(entry.answer.map(|answer| Answered { line, install, answer }));
    }
    answers
}

fn judge_jumps(evidence: &Evidence<'_>, stores: &HashMap<String, TenantStore>, findings: &mut Findings) {
    for jump in evidence.jumps {
        let device = &evidence.survey.devices[jump.device];
        let of_domain = stores.get(&device.tenant).and_then(|store| store.log.get(&*jump.domain));
        if let Some(log) = of_domain.and_then(|log| log.get(&jump.id)) {
            judge_jump(&device.to_string(), jump, log, findings);
        }
    }
}

/// Every record that is stored is one of the trace's.
fn judge_strangers(survey: &Survey, stores: &HashMap<String, TenantStore>, findings: &mut Findings) {
    let known: std::collections::HashSet<_> =
        survey.records.iter().map(|name| (name.tenant.as_str(), name.domain.as_str(), name.id)).collect();
    for (tenant, store) in stores {
        for (domain, records) in &store.records {
            for id in records.keys().filter(|id| !known.contains(&(tenant.as_str(), domain.as_str(), **id))) {
                findings.add("not of the trace", || {
                    format!("{tenant}/{domain}/{id} is stored, no line names it; was the store empty?")
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
