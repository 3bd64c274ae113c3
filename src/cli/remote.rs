//! The queues on other servers that commands name.

use super::exit::{BAD_CONFIG, BAD_DATA, Failure, NOT_NOW, USAGE};
use crate::core::config::remote_url::RemoteUrl;
use crate::remote::engine::Trouble;
#[cfg(feature = "redis")]
use crate::remote::redis::RedisSender;
use crate::remote::sender::{JobSender, NotSent};
use std::path::Path;

/// The sending side of the queue that `name` stands for: a URL, or a name in the settings.
pub fn sender(_spool: &Path, name: &str) -> Result<Box<dyn JobSender>, Failure> {
    let url = RemoteUrl::parse(name).map_err(|why| Failure::new(USAGE, why))?;
    match url {
        #[cfg(feature = "redis")]
        RemoteUrl::Redis(url) => Ok(Box::new(RedisSender::new(&url).map_err(failure)?)),
        #[cfg(not(feature = "redis"))]
        RemoteUrl::Redis(_) => Err(missing("Redis")),
        RemoteUrl::Sqs(_) => Err(missing("SQS")),
    }
}

fn missing(server: &str) -> Failure {
    let what = format!("this pirn was built without {server}");
    Failure::new(BAD_CONFIG, what)
}

/// A call that could not be made.
pub fn failure(trouble: Trouble) -> Failure {
    match trouble {
        Trouble::Unreachable(why) => Failure::new(NOT_NOW, why),
        Trouble::NoQueue(why) | Trouble::Refused(why) => Failure::new(BAD_CONFIG, why),
    }
}

/// A job that was not sent.
pub fn not_sent(why: NotSent) -> Failure {
    match why {
        NotSent::Body(why) => Failure::new(BAD_DATA, why),
        NotSent::Trouble(trouble) => failure(trouble),
    }
}
