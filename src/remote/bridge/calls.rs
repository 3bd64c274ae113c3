//! The thread that makes the calls about leases, one after the other.

use super::BridgePlan;
use super::judge;
use super::poll::{BridgeNews, Post, REFUSED_AGAIN, backoff};
use crate::core::config::remote::ResultsTo;
use crate::core::lease::{CallAnswer, CallEntry, CallKind, Lease, LeaseCall};
use crate::core::qdone_names::is_fifo;
use crate::os::clock;
use crate::remote::engine::{
    Engine, Extension, GivenBack, LeaseAnswer, LeaseKey, RemoteQueue, Trouble, WellEnded,
};
use crate::spool::Spool;
use std::sync::mpsc::Receiver;

/// The loop of the thread. It ends when nobody can send calls any more.
pub(super) fn make_calls(
    plan: &BridgePlan,
    engine: &dyn Engine,
    spool: &Spool,
    calls: &Receiver<LeaseCall>,
    post: &Post,
) {
    let mut failures = 0;
    for call in calls {
        let asked = clock::now().boot;
        let made = make(plan, engine, spool, &call);
        failures = match &made {
            Err(Trouble::Unreachable(why)) => {
                if failures == 0 {
                    log::warn!("{}: {why}", plan.name);
                }
                failures + 1
            }
            Ok(_) | Err(Trouble::NoQueue(_) | Trouble::Refused(_)) => 0,
        };
        let answers = call.entries.into_iter().enumerate();
        let answers = answers.map(|(i, entry)| {
            let answer = match &made {
                Ok(answers) => match answers.get(i) {
                    Some(LeaseAnswer::Done) => CallAnswer::Done,
                    Some(LeaseAnswer::Lost(why)) => CallAnswer::Lost(why.clone()),
                    Some(LeaseAnswer::Again(_)) | None => CallAnswer::Again(backoff(3)),
                },
                Err(Trouble::NoQueue(why)) => CallAnswer::Lost(why.clone()),
                Err(Trouble::Unreachable(_)) => CallAnswer::Again(backoff(failures)),
                Err(Trouble::Refused(why)) => {
                    log::error!("{}: {}: {why}", plan.name, entry.id);
                    CallAnswer::Again(REFUSED_AGAIN)
                }
            };
            (entry.id, entry.lease.receipt, answer)
        });
        let answers = answers.collect();
        post.send(BridgeNews::Answered { asked, answers });
    }
}

fn make(
    plan: &BridgePlan,
    engine: &dyn Engine,
    spool: &Spool,
    call: &LeaseCall,
) -> Result<Vec<LeaseAnswer>, Trouble> {
    let Some(first) = call.entries.first() else {
        return Ok(Vec::new());
    };
    let queue = queue_of(&first.lease);
    let key = |entry: &CallEntry| (entry.id.clone(), entry.lease.receipt.clone());
    let keys: Vec<_> = call.entries.iter().map(key).collect();
    let keys: Vec<LeaseKey<'_>> = keys
        .iter()
        .map(|(id, receipt)| LeaseKey { id, receipt })
        .collect();
    let result =
        |entry: &CallEntry| match plan.config.results != ResultsTo::Nowhere && entry.has_run {
            true => judge::result(spool, &entry.id),
            false => None,
        };
    let both = || keys.iter().copied().zip(&call.entries);
    match call.kind {
        CallKind::Extend => {
            let leases = both().map(|(key, entry)| Extension {
                key,
                lease: entry.span,
            });
            engine.extend(&queue, &leases.collect::<Vec<_>>())
        }
        CallKind::Ack => {
            let results: Vec<_> = call.entries.iter().map(result).collect();
            let ended = both().zip(&results).map(|((key, _), result)| WellEnded {
                key,
                result: result.as_deref(),
            });
            engine.ack(&queue, &ended.collect::<Vec<_>>())
        }
        CallKind::Nack => {
            let results: Vec<_> = call.entries.iter().map(result).collect();
            let given = both()
                .zip(&results)
                .map(|((key, entry), result)| GivenBack {
                    key,
                    delay: entry.span,
                    result: result.as_deref(),
                });
            engine.nack(&queue, &given.collect::<Vec<_>>())
        }
    }
}

fn queue_of(lease: &Lease) -> RemoteQueue {
    RemoteQueue {
        name: lease.queue.clone(),
        url: lease.url.clone(),
        max_receives: lease.max,
        lease: lease.fixed.then_some(lease.length),
        is_fifo: is_fifo(&lease.queue),
    }
}
