//! Queues on SQS.

pub mod sigv4;
