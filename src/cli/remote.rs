//! The queues on other servers that commands name.

use super::exit::{BAD_CONFIG, BAD_DATA, Failure, NOT_NOW};
use super::{pull, settings};
use crate::core::config::remote::RemoteConfig;
use crate::core::id::QueueName;
use crate::remote::engine::Trouble;
use crate::remote::open_sender;
use crate::remote::sender::{JobSender, NotSent};
use std::path::Path;

/// The sending side of the queue that `target` stands for, a URL or a name in the settings, and the settings.
pub fn sender(spool: &Path, target: &str) -> Result<(Box<dyn JobSender>, RemoteConfig), Failure> {
    let wrong = |what: String| Failure::new(BAD_CONFIG, what);
    let config = match pull::is_url(target) {
        true => RemoteConfig::of_url(pull::parse_url(target)?),
        false => {
            let name =
                QueueName::new(target).map_err(|e| wrong(format!("{target}: the name {e}")))?;
            let all = settings::read(spool).map_err(wrong)?;
            pull::named(&all, &name)?
        }
    };
    let sender = open_sender::open(&config)
        .map_err(|what| wrong(format!("{}: {what}", pull::shown(target, &config))))?;
    Ok((sender, config))
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
