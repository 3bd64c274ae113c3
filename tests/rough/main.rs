//! Shortages of disk, inodes, descriptors and processes, and lost watches. By itself, so that no other test feels them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    dead_code
)]

#[path = "../blackbox/spool.rs"]
mod spool;
#[path = "../blackbox/strace.rs"]
mod strace;
#[path = "../blackbox/tools.rs"]
mod tools;

mod shortage;
mod watches;
