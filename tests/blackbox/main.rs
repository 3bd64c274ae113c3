//! Black box: the real binary on a real spool in a temporary directory, looked at as a user would, with files.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod spool;
mod tools;

mod abuse;
mod bad_records;
mod basics;
mod batch;
mod bounds;
mod broken_disk;
mod cli_add;
mod cli_all;
mod cli_hold;
mod cli_ids;
mod cli_look;
mod cli_run;
mod cli_steer;
mod clocks;
mod config;
mod drops;
mod ends;
mod escape;
mod fields;
mod files;
mod groups;
mod hostile;
mod hostile_race;
mod hygiene;
mod kept;
mod lock;
mod odd_texts;
mod order;
mod parents;
mod record;
mod scratch;
mod signals;
mod singletons;
mod steer;
mod steer_down;
mod steer_running;
mod storm;
mod strace;
mod surroundings;
mod tries;
mod workload;
mod writers;
