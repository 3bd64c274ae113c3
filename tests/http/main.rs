//! The HTTP door from outside: the real binary, real sockets, and clients that do not always behave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../blackbox/spool.rs"]
#[allow(dead_code)]
mod spool;
#[path = "../blackbox/strace.rs"]
#[allow(dead_code)]
mod strace;
#[path = "../blackbox/tools.rs"]
#[allow(dead_code)]
mod tools;

mod browser;
mod client;
mod worker;

mod about;
mod abuse;
mod batch;
mod callbacks;
mod calls;
mod calls_hostile;
mod calls_tls;
mod crowd;
mod guesses;
mod hq;
mod interruptions;
mod jobrunner;
mod jobs;
mod logs;
mod odd_requests;
mod openapi;
mod parameters;
mod peers;
mod progress;
mod qmd;
mod refusals;
mod rights;
mod sandboxes;
mod shares;

mod steer;
mod strangers;
mod tries;
mod ui;
mod ui_page;
mod watch;
mod wire;
