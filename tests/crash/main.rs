//! Crashes: the real binary is killed at system calls (`kill`), leaves running jobs behind (`adopt`), and loses its
//! file system (`cut`). After each crash the real binary recovers, and `audit` looks for broken promises.
//!
//! Every rung prints its cases and the broken promises, and has negative controls: with one step left out
//! (`PIRN_FAULTS`), it must find something. Needs root, strace, flock, xfs_io, mkfs.xfs and loop devices; if something
//! is missing, a line that begins with `skipped:` says so.
//!
//! `PIRN_CUTS` sets the number of cuts of each file system (15), `PIRN_POINTS` the number of points at which each
//! system call kills the daemon (12), `PIRN_SEED` the moments chosen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod audit;
mod host;
mod image;
mod ledger;
mod load;
mod rig;

#[cfg(feature = "sqs")]
#[path = "../remote/ask.rs"]
#[allow(dead_code)]
mod ask;
#[cfg(feature = "sqs")]
#[path = "../remote/faults.rs"]
#[allow(dead_code)]
mod faults;
#[cfg(feature = "sqs")]
#[path = "../remote/sqs_model.rs"]
mod sqs_model;

mod adopt;
mod adopt_steer;
mod cut;
mod cut_controls;
#[cfg(feature = "sqs")]
mod cut_leases;
mod kill;
mod kill_archive;
mod kill_cli;
mod kill_controls;
mod kill_follow;
mod kill_front;
