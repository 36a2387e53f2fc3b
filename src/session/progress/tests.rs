//! What is owed, and which cursor may say so, step by step.

use std::collections::HashMap;

use serde_json::json;
use synchub_protocol::client::Subscription;
use synchub_rules::domain;

use super::super::subscriptions::{Reach, Rights};
use super::*;
use crate::catalog::Catalog;

const TENANT: TenantNo = 1;
const EPOCH: u64 = 0;

fn subscriptions(wanted: &[(&str, i64)]) -> Subscriptions {
    let text =
        |name: &str| format!("name = \"{name}\"\nstrategy = \"client_wins\"\nvisibility = \"tenant\"\n");
    let files = ["a", "b", "c"].map(|name| (format!("{name}.toml"), text(name)));
    let definitions = domain::Catalog::default().load(files).unwrap();
    let numbers = HashMap::from([("a".to_owned(), 1), ("b".to_owned(), 2), ("c".to_owned(), 3)]);
    let catalog = Catalog::numbered(&definitions, &numbers);
    let sent = wanted.iter().map(|(domain, value)| Subscription {
        domain: (*domain).to_owned(),
        filter: json!({"f": value}).as_object().cloned(),
        priority: None,
    });
    let reach = Reach::Device { user: 7, unit: None };
    let rights = Rights { tenant: "acme", catalog: &catalog, domains: None, most: 64 };
    Subscriptions::default().with(sent.collect(), &reach, &rights).unwrap()
}

fn head(seq: u64) -> Head {
    Head { seq, time_us: i64::try_from(seq).unwrap() * 10 }
}

fn fresh(progress: &Progress) -> Option<DomainNo> {
    progress.next_page().map(|page| page.domain)
}

fn names(fresh: &[Fresh]) -> Vec<(&str, FreshReason)> {
    fresh.iter().map(|fresh| (fresh.domain.as_str(), fresh.reason)).collect()
}

/// A device that holds everything of `a` and `b` up to a place.
fn caught_up(at: u64) -> Cursor {
    let subscriptions = subscriptions(&[("a", 0), ("b", 0)]);
    let known = Known::Nothing(FreshReason::New);
    let (mut progress, _) = Progress::begin((TENANT, EPOCH, head(at)), known, &subscriptions);
    progress.snapshot_done();
    progress.snapshot_done();
    progress.cursor()
}

#[test]
fn c4_no_cursor_is_past_the_place_where_the_snapshots_began() {
    let subscriptions = subscriptions(&[("a", 0), ("b", 0)]);
    let known = Known::Nothing(FreshReason::New);
    let (mut progress, named) = Progress::begin((TENANT, EPOCH, head(5)), known, &subscriptions);
    assert_eq!(names(&named), [("a", FreshReason::New), ("b", FreshReason::New)]);
    progress.snapshot_sent((Scope::Tenant, 3));
    assert_eq!((progress.cursor().seq, progress.cursor().running.is_some()), (5, true));
    progress.advance(head(9));
    assert_eq!(progress.cursor().place(), head(5), "rows after P have to come again");
    progress.snapshot_done();
    assert_eq!((fresh(&progress), progress.cursor().covered.len()), (Some(2), 1));
    progress.snapshot_done();
    assert_eq!((fresh(&progress), progress.at()), (None, head(5)));
    progress.advance(head(9));
    assert_eq!((progress.cursor().place(), progress.cursor().running), (head(9), None));
}

#[test]
fn c4_a_broken_snapshot_goes_on_after_the_record_that_was_sent() {
    let subscriptions = subscriptions(&[("a", 0), ("b", 0)]);
    let known = Known::Nothing(FreshReason::New);
    let (mut progress, _) = Progress::begin((TENANT, EPOCH, head(5)), known, &subscriptions);
    progress.snapshot_done();
    progress.snapshot_sent((Scope::Party(4), 17));
    let cursor = progress.cursor();
    let (again, named) = Progress::begin((TENANT, EPOCH, head(30)), Known::Cursor(cursor), &subscriptions);
    assert_eq!(names(&named), [("b", FreshReason::New)]);
    let page = NextPage { domain: 2, after: Some((Scope::Party(4), 17)), begun: true };
    assert_eq!((again.next_page(), again.at()), (Some(page), head(5)));
}

#[test]
fn c4_records_that_were_only_passed_over_make_no_cursor_run() {
    let subscriptions = subscriptions(&[("a", 0)]);
    let known = Known::Nothing(FreshReason::New);
    let (mut progress, _) = Progress::begin((TENANT, EPOCH, head(5)), known, &subscriptions);
    progress.snapshot_passed((Scope::Tenant, 3));
    assert_eq!(progress.cursor().running, None, "the device has not been sent `first`");
    assert!(progress.next_page().is_some_and(|page| !page.begun && page.after.is_some()));
}

#[test]
fn c1_c3_a_domain_whose_filter_changed_is_fresh_and_the_others_go_on() {
    let subscriptions = subscriptions(&[("a", 0), ("b", 1), ("c", 0)]);
    let (progress, named) =
        Progress::begin((TENANT, EPOCH, head(30)), Known::Cursor(caught_up(5)), &subscriptions);
    assert_eq!(names(&named), [("b", FreshReason::Changed), ("c", FreshReason::New)]);
    assert_eq!((progress.at(), progress.cursor().covered.len()), (head(5), 1));
}

