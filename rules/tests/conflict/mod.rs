//! Who owns a field, and what its upkeep leaves.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;
use synchub_protocol::Data;
use synchub_protocol::server::Strategy;
use synchub_rules::conflict::owners::{created, has_foreign_since, rival, take};
use synchub_rules::record::{Stamp, Write};

use crate::support::data;

fn stamp(time_us: i64, priority: i64, install: i64) -> Stamp {
    Stamp { time_us, priority, install, number: 1 }
}

fn write(version: u64, stamp: Stamp, fields: &[&str]) -> Write {
    Write { version, stamp, fields: fields.iter().map(|field| (*field).to_owned()).collect() }
}

#[test]
fn e4_a_field_that_nobody_wrote_has_no_rival() {
    let writes = created(1, stamp(1, 50, 1), vec!["dropped".to_owned()]);
    let stands = data(json!({"a": 1, "b": null}));
    for (field, found) in [("a", true), ("b", true), ("dropped", true), ("never", false)] {
        let rival = rival(&writes, &stands, field, (0, 2), Strategy::MostRecentWins);
        assert_eq!(rival.is_some(), found, "{field}");
    }
}

#[test]
fn e4_a_write_at_or_below_the_base_or_of_the_own_install_is_no_rival() {
    let writes = created(3, stamp(1, 50, 1), Vec::new());
    let stands = data(json!({"a": 1}));
    for (base, install, found) in [(2, 2, true), (3, 2, false), (4, 2, false), (2, 1, false)] {
        let rival = rival(&writes, &stands, "a", (base, install), Strategy::MostRecentWins);
        assert_eq!(rival.is_some(), found, "{base} {install}");
        assert_eq!(has_foreign_since(&writes, &stands, base, install), found);
    }
}

#[test]
fn e4_a_first_write_that_owns_nothing_is_nobodys_rival() {
    let mut writes = created(1, stamp(1, 50, 1), Vec::new());
    let stands = data(json!({"a": 1}));
    take(&mut writes, write(2, stamp(2, 50, 2), &["a"]), &stands, Strategy::MostRecentWins);
    assert_eq!(writes.len(), 2, "it is kept as the place of what is in no list");
    assert!(!has_foreign_since(&writes, &stands, 0, 2));
    assert!(has_foreign_since(&writes, &stands, 0, 1));
}

#[test]
fn e4_a_write_of_no_field_leaves_no_element() {
    let mut writes = created(1, stamp(1, 50, 1), Vec::new());
    take(&mut writes, write(2, stamp(2, 50, 2), &[]), &Data::new(), Strategy::MostRecentWins);
    assert_eq!(writes, created(1, stamp(1, 50, 1), Vec::new()));
}

#[test]
fn t3_under_device_priority_what_outranks_its_successor_is_kept() {
    let stands = data(json!({"a": 1, "b": 1}));
    let mut writes = created(1, stamp(1, 100, 1), Vec::new());
    take(&mut writes, write(2, stamp(2, 40, 2), &["a"]), &stands, Strategy::DevicePriority);
    assert_eq!(writes, [write(1, stamp(1, 100, 1), &["a"]), write(2, stamp(2, 40, 2), &["a"])]);
    let rival_of = |writes: &[Write], base| rival(writes, &stands, "a", (base, 9), Strategy::DevicePriority);
    assert_eq!(rival_of(&writes, 0), Some(stamp(1, 100, 1)));
    assert_eq!(rival_of(&writes, 1), Some(stamp(2, 40, 2)));
    take(&mut writes, write(3, stamp(3, 60, 3), &["a"]), &stands, Strategy::DevicePriority);
    assert_eq!(writes, [write(1, stamp(1, 100, 1), &["a"]), write(3, stamp(3, 60, 3), &["a"])]);
    take(&mut writes, write(4, stamp(4, 100, 4), &["a"]), &stands, Strategy::DevicePriority);
    assert_eq!(writes, [write(1, stamp(1, 100, 1), &[]), write(4, stamp(4, 100, 4), &["a"])]);
    assert_eq!(rival_of(&writes, 0), Some(stamp(4, 100, 4)));
    assert_eq!(rival(&writes, &stands, "b", (0, 9), Strategy::DevicePriority), Some(stamp(1, 100, 1)));
}

#[test]
fn t3_a_rival_of_the_own_install_is_none() {
    let stands = data(json!({"a": 1}));
    let mut writes = created(1, stamp(1, 100, 7), Vec::new());
    take(&mut writes, write(2, stamp(2, 40, 2), &["a"]), &stands, Strategy::DevicePriority);
    let rival = rival(&writes, &stands, "a", (0, 7), Strategy::DevicePriority);
    assert_eq!(rival, Some(stamp(2, 40, 2)), "what it overwrote itself does not stand against it");
}

proptest! {
    /// However the writes fall, the list names for each field the write that came last.
    #[test]
    fn e4_the_list_always_names_the_last_writer(
        steps in prop::collection::vec((prop::collection::btree_set(select(vec!["a", "b", "c", "d"]), 1..4), 0_i64..4), 0..12),
        strategy in select(vec![Strategy::MostRecentWins, Strategy::DevicePriority]),
    ) {
        let mut stands = data(json!({"a": 1, "b": 1}));
        let mut writes = created(1, stamp(0, 50, 1), Vec::new());
        let mut last: std::collections::BTreeMap<&str, u64> = [("a", 1), ("b", 1)].into();
        for (version, (fields, priority)) in (2..).zip(&steps) {
            let names: Vec<&str> = fields.iter().copied().collect();
            take(&mut writes, write(version, stamp(0, *priority, 1), &names), &stands, strategy);
            for field in names {
                stands.insert(field.to_owned(), json!(version));
                last.insert(field, version);
            }
        }
        for (field, version) in last {
            for base in [version - 1, version] {
                let found = rival(&writes, &stands, field, (base, 2), Strategy::MostRecentWins);
                prop_assert_eq!(found.is_some(), base < version, "{} {}", field, base);
            }
        }
        prop_assert!(writes.iter().skip(1).all(|write| !write.fields.is_empty()));
        prop_assert!(writes.is_sorted_by_key(|write| write.version));
    }
}
