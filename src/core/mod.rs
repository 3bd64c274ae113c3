//! The pure layer: ids, times, the record, the config, retry policy and the scheduler.
//!
//! It touches no clock, file, process or thread; `tests/tidy.rs` checks that.
#![forbid(unsafe_code)]

pub mod busy;
pub mod config;
pub mod hex;
pub mod id;
pub mod json;
pub mod lease;
pub mod percent;
pub mod policy;
pub mod process;
pub mod progress;
pub mod qdone_names;
pub mod quote;
pub mod record;
pub mod retry;
pub mod sandbox;
pub mod scheduler;
pub mod select;
mod short;
pub mod time;
pub mod tokens;
pub mod units;
pub mod waiting;
pub mod waits;
pub mod warning;
