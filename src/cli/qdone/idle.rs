//! `idle-queues`.

use super::activity::QueueActivity;
use super::options::{Common, IdleArgs};
use super::resolve::{ResolvedQueue, resolve};
use super::say::Say;
use super::trouble::{QdoneError, in_short, other};
use crate::cli::output;
use crate::core::qdone_names::QueueNames;
use crate::core::time::Wall;
use crate::os::clock;
use crate::remote::sqs::caller::Patience;
use crate::remote::sqs::client::SqsClient;
use crate::remote::sqs::cloudwatch::CloudWatch;
use crate::remote::sqs::error::{SqsError, SqsFault};
use crate::remote::sqs::queues::name_of;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// So many queues are judged at a time.
const AT_A_TIME: usize = 8;

/// A queue sends, receives or holds messages if one of these has a sum that is not zero.
const METRICS: [&str; 7] = [
    "NumberOfMessagesSent",
    "NumberOfMessagesReceived",
    "NumberOfMessagesDeleted",
    "ApproximateNumberOfMessagesVisible",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateAgeOfOldestMessage",
];

pub fn idle_queues(common: &Common, args: &IdleArgs, say: Say) -> Result<(), QdoneError> {
    let usage = |what: &str| Err(QdoneError::Usage(what.to_owned()));
    if args.queues.is_empty() {
        return usage("idle-queues requires one or more <queue> arguments");
    }
    if args.include_failed && !args.unpair {
        return usage("--include-failed should be used with --unpair");
    }
    if args.idle_for < 5 {
        return usage("--idle-for must be at least 5 minutes (CloudWatch limitation)");
    }
    let (sqs, access) = common.clients()?;
    let names = common.names();
    say.step(&format!("Resolving queues: {}", args.queues.join(" ")));
    let mut queues = resolve(&sqs, &names, &args.queues, false, say)?;
    say.step("  done\n");
    queues.retain(|queue| args.include_failed || !names.is_failed(&queue.name));
    if queues.is_empty() {
        return Ok(());
    }
    say.step("Checking queues (in this order):");
    for ResolvedQueue { name, url } in &queues {
        say.step(&format!("  {name} - {url}"));
    }
    say.step("");
    let judge = Judge {
        sqs: &sqs,
        metrics: CloudWatch::new(&access, Patience::COMMAND)?,
        activity: QueueActivity::new(common, say)?,
        names,
        args,
        say,
        sqs_calls: AtomicUsize::new(0),
        metric_calls: AtomicUsize::new(0),
    };
    let verdicts = judge.all(&queues);
    let mut failed = 0;
    for (queue, verdict) in queues.iter().zip(verdicts) {
        match verdict {
            Ok(true) => output::line(&queue.name)?,
            Ok(false) => {}
            Err(e) => {
                failed += 1;
                say.error(&format!("{}: {}", queue.name, in_short(&e)));
            }
        }
    }
    let used = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    let (sqs_calls, metric_calls) = (used(&judge.sqs_calls), used(&judge.metric_calls));
    say.step(&format!(
        "Used {sqs_calls} SQS and {metric_calls} CloudWatch API calls."
    ));
    match failed {
        0 => Ok(()),
        n => Err(other(format!(
            "{n} of {} queues could not be judged",
            queues.len()
        ))),
    }
}

/// Judges queues, and deletes idle ones.
struct Judge<'a> {
    sqs: &'a SqsClient,
    metrics: CloudWatch,
    activity: QueueActivity,
    names: QueueNames,
    args: &'a IdleArgs,
    say: Say,
    sqs_calls: AtomicUsize,
    metric_calls: AtomicUsize,
}

impl Judge<'_> {
    /// True for each queue that is idle, in order.
    fn all(&self, queues: &[ResolvedQueue]) -> Vec<Result<bool, SqsError>> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            while let Some((at, queue)) = Some(next.fetch_add(1, Ordering::Relaxed))
                .and_then(|at| Some((at, queues.get(at)?)))
            {
                done.push((at, self.one(queue)));
            }
            done
        };
        let mut verdicts = thread::scope(|scope| {
            let workers = (0..AT_A_TIME.min(queues.len())).map(|_| scope.spawn(work));
            let workers: Vec<_> = workers.collect();
            let done = workers
                .into_iter()
                .flat_map(|worker| worker.join().unwrap_or_default());
            done.collect::<Vec<_>>()
        });
        verdicts.sort_by_key(|(at, _)| *at);
        verdicts.into_iter().map(|(_, verdict)| verdict).collect()
    }

    fn one(&self, queue: &ResolvedQueue) -> Result<bool, SqsError> {
        let mut both = vec![queue.clone()];
        if !self.args.unpair {
            both.push(ResolvedQueue {
                name: self.names.failed(&queue.name),
                url: self.names.failed(&queue.url),
            });
        }
        for queue in &both {
            if !self.is_idle(queue)? {
                return Ok(false);
            }
        }
        if self.args.delete {
            for queue in &both {
                if !self.delete(queue)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// True if it has no messages, and had none for as long as the options say. A queue that is gone is idle.
    fn is_idle(&self, queue: &ResolvedQueue) -> Result<bool, SqsError> {
        let ResolvedQueue { name, url } = queue;
        let minutes = self.args.idle_for;
        let has_messages = self.activity.has_messages(self.sqs, queue, &self.sqs_calls);
        match has_messages {
            Err(e) if e.fault == SqsFault::NoQueue => return Ok(true),
            Err(e) => return Err(e),
            Ok(true) => {
                self.say.step(&format!(
                    "Queue {name} has been active in the last {minutes} minutes."
                ));
                return Ok(false);
            }
            Ok(false) => {}
        }
        let end = clock::wall();
        let span = i64::from(minutes) * 60_000_000_000;
        let start = Wall(end.0.saturating_sub(span));
        for metric in METRICS {
            self.metric_calls.fetch_add(1, Ordering::Relaxed);
            if self.metrics.is_active(name_of(url), metric, start, end)? {
                self.say.step(&format!(
                    "Queue {name} has been active in the last {minutes} minutes."
                ));
                return Ok(false);
            }
        }
        self.say.step(&format!(
            "Queue {name} has been idle for the last {minutes} minutes."
        ));
        Ok(true)
    }

    /// Deletes a queue, if it has no messages even now.
    fn delete(&self, queue: &ResolvedQueue) -> Result<bool, SqsError> {
        let ResolvedQueue { name, url } = queue;
        self.sqs_calls.fetch_add(2, Ordering::Relaxed);
        match self.sqs.counts(url) {
            Err(e) if e.fault == SqsFault::NoQueue => return Ok(true),
            Err(e) => return Err(e),
            Ok(counts) if !counts.are_zero() => {
                self.say.error(&format!(
                    "{name} has got messages meanwhile; it is not deleted"
                ));
                return Ok(false);
            }
            Ok(_) => {}
        }
        match self.sqs.delete_queue(url) {
            Err(e) if e.fault != SqsFault::NoQueue => return Err(e),
            Ok(()) | Err(_) => {}
        }
        self.say.step(&format!("Deleted {name}"));
        Ok(true)
    }
}
