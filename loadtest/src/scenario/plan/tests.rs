//! Plans: the same for the same seed, whole, and in time.

use clap::Parser;

use super::builder::Builder;
use super::*;
use crate::chance::Chance;
use crate::scenario::options::{Absences, Kind, Load};
use crate::scenario::proxy::Weather;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    load: Load,
}

/// Twelve devices in two tenants, 100 entries a second for two seconds.
pub(crate) fn load() -> Load {
    Flags::parse_from(["x", "--devices", "12", "--tenants", "2", "--duration", "2", "--records", "4"]).load
}

pub(crate) fn planned(kind: Kind, load: &Load) -> Plan {
    plan(kind, load, 7)
}

const ABSENCES: Absences = Absences { times: 3, share: 0.4 };
const ALL: [Kind; 9] = [
    Kind::Idle,
    Kind::Fanout,
    Kind::Write,
    Kind::Mixed,
    Kind::Churn(ABSENCES),
    Kind::ReconnectStorm { storms: 3 },
    Kind::SlowReaders { slow: 0.25, reads: 1024 },
    Kind::PoorNetwork(Weather { delay: Duration::ZERO, breaks_after: None, down: None, up: None }),
    Kind::HighConflict(ABSENCES),
];

#[test]
fn a_seed_repeats_a_plan_and_another_makes_another() {
    for kind in ALL {
        let [one, again] = [planned(kind, &load()), planned(kind, &load())];
        assert_eq!(one.lines, again.lines, "{kind:?}");
        assert_eq!(
            (one.survey.records.len(), &one.survey.steps),
            (again.survey.records.len(), &again.survey.steps)
        );
        let other = plan(kind, &load(), 8);
        assert_ne!(one.survey.records[0].id, other.survey.records[0].id, "{kind:?}");
        assert_ne!(one.survey.devices[0].tenant, other.survey.devices[0].tenant, "{kind:?}");
    }
}

#[test]
fn every_line_is_played_once_in_order_of_time_by_a_device_that_sees_its_record() {
    for kind in ALL {
        let plan = planned(kind, &load());
        let mut played = vec![0; plan.lines.len()];
        for (device, moves) in plan.moves.iter().enumerate() {
            assert!(moves.is_sorted_by_key(|step| step.at), "{kind:?}");
            for step in moves {
                let Act::Submit(number) = step.act else { continue };
                played[number] += 1;
                assert_eq!((plan.survey.steps[number].device, plan.lines[number].due), (device, step.at));
            }
        }
        assert!(played[..plan.before].iter().all(|times| *times == 0), "{kind:?}");
        assert!(played[plan.before..].iter().all(|times| *times == 1), "{kind:?}");
        for (step, line) in plan.survey.steps.iter().zip(&plan.lines) {
            let record = &plan.survey.records[step.record];
            assert_eq!(record.tenant, plan.survey.devices[step.device].tenant, "{kind:?}");
            assert_eq!(record.domain, line.kept.domain());
            assert!(line.due <= plan.length, "{kind:?}");
        }
    }
}

#[test]
fn entries_are_as_many_as_the_rate_gives_and_each_has_its_own_time() {
    for kind in ALL.into_iter().filter(|kind| *kind != Kind::Idle) {
        let plan = planned(kind, &load());
        let due: Vec<u128> = plan.lines[plan.before..].iter().map(|line| line.due.as_millis()).collect();
        assert_eq!(due, (0..200).map(|number| number * 10).collect::<Vec<u128>>(), "{kind:?}");
        let few = Load { entries: Some(30), ..load() };
        let plan = planned(kind, &few);
        assert_eq!((plan.lines.len() - plan.before, plan.length.as_millis()), (30, 300), "{kind:?}");
    }
}

#[test]
fn idle_devices_edit_once_each_when_it_is_over() {
    let plan = planned(Kind::Idle, &load());
    assert_eq!(plan.lines.len() - plan.before, 12);
    assert!(plan.lines[plan.before..].iter().all(|line| line.due >= Duration::from_secs(2)));
    assert!(plan.moves.iter().all(|moves| moves.len() == 1));
}

