//! Slots and tokens: who has how many, and for whom those that are free are kept.

use super::actions::ensure;
use super::{Belief, Checked, Checker, is_beside};
use pirn::core::id::JobId;
use pirn::core::time::Now;
use pirn::core::tokens::{Supply, TokenName, Units};
use std::collections::BTreeSet;

impl Checker {
    fn total(&self, token: &TokenName) -> usize {
        self.policy
            .config
            .tokens
            .get(token)
            .map_or(0, Supply::total)
    }

    fn is_listed(&self, token: &TokenName) -> bool {
        matches!(
            self.policy.config.tokens.get(token),
            Some(Supply::Listed(_))
        )
    }

    fn users(&self, token: &TokenName) -> impl Iterator<Item = &Belief> {
        let uses = move |b: &&Belief| b.runs() && b.ticket.demand.uses.contains_key(token);
        self.jobs.values().filter(uses)
    }

    fn in_use(&self, token: &TokenName) -> usize {
        self.users(token)
            .map(|b| b.ticket.demand.uses[token] as usize)
            .sum()
    }

    fn free(&self, token: &TokenName) -> usize {
        let named = |b: &Belief| b.units.get(token).map_or(0, Vec::len);
        let unclear = |b: &Belief| named(b) < b.ticket.demand.uses[token] as usize;
        match self.is_listed(token) && self.users(token).any(unclear) {
            true => 0,
            false => self.total(token).saturating_sub(self.in_use(token)),
        }
    }

    /// True if there is as much in all as the job asks for.
    pub(super) fn fits(&self, b: &Belief) -> bool {
        let queue = &b.ticket.queue;
        let uses = &b.ticket.demand.uses;
        (is_beside(queue) || b.weight() <= self.policy.slots)
            && self.queue_slots(queue).is_none_or(|n| b.weight() <= n)
            && uses
                .iter()
                .all(|(token, n)| *n as usize <= self.total(token))
    }

    /// No more tokens than there are, and no unit twice.
    pub(super) fn judge_tokens(&self, id: &JobId, units: &Units) -> Checked {
        let uses = &self.jobs[id].ticket.demand.uses;
        for (token, n) in uses {
            let n = *n as usize;
            ensure(n + self.in_use(token) <= self.total(token), || {
                format!("start of {id}: more than all tokens {token}")
            })?;
            let given = units.get(token).map_or(&[][..], Vec::as_slice);
            let right = if self.is_listed(token) { n } else { 0 };
            ensure(given.len() == right, || {
                format!(
                    "start of {id}: {} units of {token} instead of {right}",
                    given.len()
                )
            })?;
            let held = self
                .users(token)
                .filter_map(|b| b.units.get(token))
                .flatten();
            let all: Vec<_> = held.chain(given).collect();
            let is_held = |unit| all.iter().filter(|other| **other == unit).count() > 1;
            ensure(!given.iter().any(is_held), || {
                format!("start of {id}: {given:?} of {token} is another job's")
            })?;
            ensure(right == 0 || n <= self.free(token), || {
                format!("start of {id}: a unit of {token} is another job's, nobody knows which")
            })?;
        }
        ensure(units.keys().all(|token| uses.contains_key(token)), || {
            format!("start of {id}: it has not asked for {units:?}")
        })
    }

