//! Calls of the kernel behind safe types, and the only `unsafe` code. It decides nothing about jobs.
#![allow(unsafe_code)]

pub mod advice;
pub mod cgroup;
pub mod child;
pub mod clock;
mod clone;
pub mod confine;
pub mod detach;
pub mod dir;
pub mod fault;
pub mod flock;
pub mod front;
pub mod inotify;
pub mod lease;
pub mod limits;
pub mod notify;
pub mod ownership;
pub mod peer;
pub mod poll;
pub mod probe;
pub mod procfs;
pub mod random;
pub mod signals;
pub mod socket;
pub mod spawn;
pub mod spawning;
pub mod step;
pub mod terminal;
pub mod thread;
#[cfg(any(feature = "sqs", feature = "url"))]
pub mod trust;
pub mod unix_peer;
pub mod user;
pub mod wait;
pub mod written;