/// How long each device is away, and how often it comes back; it is there when the load is over.
fn absences(plan: &Plan) -> Vec<(Duration, usize)> {
    let of_device = |moves: &Vec<Move>| {
        let (mut left, mut away, mut times) = (None, Duration::ZERO, 0);
        for step in moves {
            match (step.act, left) {
                (Act::Leave, None) => left = Some(step.at),
                (Act::ComeBack, Some(since)) => {
                    (left, away, times) = (None, away + step.at.saturating_sub(since), times + 1);
                }
                (Act::Submit(number), left) => assert_eq!(plan.lines[number].offline, left.is_some()),
                _ => panic!("{step:?} while left is {left:?}"),
            }
        }
        assert_eq!(left, None);
        (away, times)
    };
    plan.moves.iter().map(of_device).collect()
}

#[test]
fn devices_leave_for_their_share_of_the_time_and_come_back() {
    for kind in [Kind::Churn(ABSENCES), Kind::HighConflict(ABSENCES)] {
        let plan = planned(kind, &load());
        for (away, times) in absences(&plan) {
            assert_eq!((away.as_millis().div_ceil(10), times), (80, 3), "{kind:?}");
        }
        assert!(plan.lines.iter().any(|line| line.offline), "{kind:?}");
    }
}

#[test]
fn who_leaves_at_the_time_of_an_entry_writes_it_offline_and_who_comes_back_writes_it_online() {
    let (load, chance) = (load(), Chance::new(1));
    let mut builder = Builder::new(&load, 1, &chance);
    let record = builder.create(0, Kept::Own, Duration::ZERO);
    builder.begin();
    let [leave, back] = [10, 20].map(Duration::from_millis);
    builder.edit(0, record, Kept::Own, leave);
    builder.edit(0, record, Kept::Own, back);
    builder.absent(0, leave, back);
    let plan = builder.finish(back);
    let acts: Vec<Act> = plan.moves[0].iter().map(|step| step.act).collect();
    assert_eq!(acts, [Act::Leave, Act::Submit(1), Act::ComeBack, Act::Submit(2)]);
    assert_eq!(plan.lines.iter().map(|line| line.offline).collect::<Vec<_>>(), [false, true, false]);
}

#[test]
fn in_a_storm_all_but_the_writers_come_back_at_once() {
    let plan = planned(Kind::ReconnectStorm { storms: 2 }, &load());
    let back = |moves: &Vec<Move>| -> Vec<Duration> {
        moves.iter().filter(|step| step.act == Act::ComeBack).map(|step| step.at).collect()
    };
    let expected = [Duration::from_millis(500), Duration::from_millis(1500)];
    assert!(plan.moves[2..].iter().all(|moves| back(moves) == expected));
    assert!(plan.moves[..2].iter().all(|moves| back(moves).is_empty()));
    assert!(plan.survey.steps[plan.before..].iter().all(|step| step.device < 2));
}

#[test]
fn slow_readers_write_nothing() {
    let plan = planned(Kind::SlowReaders { slow: 0.25, reads: 1 }, &load());
    assert_eq!(plan.slow, HashSet::from([9, 10, 11]));
    assert!(plan.survey.steps[plan.before..].iter().all(|step| step.device < 9));
    assert_eq!(planned(Kind::SlowReaders { slow: 0.0, reads: 1 }, &load()).slow.len(), 1);
}

#[test]
fn conflicts_are_over_few_records() {
    let few = Load { records: None, ..load() };
    let plan = planned(Kind::HighConflict(ABSENCES), &few);
    assert_eq!(plan.survey.records.len(), 2 * 3);
}

#[test]
fn what_a_record_carries_names_its_entry() {
    for kept in [Kept::Shared, Kept::Own] {
        for creates in [true, false] {
            let line = Line { due: Duration::ZERO, kept, creates, offline: false };
            let data = body(41, &line, 200);
            assert_eq!(line_of(&data), Some(41));
            let text: usize = data.values().filter_map(|value| value.as_str()).map(str::len).sum();
            assert!((200..300).contains(&text), "{data:?}");
            assert_ne!(body(42, &line, 200), data);
        }
    }
    assert_eq!(line_of(&synchub_protocol::Data::from_iter([("subject".to_owned(), "hello".into())])), None);
}