    /// The jobs that lack nothing but slots. Those that use tokens get them in their order, and leave what they cannot use
    /// yet to nobody behind them. Of jobs that are alike, those behind the first are left out. `of` counts as ready.
    pub(super) fn entitled(&self, of: &Belief, now: Now) -> BTreeSet<JobId> {
        let ready = |b: &&Belief| {
            let is_ready = b.ticket.id == of.ticket.id || self.ready(b, now);
            is_ready && self.fits(b) && self.is_served(&b.ticket.queue)
        };
        let mut ready: Vec<&Belief> = self.jobs.values().filter(ready).collect();
        ready.sort_by_key(|b| (-b.ticket.priority, b.rank()));
        let mut kept: Vec<(&TokenName, usize)> = Vec::new();
        let mut alike = Vec::new();
        let mut entitled = BTreeSet::new();
        for b in ready {
            let kind = (&b.ticket.queue, &b.ticket.demand);
            if alike.contains(&kind) {
                continue;
            }
            alike.push(kind);
            let uses = &b.ticket.demand.uses;
            let kept_of = |token: &TokenName| -> usize {
                kept.iter()
                    .filter(|(of, _)| *of == token)
                    .map(|(_, n)| n)
                    .sum()
            };
            if uses
                .iter()
                .all(|(token, n)| kept_of(token) + *n as usize <= self.free(token))
            {
                entitled.insert(b.ticket.id.clone());
            }
            kept.extend(uses.iter().map(|(token, n)| (token, *n as usize)));
        }
        entitled
    }

    /// The jobs that compete for the next slot. Each queue has one, for which the queue's slots are kept; if that one lacks
    /// some, the queue has none. `of` counts as ready; if it is a callback,
    /// others count only if they can be started.
    pub(super) fn rivals(&self, of: &Belief, now: Now) -> Vec<&Belief> {
        let entitled = self.entitled(of, now);
        let jobs: Vec<&Belief> = entitled.iter().map(|id| &self.jobs[id]).collect();
        let is_first = |b: &&Belief| {
            let key = |b: &Belief| (-b.ticket.priority, b.rank());
            !jobs
                .iter()
                .any(|other| other.ticket.queue == b.ticket.queue && key(other) < key(b))
        };
        let mut firsts: Vec<&Belief> = jobs.iter().copied().filter(is_first).collect();
        firsts.retain(|b| self.has_room(b));
        // The one among those of the shared slots whose turn it is may lack some: then they are kept for it.
        let turn = |b: &&&Belief| {
            (
                -b.ticket.priority,
                self.served.get(&b.ticket.queue).copied().unwrap_or(0),
            )
        };
        let shared = || firsts.iter().filter(|b| !is_beside(&b.ticket.queue));
        let best = shared().map(|b| turn(&b)).min();
        let mut next = shared().filter(|b| Some(turn(b)) == best);
        if is_beside(&of.ticket.queue) && next.any(|b| !self.has_slots(b)) {
            firsts.retain(|b| is_beside(&b.ticket.queue));
        }
        firsts
    }

    /// True if another job may be ready or not, and slots or tokens may be kept for it or not.
    pub(super) fn is_unsure(&self, of: &Belief, now: Now) -> bool {
        let demanding = |b: &Belief| b.weight() > 1 || !b.ticket.demand.uses.is_empty();
        // The clock may have been set back behind a date that has come.
        let may_be_ready = |b: &Belief| {
            b.due.is_none_or(|at| at <= now.boot)
                && b.ticket.not_before.is_none_or(|at| at <= self.latest)
                && self.first_of_group(b)
        };
        let is_unsure = |b: &Belief| {
            b.waits()
                && b.passed
                && b.ticket.id != of.ticket.id
                && !self.ready(b, now)
                && may_be_ready(b)
                && demanding(b)
        };
        self.jobs.values().any(is_unsure)
    }

    /// True if it is surely the turn of this job or of another one that can be started.
    pub(super) fn would_start(&self, b: &Belief, now: Now) -> bool {
        if self.is_unsure(b, now) {
            return false;
        }
        let rivals = self.rivals(b, now);
        let is_rival = rivals.iter().any(|rival| rival.ticket.id == b.ticket.id);
        let served = |b: &Belief| self.served.get(&b.ticket.queue).copied().unwrap_or(0);
        let turn = |b: &Belief| (-b.ticket.priority, served(b));
        let mut ahead = rivals
            .iter()
            .filter(|rival| !is_beside(&rival.ticket.queue) && turn(rival) <= turn(b));
        is_rival && (is_beside(&b.ticket.queue) || ahead.all(|rival| self.has_slots(rival)))
    }
}
