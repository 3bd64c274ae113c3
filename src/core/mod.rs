//! The pure layer: ids, times, the record, the config, retry policy and the scheduler.
//!
//! Nothing in here touches a clock, a file, a process or a thread; `tests/tidy.rs` holds it to that.
#![forbid(unsafe_code)]

pub mod config;
pub mod id;
pub mod json;
pub mod policy;
pub mod process;
pub mod quote;
pub mod record;
pub mod retry;
pub mod scheduler;
mod short;
pub mod time;
pub mod units;
