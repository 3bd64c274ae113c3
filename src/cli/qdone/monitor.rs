//! `monitor`: how many messages the queues of a pattern have.

use super::options::{Common, MonitorArgs};
use super::say::Say;
use super::trouble::QdoneError;
use crate::cli::output;
use crate::os::clock;
use crate::remote::sqs::caller::Patience;
use crate::remote::sqs::cloudwatch::{CloudWatch, Datum};
use crate::remote::sqs::error::SqsFault;
use crate::remote::sqs::queues::name_of;
use serde::Serialize;

/// The namespace of qdone's metrics.
const NAMESPACE: &str = "qmonitor";

/// The order of the fields is that of qdone.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Totals<'a> {
    total_queues: usize,
    contributing_queue_names: Vec<&'a str>,
    #[serde(rename = "ApproximateNumberOfMessages")]
    waiting: u64,
    #[serde(rename = "ApproximateNumberOfMessagesDelayed")]
    delayed: u64,
    #[serde(rename = "ApproximateNumberOfMessagesNotVisible")]
    leased: u64,
    queue_name: &'a str,
}

pub fn monitor(common: &Common, args: &MonitorArgs, say: Say) -> Result<(), QdoneError> {
    let [pattern] = &args.patterns[..] else {
        let what = "monitor requires one <pattern> argument, in quotes";
        return Err(QdoneError::Usage(what.to_owned()));
    };
    let (sqs, access) = common.clients()?;
    let prefix = pattern.split('*').next().unwrap_or_default();
    let mut urls = sqs.list_queues(prefix)?;
    urls.retain(|url| fits(pattern, name_of(url)));
    let mut totals = Totals {
        total_queues: urls.len(),
        contributing_queue_names: Vec::new(),
        waiting: 0,
        delayed: 0,
        leased: 0,
        queue_name: pattern,
    };
    for url in &urls {
        let counts = match sqs.counts(url) {
            // It was deleted meanwhile.
            Err(e) if e.fault == SqsFault::NoQueue => {
                totals.total_queues -= 1;
                continue;
            }
            counts => counts?,
        };
        if !counts.are_zero() {
            totals.contributing_queue_names.push(name_of(url));
        }
        totals.waiting += counts.waiting;
        totals.delayed += counts.delayed;
        totals.leased += counts.leased;
    }
    output::line(serde_json::to_string_pretty(&totals).map_err(super::trouble::other)?)?;
    if args.save {
        let at = clock::wall();
        let of = |name, value: u64| Datum {
            name,
            dimension: ("queueName", pattern),
            at,
            value: value as f64,
        };
        let contributing = totals.contributing_queue_names.len() as u64;
        let data = [
            of("totalQueues", totals.total_queues as u64),
            of("contributingQueueCount", contributing),
            of("ApproximateNumberOfMessages", totals.waiting),
            of("ApproximateNumberOfMessagesDelayed", totals.delayed),
            of("ApproximateNumberOfMessagesNotVisible", totals.leased),
        ];
        CloudWatch::new(&access, Patience::COMMAND)?.put(NAMESPACE, &data)?;
        say.step("Saving to CloudWatch...done");
    }
    Ok(())
}

/// True if `name` fits `pattern`, in which `*` stands for any characters.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut left) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, name, is_fit) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "a", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "acd", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("*_failed", "x_failed", true),
        ] {
            assert_eq!(fits(pattern, name), is_fit, "{pattern} {name}");
        }
    }
}
