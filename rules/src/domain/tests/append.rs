//! Append-only lists (E9): the laws of the union.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::domain::append::merge;
use crate::domain::tests::parcel;

#[test]
fn e9_new_ids_join_at_the_end_and_the_first_content_stays() {
    let standing = json!([{"id": 1, "t": "a"}, {"id": "1", "t": "b"}]);
    let sent = json!([{"id": 2, "t": "c"}, {"id": 1, "t": "other"}, {"id": 2, "t": "late"}]);
    let merged = json!([{"id": 1, "t": "a"}, {"id": "1", "t": "b"}, {"id": 2, "t": "c"}]);
    assert_eq!(merge(Some(&standing), &sent), merged);
    assert_eq!(parcel("").merge_append(Some(&standing), &sent), merged);
}

#[test]
fn e9_nothing_is_removed_by_null_or_by_what_has_no_id() {
    let standing = json!([{"id": 1}, "from before the list was declared"]);
    for sent in [Value::Null, json!([]), json!(["x", {"t": 1}, {"id": null}]), json!({"id": 2})] {
        assert_eq!(merge(Some(&standing), &sent), standing, "{sent}");
    }
    assert_eq!(merge(None, &Value::Null), Value::Null);
    assert_eq!(merge(None, &json!([])), json!([]));
    assert_eq!(merge(Some(&json!("no list")), &json!([{"id": 1}])), json!([{"id": 1}]));
}

fn list() -> impl Strategy<Value = Value> {
    let id = prop_oneof![(0..6i64).prop_map(|n| json!(n)), "[0-3]".prop_map(|text| json!(text))];
    let element = (id, 0..4u8).prop_map(|(id, content)| json!({"id": id, "content": content}));
    prop::collection::vec(element, 0..8).prop_map(Value::Array)
}

fn ids(list: &Value) -> Vec<&Value> {
    let mut ids: Vec<&Value> = Vec::new();
    for element in list.as_array().unwrap() {
        if !ids.contains(&&element["id"]) {
            ids.push(&element["id"]);
        }
    }
    ids
}

proptest! {
    #[test]
    fn e9_sending_a_list_again_changes_nothing(standing in list(), sent in list()) {
        let once = merge(Some(&standing), &sent);
        prop_assert_eq!(merge(Some(&once), &sent), once.clone());
        prop_assert_eq!(merge(Some(&once), &standing), once.clone());
        prop_assert_eq!(merge(Some(&once), &once), once);
    }

    #[test]
    fn e9_what_stands_stays_in_front_as_it_is(standing in list(), sent in list()) {
        let merged = merge(Some(&standing), &sent);
        let standing = standing.as_array().unwrap();
        prop_assert_eq!(&merged.as_array().unwrap()[..standing.len()], &standing[..]);
    }

    #[test]
    fn e9_each_id_comes_once_in_the_order_it_was_first_seen(first in list(), second in list()) {
        let standing = merge(None, &first);
        let merged = merge(Some(&standing), &second);
        let both = Value::Array([&first, &second].iter().flat_map(|list| list.as_array().unwrap().clone()).collect());
        prop_assert_eq!(ids(&merged), ids(&both));
        prop_assert_eq!(merged.as_array().unwrap().len(), ids(&both).len());
        for element in merged.as_array().unwrap() {
            let original = both.as_array().unwrap().iter().find(|other| other["id"] == element["id"]);
            prop_assert_eq!(Some(element), original);
        }
    }

    #[test]
    fn e9_lists_may_come_in_any_cut(standing in list(), first in list(), second in list()) {
        let stepwise = merge(Some(&merge(Some(&standing), &first)), &second);
        let at_once = merge(Some(&standing), &merge(Some(&first), &second));
        prop_assert_eq!(stepwise, at_once);
    }
}
