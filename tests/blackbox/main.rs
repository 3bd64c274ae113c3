//! Black box: the real binary on a real spool in a temporary directory, looked at as a user would, with files.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod spool;
mod tools;

mod abuse;
mod basics;
mod bounds;
mod cli_add;
mod cli_look;
mod cli_run;
mod cli_steer;
mod config;
mod drops;
mod ends;
mod fields;
mod files;
mod hostile;
mod order;
mod record;
mod signals;
mod singletons;
mod steer;
mod steer_running;
mod storm;
mod surroundings;
mod workload;
mod writers;
