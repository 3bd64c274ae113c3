//! HTTP/1.1 messages as bytes and as values, without sockets.

pub mod body;
pub mod head;
pub mod headers;
pub mod method;
pub mod problem;
pub mod response;
pub mod send;
mod target;

pub use target::MAX_TARGET;
