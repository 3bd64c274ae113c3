//! See `bodies::config`.
#![no_main]

#[path = "../bodies.rs"]
mod bodies;
use pirn::{core, os};

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::config(data));
