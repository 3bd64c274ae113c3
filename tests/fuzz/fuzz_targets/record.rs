//! See `bodies::record`.
#![no_main]

#[path = "../bodies.rs"]
mod bodies;
use pirn::{core, os};

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::record(data));
