//! Bytes that stand for operations.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bento_hostile::operations(data));
