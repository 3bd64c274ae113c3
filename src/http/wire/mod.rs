//! Connections, and the state that their threads share: topics that they wait for, who makes room, how near the stop
//! is.
//!
//! A connection thread blocks in reads and writes that have deadlines. While its handler waits, it sleeps on a
//! condition until another thread tells it of a change or of an end ([`waiter`]). A thread that blocks in a read or a
//! write is woken by shutting its socket down ([`link`]).

pub mod access;
pub mod connections;
pub mod events;
pub mod hub;
pub mod link;
pub mod listen;
pub mod outgoing;
pub mod peer;
pub mod permits;
pub mod shared;
pub mod stop;
pub mod waiter;
pub mod wake;
mod watches;
