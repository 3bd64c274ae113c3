//! From settings to the sending side of a queue.

use super::sender::JobSender;
use crate::core::config::remote::RemoteConfig;
#[cfg(feature = "redis")]
use crate::core::config::remote_url::RedisUrl;
use crate::core::config::remote_url::RemoteUrl;
#[cfg(feature = "sqs")]
use crate::core::config::{remote::ResultsTo, remote_url::SqsUrl};

/// The sending side of the one queue in these settings; it connects to nothing yet. Errors: the settings are wrong, or
/// this program was built without the engine.
pub fn open(config: &RemoteConfig) -> Result<Box<dyn JobSender>, String> {
    match config.urls.as_slice() {
        [RemoteUrl::Redis(url)] => redis(url),
        [RemoteUrl::Sqs(url)] => sqs(config, url),
        several => Err(format!(
            "there are {} queues; name the one to send to by its URL",
            several.len()
        )),
    }
}

#[cfg(feature = "redis")]
fn redis(url: &RedisUrl) -> Result<Box<dyn JobSender>, String> {
    let sender = super::redis::RedisSender::new(url).map_err(|e| e.to_string())?;
    Ok(Box::new(sender))
}

#[cfg(not(feature = "redis"))]
fn redis<T>(_: &T) -> Result<Box<dyn JobSender>, String> {
    Err("this pirn was built without the feature redis".to_owned())
}

#[cfg(feature = "sqs")]
fn sqs(config: &RemoteConfig, url: &SqsUrl) -> Result<Box<dyn JobSender>, String> {
    use super::sqs::caller::{AwsAccess, AwsSettings};
    use super::sqs::env::AwsEnv;
    use super::sqs::sender::SqsSender;
    if url.queue.ends_with('*') {
        return Err("a job is sent to one queue, whose name has no * at its end".to_owned());
    }
    let settings = AwsSettings {
        region: url.region.clone().or_else(|| config.region.clone()),
        endpoint: url.endpoint.clone().or_else(|| config.endpoint.clone()),
        profile: config.profile.clone(),
        allow_http: config.allow_http,
    };
    let access = AwsAccess::new(&settings, &AwsEnv::of_process());
    let name = format!("{}{}", config.prefix, url.queue);
    let results = match &config.results {
        ResultsTo::Queue(name) => Some(name.clone()),
        ResultsTo::Nowhere | ResultsTo::Kept => None,
    };
    let sender = SqsSender::new(&access, &name, &config.fail_suffix, results);
    Ok(Box::new(sender.map_err(|e| e.to_string())?))
}

#[cfg(not(feature = "sqs"))]
fn sqs<T>(_: &RemoteConfig, _: &T) -> Result<Box<dyn JobSender>, String> {
    Err("this pirn was built without the feature sqs".to_owned())
}
