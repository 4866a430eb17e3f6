//! Bytes that say how an image is damaged.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bento_hostile::image(data));
