//! `synchub_fuzz::token` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| synchub_fuzz::token(data));