#[test]
fn c3_subscribing_begins_at_the_place_that_was_reached() {
    let (mut progress, _) = Progress::begin(
        (TENANT, EPOCH, head(30)),
        Known::Cursor(caught_up(5)),
        &subscriptions(&[("a", 0), ("b", 0)]),
    );
    progress.advance(head(8));
    let named = progress.subscribe(&subscriptions(&[("a", 0), ("c", 0)]));
    assert_eq!(names(&named), [("c", FreshReason::New)]);
    progress.advance(head(12));
    assert_eq!(progress.cursor().place(), head(8));
    progress.snapshot_done();
    assert_eq!((progress.at(), progress.cursor().covered.len()), (head(8), 2));
}

#[test]
fn c3_dropping_a_domain_that_was_still_fresh_goes_back_to_where_it_began() {
    let known = Known::Nothing(FreshReason::CursorInvalid);
    let (mut progress, named) =
        Progress::begin((TENANT, EPOCH, head(5)), known, &subscriptions(&[("a", 0), ("b", 0)]));
    assert_eq!(named[0].reason, FreshReason::CursorInvalid);
    progress.snapshot_done();
    progress.advance(head(9));
    assert!(progress.subscribe(&subscriptions(&[("a", 0)])).is_empty());
    assert_eq!((fresh(&progress), progress.at()), (None, head(5)));
}

#[test]
fn c3_below_the_horizon_everything_begins_anew_at_the_head() {
    let both = subscriptions(&[("a", 0), ("b", 0)]);
    let (mut progress, _) = Progress::begin((TENANT, EPOCH, head(30)), Known::Cursor(caught_up(5)), &both);
    let named = progress.start_over(head(40), &both);
    assert_eq!(names(&named), [("a", FreshReason::CursorExpired), ("b", FreshReason::CursorExpired)]);
    assert_eq!((progress.at(), progress.cursor().covered.len()), (head(40), 0));
}

#[test]
fn inv5_the_place_never_goes_back() {
    let (mut progress, _) =
        Progress::begin((TENANT, EPOCH, head(30)), Known::Cursor(caught_up(5)), &subscriptions(&[("a", 0)]));
    progress.advance(head(9));
    progress.advance(head(7));
    assert_eq!(progress.at(), head(9));
}

#[test]
fn c2_inv5_no_cursor_is_past_what_waits() {
    let (mut progress, _) =
        Progress::begin((TENANT, EPOCH, head(5)), Known::Cursor(caught_up(5)), &subscriptions(&[("a", 0)]));
    progress.advance(head(7));
    progress.hold(8, head(7));
    progress.hold(9, head(8));
    progress.advance(head(12));
    assert_eq!((progress.at(), progress.cursor().place(), progress.is_held()), (head(12), head(7), true));
    progress.release(8);
    assert_eq!(progress.place(), head(8));
    assert!(!progress.subscribe(&subscriptions(&[("a", 0), ("c", 0)])).is_empty());
    progress.snapshot_done();
    assert_eq!((progress.at(), progress.place()), (head(12), head(8)), "a snapshot begins where it is");
    progress.release(9);
    assert_eq!((progress.place(), progress.is_held()), (head(12), false));
}

#[test]
fn p2_pushes_up_to_the_head_at_hello_are_owed_apart_and_each_is_taken_once() {
    let (mut progress, _) =
        Progress::begin((TENANT, EPOCH, head(30)), Known::Cursor(caught_up(5)), &subscriptions(&[("a", 0)]));
    let taken: Vec<_> = [6, 30, 31, 31, 33, 32].map(|seq| progress.take_push(seq)).to_vec();
    assert_eq!(taken, [false, false, true, false, true, false]);
    assert_eq!(progress.pushed(), 33);
}

#[test]
fn c2_c9_no_cursor_is_past_what_is_held_back_and_a_catch_up_goes_back_to_it() {
    let two = subscriptions(&[("a", 0), ("b", 0)]);
    let (mut progress, _) = Progress::begin((TENANT, EPOCH, head(9)), Known::Cursor(caught_up(5)), &two);
    progress.advance(head(6));
    progress.delay(head(6));
    progress.advance(head(8));
    progress.delay(head(7));
    assert_eq!((progress.at(), progress.place(), progress.is_held()), (head(8), head(6), true));
    progress.hold(6, head(5));
    assert_eq!(progress.cursor().place(), head(5), "a push that waits stands before it");
    progress.release(6);
    let three = subscriptions(&[("a", 0), ("b", 0), ("c", 0)]);
    assert_eq!(names(&progress.subscribe(&three)), [("c", FreshReason::New)]);
    assert_eq!(progress.cursor().place(), head(6), "while it is held back");
    progress.go_back();
    assert_eq!((progress.cursor().place(), progress.is_delayed()), (head(6), false));
    progress.snapshot_done();
    assert_eq!((progress.at(), progress.place()), (head(6), head(6)), "the replay brings it");
    progress.advance(head(9));
    progress.go_back();
    assert_eq!(progress.at(), head(9), "nothing is held back any more");
}
