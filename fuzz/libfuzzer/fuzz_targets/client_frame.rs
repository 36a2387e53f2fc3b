//! `synchub_fuzz::client_frame` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| synchub_fuzz::client_frame(data));
