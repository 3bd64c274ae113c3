//! From settings to an engine.

use super::engine::Engine;
use crate::core::config::remote::RemoteConfig;
use crate::core::config::remote_url::RemoteUrl;
use std::path::Path;

/// After this many receives a message of a queue that we make goes to the failed queue.
#[cfg(feature = "redis")]
const MAX_RECEIVES: u32 = 5;

/// The engine for these settings; it connects to nothing yet. `dir` is the directory of the bridge's leases. Errors: the
/// settings are wrong, or this program was built without the engine.
pub fn open(config: &RemoteConfig, dir: &Path) -> Result<Box<dyn Engine>, String> {
    match config.urls.first() {
        Some(RemoteUrl::Sqs(_)) => sqs(config),
        Some(RemoteUrl::Redis(_)) => redis(config, dir),
        None => Err("no url is given".to_owned()),
    }
}

#[cfg(feature = "redis")]
fn redis(config: &RemoteConfig, dir: &Path) -> Result<Box<dyn Engine>, String> {
    use super::redis::{RedisEngine, RedisTerms};
    let mut urls = Vec::new();
    for url in &config.urls {
        match url {
            RemoteUrl::Redis(url) => urls.push(url.clone()),
            RemoteUrl::Sqs(_) => return Err("SQS and Redis are two bridges".to_owned()),
        }
    }
    let terms = RedisTerms {
        lease: config.lease,
        max_receives: Some(MAX_RECEIVES),
    };
    let engine = RedisEngine::new(&urls, config.include_failed, terms, dir);
    engine
        .map(|engine| Box::new(engine) as Box<dyn Engine>)
        .map_err(|e| e.to_string())
}

#[cfg(not(feature = "redis"))]
fn redis(_: &RemoteConfig, _: &Path) -> Result<Box<dyn Engine>, String> {
    Err("this pirn was built without the feature redis".to_owned())
}

#[cfg(feature = "sqs")]
fn sqs(_: &RemoteConfig) -> Result<Box<dyn Engine>, String> {
    Err("not yet".to_owned())
}

#[cfg(not(feature = "sqs"))]
fn sqs(_: &RemoteConfig) -> Result<Box<dyn Engine>, String> {
    Err("this pirn was built without the feature sqs".to_owned())
}
