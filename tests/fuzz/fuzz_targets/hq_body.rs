//! See `bodies::hq_body`.
#![no_main]

#[path = "../bodies.rs"]
mod bodies;

// What is compiled from its source looks for these at the root.
use pirn::{core, os};

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::hq_body(data));
