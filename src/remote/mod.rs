//! Queues on other machines' servers. The engine, SQS or Redis, keeps the messages, their leases and the failed queues; a
//! bridge takes messages into the spool as jobs, by the spool's public protocol, and acknowledges those that have ended.

pub mod bridge;
pub mod engine;
pub mod open;
pub mod open_sender;
#[cfg(feature = "redis")]
pub mod redis;
pub mod sender;
#[cfg(feature = "sqs")]
pub mod sqs;
