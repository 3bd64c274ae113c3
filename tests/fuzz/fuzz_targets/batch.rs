//! See `bodies::batch_lines`.
#![no_main]

#[path = "../bodies.rs"]
mod bodies;

// The source that is compiled in imports these from the root.
use pirn::{core, os};

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::batch_lines(data));
