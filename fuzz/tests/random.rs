//! Tries each target with thousands of inputs made from samples: the golden frames, the definitions that
//! come with the hub, and what once made a target fail (`fuzz/findings`).
//!
//! The inputs are the same in each run; `SYNCHUB_FUZZ_INPUTS=1000000` tries that many of each,
//! `SYNCHUB_FUZZ_SEED=7` begins elsewhere. What fails is printed with the bytes that did it.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use synchub_fuzz::TARGETS;

/// How many inputs each target is tried with.
const INPUTS: u64 = 10_000;
/// The longest input; samples that are longer are cut.
const LONGEST: usize = 4096;

/// `SplitMix64`, by Sebastiano Vigna.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }
}

/// Bytes at which decoders turn: ends of ranges, markers of `MessagePack`, signs of JSON and base64.
const TURNS: &[u8] = b"\x00\x01\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc4\xc7\xca\xcb\xcf\xd3\xd9\xdb\xdc\xdd\xde\xdf\xff\x1f\x8b{}[]\",:.-_e0";

/// Changes an input in a few places.
fn change(input: &mut Vec<u8>, other: &[u8], chance: &mut Chance) {
    for _ in 0..=chance.below(4) {
        let at = chance.below(input.len() + 1);
        match chance.below(7) {
            0 => input.truncate(at),
            1 => input.insert(at, TURNS[chance.below(TURNS.len())]),
            2 if at < input.len() => input[at] = TURNS[chance.below(TURNS.len())],
            3 if at < input.len() => input[at] ^= 1 << chance.below(8),
            4 => {
                let (from, length) = (chance.below(other.len()), chance.below(64));
                let piece = other.iter().skip(from).take(length).copied();
                input.splice(at..at, piece);
            }
            5 => drop(input.drain(at..(at + chance.below(16)).min(input.len()))),
            _ => {
                let piece = input[at..(at + chance.below(32)).min(input.len())].to_vec();
                input.splice(at..at, piece);
            }
        }
        input.truncate(LONGEST);
    }
}

fn files(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().filter(|path| path.is_file()).map(|path| fs::read(path).unwrap()).collect()
}

fn samples(target: &str) -> Vec<Vec<u8>> {
    let more: &[&[u8]] = match target {
        "token" => &[
            br#"{"sub":"u","tenant":"t","role":"device","exp":1700000060}"#,
            br#"{"sub":"u","tenant":"t","role":"publisher","units":["a"],"domains":[],"exp":1.8e9,"nbf":0}"#,
            b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1IiwidGVuYW50IjoidCJ9.AAAA",
        ],
        "cursor" => &[b"\x02\x00\x04\x06\x01\x02abcdef\x00", b"AQIABAYBAmFiY2RlZgA"],
        "filter" => &[
            br#"{"status":"NEW","level":[1,2,3.5],"due":{"gte":"2026-01-01","lt":"2027"},"x":null}"#,
            br#"{"a":{"gte":1},"b":[true,null],"c":{}}"#,
        ],
        _ => &[],
    };
    let mut samples: Vec<Vec<u8>> = more.iter().map(|sample| sample.to_vec()).collect();
    samples.extend(match target {
        "definition" => files("../domains"),
        "client_frame" | "server_frame" | "gzip" => files("../protocol/golden/frames"),
        _ => Vec::new(),
    });
    samples
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect(variable))
}

/// Tries an input, and prints it if the target fails.
fn attempt(name: &str, target: fn(&[u8]), input: &[u8]) {
    if let Err(cause) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        eprintln!("{name} fails with \"{}\"", input.escape_ascii());
        resume_unwind(cause);
    }
}

fn random(name: &str) {
    let (_, target) = TARGETS.iter().find(|(target, _)| *target == name).unwrap();
    for finding in files(&format!("findings/{name}")) {
        attempt(name, *target, &finding);
    }
    let samples = samples(name);
    for sample in &samples {
        attempt(name, *target, sample);
    }
    let mut chance = Chance(number("SYNCHUB_FUZZ_SEED").unwrap_or(1));
    for _ in 0..number("SYNCHUB_FUZZ_INPUTS").unwrap_or(INPUTS) {
        let mut input = samples[chance.below(samples.len())].clone();
        let other = &samples[chance.below(samples.len())];
        change(&mut input, other, &mut chance);
        attempt(name, *target, &input);
    }
}

#[test]
fn any_bytes_may_come_as_a_clients_frame() {
    random("client_frame");
}

#[test]
fn any_bytes_may_come_as_a_hubs_frame() {
    random("server_frame");
}

#[test]
fn any_bytes_may_come_as_gzip() {
    random("gzip");
}

#[test]
fn c1_any_text_may_come_as_a_cursor() {
    random("cursor");
}

#[test]
fn any_text_may_come_as_a_token() {
    random("token");
}

#[test]
fn inv8_any_text_may_stand_in_a_definition() {
    random("definition");
}

#[test]
fn any_map_may_come_as_a_filter() {
    random("filter");
}

#[test]
fn every_target_is_tried_here() {
    assert_eq!(TARGETS.len(), 7, "a new target needs its test and its samples");
}
