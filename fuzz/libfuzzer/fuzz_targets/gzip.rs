//! `synchub_fuzz::gzip` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| synchub_fuzz::gzip(data));
