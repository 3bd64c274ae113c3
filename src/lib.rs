//! pirn: a job queue that is a directory.
//!
//! `doc/ARCHITECTURE.md` is the map. The layers are the modules below, lowest first. Each imports only from those above
//! it in this list, which `tests/tidy.rs` checks.

// Pure code: no clock, no file, no thread.
pub mod core;
// Calls of the kernel, and the only `unsafe` code.
pub mod os;
// The protocol of the spool: only this layer writes its files.
pub mod spool;
// The daemon: the state of its jobs, and its threads.
pub mod daemon;
// The HTTP server.
pub mod http;
// Queues on other machines' servers.
pub mod remote;
// The command line.
pub mod cli;
