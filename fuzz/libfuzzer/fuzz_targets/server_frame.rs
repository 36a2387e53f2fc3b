//! `synchub_fuzz::server_frame` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| synchub_fuzz::server_frame(data));
