//! Queues on SQS and Redis: the real binary against servers that stand in for AWS, and against Redis.
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

#[cfg(feature = "sqs")]
#[allow(dead_code)]
mod ask;
#[cfg(feature = "sqs")]
#[allow(dead_code)]
mod faults;
#[cfg(feature = "sqs")]
#[allow(dead_code)]
mod moto;
#[cfg(feature = "redis")]
#[allow(dead_code)]
mod redis_server;
#[cfg(feature = "sqs")]
mod sqs_model;

#[cfg(feature = "redis")]
mod bridge;
#[cfg(feature = "sqs")]
mod bridge_sqs;
#[cfg(all(feature = "redis", feature = "sqs"))]
mod crash_rig;
#[cfg(all(feature = "redis", feature = "sqs"))]
mod crash_table;
#[cfg(feature = "sqs")]
mod hostile;
#[cfg(feature = "sqs")]
mod qdone;
#[cfg(feature = "sqs")]
mod qdone_enqueue;
#[cfg(feature = "sqs")]
mod qdone_idle;
#[cfg(feature = "sqs")]
mod qdone_worker;
#[cfg(feature = "redis")]
mod redis_engine;
#[cfg(feature = "redis")]
mod redis_push;
#[cfg(feature = "redis")]
mod redis_round;
#[cfg(feature = "sqs")]
mod replay;
#[cfg(feature = "sqs")]
mod sqs_answers;
#[cfg(feature = "sqs")]
mod sqs_client;
#[cfg(feature = "sqs")]
mod sqs_cost;
#[cfg(feature = "sqs")]
mod sqs_credentials;
#[cfg(feature = "sqs")]
mod sqs_push;
#[cfg(feature = "sqs")]
mod sqs_signed;
#[cfg(feature = "sqs")]
mod stand_ins;
