//! pirn: a job queue that is a directory.
//!
//! `doc/ARCHITECTURE.md` is the map. The layers are the modules below, lowest first; each imports only from
//! those above it in this list, and `tests/tidy.rs` holds them to that.

// Pure: no clock, no file, no thread.
pub mod core;
// The kernel's rim, the only place with `unsafe`.
pub mod os;
// The protocol: the only writer of the spool.
pub mod spool;
// The threads.
pub mod daemon;
// The doors.
pub mod http;
// The command line, which opens the others.
pub mod cli;
