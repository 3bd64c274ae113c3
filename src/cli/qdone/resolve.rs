//! The queues that names and patterns stand for.

use super::say::Say;
use super::trouble::in_short;
use crate::core::qdone_names::{QueueNames, is_fifo};
use crate::remote::sqs::client::SqsClient;
use crate::remote::sqs::error::{SqsError, SqsFault};
use crate::remote::sqs::queues::name_of;

/// A queue that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedQueue {
    /// Its name without the prefix.
    pub name: String,
    /// Its URL.
    pub url: String,
}

/// Finds the queues, in the order of the names, those of a pattern sorted. Names that do not exist are told and left
/// out. `only_fifo` leaves other queues out of patterns.
pub fn resolve(
    sqs: &SqsClient,
    names: &QueueNames,
    given: &[String],
    only_fifo: bool,
    say: Say,
) -> Result<Vec<ResolvedQueue>, SqsError> {
    let mut found: Vec<ResolvedQueue> = Vec::new();
    for given in given {
        let full = names.full(given);
        let urls = match full.strip_suffix('*') {
            Some(prefix) => sqs.list_queues(prefix)?,
            None => match sqs.queue_url(&full) {
                Ok(url) => vec![url],
                Err(e) if e.fault == SqsFault::NoQueue => {
                    say.bad_step(&format!("  {given} - {}", in_short(&e)));
                    continue;
                }
                Err(e) => return Err(e),
            },
        };
        let is_pattern = given.ends_with('*');
        for url in urls {
            let name = names.short(name_of(&url)).to_owned();
            let is_wanted = !(is_pattern && only_fifo) || is_fifo(&name);
            if is_wanted && !found.iter().any(|queue| queue.url == url) {
                found.push(ResolvedQueue { name, url });
            }
        }
    }
    Ok(found)
}
