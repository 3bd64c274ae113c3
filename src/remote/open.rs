//! From settings to an engine.

use super::engine::Engine;
use crate::core::config::remote::RemoteConfig;
#[cfg(feature = "sqs")]
use crate::core::config::remote::ResultsTo;
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
fn sqs(config: &RemoteConfig) -> Result<Box<dyn Engine>, String> {
    use super::sqs::caller::{AwsAccess, AwsSettings};
    use super::sqs::engine::{QueueChoice, SqsEngine};
    use super::sqs::env::AwsEnv;
    let mut names = Vec::new();
    let mut places = Vec::new();
    for url in &config.urls {
        match url {
            RemoteUrl::Sqs(url) => {
                names.push(format!("{}{}", config.prefix, url.queue));
                places.push((url.region.clone(), url.endpoint.clone()));
            }
            RemoteUrl::Redis(_) => return Err("SQS and Redis are two bridges".to_owned()),
        }
    }
    places.dedup();
    let [(region, endpoint)] = places.as_slice() else {
        return Err("urls: each region and each endpoint is a bridge of its own".to_owned());
    };
    let settings = AwsSettings {
        region: region.clone().or_else(|| config.region.clone()),
        endpoint: endpoint.clone().or_else(|| config.endpoint.clone()),
        profile: config.profile.clone(),
        allow_http: config.allow_http,
    };
    let choice = QueueChoice {
        names,
        fail_suffix: config.fail_suffix.clone(),
        include_failed: config.include_failed,
        only_fifo: false,
        active_only: config.active_only,
        results: match &config.results {
            ResultsTo::Queue(name) => Some(name.clone()),
            ResultsTo::Nowhere | ResultsTo::Kept => None,
        },
    };
    let access = AwsAccess::new(&settings, &AwsEnv::of_process());
    let engine = SqsEngine::new(&access, choice).map_err(|e| e.to_string())?;
    Ok(Box::new(engine))
}

#[cfg(not(feature = "sqs"))]
fn sqs(_: &RemoteConfig) -> Result<Box<dyn Engine>, String> {
    Err("this pirn was built without the feature sqs".to_owned())
}
