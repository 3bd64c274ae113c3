//! How queues that are missing are made: with the attributes that qdone 2.0 gives them.

use super::options::Making;
use super::say::Say;
use crate::core::qdone_names::{QueueNames, is_fifo};
use crate::remote::sqs::queues::{QueueNews, QueuePlan};

/// A message that was received once and not deleted leaves its queue for the fail queue.
const MAIN_AFTER: u32 = 1;

/// The plan for a queue, with its fail queue, and with its dead queue if that is asked for.
pub fn plan(names: &QueueNames, name: &str, making: &Making) -> QueuePlan {
    let single = |name: &str| {
        let mut plan = QueuePlan::single(&names.full(name), is_fifo(name));
        let retention = making.message_retention_period.to_string();
        let retention = ("MessageRetentionPeriod".to_owned(), retention);
        plan.attributes.extend([retention]);
        plan.tags = making.tag.iter().cloned().collect();
        plan
    };
    let mut failed = single(&names.failed(name));
    if let Some(delay) = making.fail_delay {
        let delay = ("DelaySeconds".to_owned(), delay.to_string());
        failed.attributes.extend([delay]);
    }
    if making.dlq {
        failed.failed = Some((Box::new(single(&names.dead(name))), making.dlq_after));
    }
    // Nothing catches what fails in a fail queue but a dead queue.
    if name == names.failed(name) {
        return failed;
    }
    let mut main = single(name);
    main.failed = Some((Box::new(failed), MAIN_AFTER));
    main
}

/// Tells of a queue that is made.
pub fn tell(names: &QueueNames, say: Say, news: QueueNews<'_>) {
    match news {
        QueueNews::Creating(full) => {
            let name = names.short(full);
            let what = match (names.is_dead(name), names.is_failed(name)) {
                (true, _) => "dead letter queue",
                (false, true) => "fail queue",
                (false, false) => "queue",
            };
            say.step(&format!("Creating {what} {name}"));
        }
        QueueNews::Waiting(full) => {
            let name = names.short(full);
            say.error(&format!(
                "{name} was deleted just now; SQS makes it again within 61 seconds: waiting"
            ));
        }
    }
}
