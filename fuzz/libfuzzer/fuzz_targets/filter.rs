//! `synchub_fuzz::filter` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| synchub_fuzz::filter(data));
