//! `synchub_fuzz::definition` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| synchub_fuzz::definition(data));
