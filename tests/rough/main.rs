//! Shortages of disk, inodes, descriptors and processes, and lost watches. A test of its own, so that it disturbs no
//! other.
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
