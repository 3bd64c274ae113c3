//! Queues on SQS.

pub mod caller;
pub mod client;
mod clock;
pub mod cloudwatch;
pub mod credentials;
pub mod endpoint;
pub mod engine;
pub mod env;
pub mod error;
mod form;
pub mod keys;
pub mod queues;
pub mod redrive;
pub mod sender;
pub mod signed;
pub mod sigv4;
pub mod transport;
mod url_cache;
pub mod wire;
mod xml;
