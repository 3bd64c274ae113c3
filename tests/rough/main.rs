//! Shortages of disk, inodes, descriptors and processes, and lost watches. By itself, and not part of `cargo test`:
//! it lowers limits of the whole machine for moments, which other tests would feel, and some of it still depends on
//! how fast the machine is. Run with `cargo test --test rough -- --test-threads 1`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, dead_code)]

#[path = "../blackbox/spool.rs"]
mod spool;
#[path = "../blackbox/tools.rs"]
mod tools;

mod shortage;
mod watches;
