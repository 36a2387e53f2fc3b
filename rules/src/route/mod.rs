//! stub
use crate::filter::Filters;
use crate::record::*;
use std::collections::HashMap;
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    Upsert,
    Remove,
    Delete,
}
pub fn verdict(_row: &LogRow, _s: &[Scope], _f: &Filters) -> Option<Delivery> {
    None
}
pub fn replay(_rows: &[&LogRow], _s: &[Scope], _f: &HashMap<DomainNo, Filters>) -> Vec<(usize, Delivery)> {
    vec![]
}
pub fn in_view(_v: &View, _s: &[Scope], _f: &Filters) -> bool {
    false
}
pub fn was_in_view(_h: &History, _v: &[u64], _s: &[Scope], _f: &Filters) -> bool {
    false
}
