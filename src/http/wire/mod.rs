//! Connections, and what their threads share: who waits for what, who makes room, and how near the end is.
//!
//! A connection's thread blocks in reads and writes that have deadlines. While its handler waits, it sleeps until it is
//! told of a change, or others want it to end: [`waiter`]. A thread that blocks in a read or write is woken by shutting
//! its socket down: [`link`].

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
