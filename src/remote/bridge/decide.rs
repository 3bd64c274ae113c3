//! The thread that decides: it takes in all news, steps the table of leases, and does what that asks for.

use super::look::SpoolMoves;
use super::openness::openness;
use super::poll::{BridgeNews, Grants};
use super::resume::resume;
use super::{BridgeError, BridgeObserver, BridgePlan, BridgeStop, LookUp};
use crate::core::config::Config;
use crate::core::config::remote::{AckWhen, OnLost};
use crate::core::id::JobId;
use crate::core::lease::{CallAnswer, LeaseCall, LeaseEvent, LeaseTable, LeaseTerms};
use crate::core::time::Boot;
use crate::os::{clock, poll::Poller, procfs};
use crate::remote::engine::{Engine, RemoteQueue, Trouble};
use crate::spool::{LeaseDir, Spool};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

/// Numbers for the poller.
const INOTIFY: u64 = 0;
const WAKER: u64 = 1;

/// A look at everything that no watch reports, and that one may have missed.
const LOOK_ROUND: Duration = Duration::from_secs(60);

/// How long a bridge that leaves waits for the server.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// While messages come, the room in the spool is looked at again after this time.
const OPENNESS_HOLDS: Duration = Duration::from_secs(1);

/// The state of the thread.
pub(super) struct Decider<'a> {
    pub(super) plan: &'a BridgePlan,
    pub(super) engine: &'a dyn Engine,
    pub(super) spool: &'a Spool,
    pub(super) dir: &'a LeaseDir,
    pub(super) stop: &'a BridgeStop,
    pub(super) observer: &'a dyn BridgeObserver,
    pub(super) grants: &'a Grants,
    pub(super) caller: Sender<LeaseCall>,
    pub(super) moves: SpoolMoves<'a>,
    pub(super) poller: Poller,
    pub(super) table: LeaseTable,
    /// Records that are still to be dropped.
    pub(super) records: BTreeMap<JobId, String>,
    pub(super) boot: String,
    pub(super) config: Config,
    /// Why no messages are asked for now.
    pub(super) closed: Option<String>,
    /// Jobs that the spool would take, when it was last looked at.
    pub(super) spool_room: usize,
    pub(super) looked_at: Boot,
    pub(super) next_round: Boot,
    /// Messages that were refused, and leases that were lost.
    pub(super) counts: [u64; 2],
    /// True once the queues were found.
    pub(super) has_queues: bool,
    /// True until the engine has been told what an earlier process has left.
    pub(super) is_starting: bool,
    pub(super) calls_under_way: usize,
    /// True once the end was asked for.
    pub(super) is_stopping: bool,
    /// Calls that fail are not repeated after this time, if the bridge leaves.
    pub(super) leave_by: Boot,
}

impl<'a> Decider<'a> {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn new(
        plan: &'a BridgePlan,
        engine: &'a dyn Engine,
        spool: &'a Spool,
        dir: &'a LeaseDir,
        stop: &'a BridgeStop,
        observer: &'a dyn BridgeObserver,
        grants: &'a Grants,
        caller: Sender<LeaseCall>,
    ) -> Result<Self, BridgeError> {
        let moves = SpoolMoves::new(spool, plan, dir)?;
        let poller = Poller::new()?;
        poller.add(moves.watcher(), INOTIFY)?;
        poller.add(stop.waker(), WAKER)?;
        let config = &plan.config;
        let table = LeaseTable::new(LeaseTerms {
            most: plan.slots + config.prefetch,
            prefetch: config.prefetch,
            lease_max: config.lease_max,
            longest_hold: engine.longest_hold(),
            needs: plan.needs,
            accepted: config.ack == AckWhen::Accepted,
            cancel_lost: config.on_lost == OnLost::Cancel,
        });
        let counts = dir.counts()?;
        let count = |key: &str| {
            let value: Option<serde_json::Value> = serde_json::from_str(&counts).ok();
            value.and_then(|v| v.get(key)?.as_u64()).unwrap_or(0)
        };
        let mut decider = Self {
            plan,
            engine,
            spool,
            dir,
            stop,
            observer,
            grants,
            caller,
            moves,
            poller,
            table,
            records: BTreeMap::new(),
            boot: procfs::boot_id(),
            config: Config::default(),
            closed: None,
            spool_room: 0,
            looked_at: Boot(0),
            next_round: Boot(0),
            counts: [count("refused"), count("lost")],
            has_queues: false,
            is_starting: true,
            calls_under_way: 0,
            is_stopping: false,
            leave_by: Boot(u64::MAX),
        };
        decider.look_at_openness();
        Ok(decider)
    }

    /// Runs until told to stop, or drained.
    pub(super) fn run(&mut self, inbox: &Receiver<BridgeNews>) -> Result<(), BridgeError> {
        let left = resume(
            self.plan,
            &self.config,
            self.spool,
            self.dir,
            &self.boot,
            clock::now(),
        )?;
        for event in left {
            if let LeaseEvent::Resumed { id, seen, .. } = &event {
                log::info!("{}: {id}: taken up again ({seen:?})", self.plan.name);
            }
            self.step(event)?;
        }
        self.dir.note_boot(&self.boot)?;
        self.next_round = clock::now().boot.after(LOOK_ROUND);
        self.grant(0);
        loop {
            if self.is_over() {
                return Ok(());
            }
            let now = clock::now().boot;
            if self.stop.is_leaving() && self.leave_by == Boot(u64::MAX) {
                self.leave_by = now.after(LEAVE_WITHIN);
            }
            let due = self.table.due().unwrap_or(self.next_round);
            let leave = Some(self.leave_by).filter(|at| *at > now);
            let next = due.min(self.next_round);
            let longest = leave.map_or(next, |at| at.min(next)).since(now);
            for number in self.poller.wait(Some(longest))? {
                match number {
                    WAKER => self.stop.waker().clear(),
                    _ => self.take_in_moves()?,
                }
            }
            while let Ok(news) = inbox.try_recv() {
                self.take_in(news)?;
            }
            if self.stop.is_told() && !self.is_stopping {
                self.is_stopping = true;
                if !self.stop.is_leaving() {
                    self.step(LeaseEvent::Stop)?;
                }
                self.grant(0);
                self.grants.stop();
            }
            let now = clock::now().boot;
            if now >= self.next_round {
                self.next_round = now.after(LOOK_ROUND);
                self.look_at_openness();
                self.look_at_all()?;
            }
            self.step(LeaseEvent::Tick)?;
            self.grant(0);
        }
    }

    fn is_over(&self) -> bool {
        if self.is_stopping {
            let is_done = match self.stop.is_leaving() {
                true => !self.table.has_ends() || clock::now().boot >= self.leave_by,
                false => self.table.is_done(),
            };
            return is_done && !self.grants.is_polling();
        }
        self.plan.drain && self.has_queues && self.grants.is_quiet() && self.table.is_empty()
    }

    /// Lets the pollers ask for as much as there is room for.
    fn grant(&mut self, used: usize) {
        if self.closed.is_none()
            && clock::now().boot.since(self.looked_at) > OPENNESS_HOLDS
            && used > 0
        {
            self.look_at_openness();
        }
        // A receive might take a message whose lease has run out, and move it to the failed queue.
        self.is_starting &= self.calls_under_way > 0 || self.table.has_ends();
        let room = match &self.closed {
            Some(_) => 0,
            None if self.is_starting => 0,
            None => self.table.room().min(self.spool_room),
        };
        self.grants.set_room(room, used);
    }

    fn look_at_openness(&mut self) {
        self.looked_at = clock::now().boot;
        let closed = match openness(self.spool, &self.plan.config.queue) {
            Ok((room, config)) => {
                self.spool_room = room;
                self.config = config;
                None
            }
            Err(why) => Some(why),
        };
        let name = &self.plan.name;
        match (&self.closed, &closed) {
            (None, Some(why)) => log::warn!("{name}: no messages are asked for: {why}"),
            (Some(_), None) => log::info!("{name}: messages are asked for again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        self.closed = closed;
    }

    fn take_in_moves(&mut self) -> Result<(), BridgeError> {
        let moved = self.moves.read()?;
        if moved.lost {
            self.watch_anew();
        }
        if moved.openness || moved.all || self.closed.is_some() {
            self.look_at_openness();
        }
        if moved.all {
            return self.look_at_all();
        }
        for id in moved.names {
            self.look_at(&id)?;
        }
        Ok(())
    }

    /// Watches the directories that have the names now.
    fn watch_anew(&mut self) {
        let moves = SpoolMoves::new(self.spool, self.plan, self.dir).and_then(|moves| {
            self.poller.add(moves.watcher(), INOTIFY)?;
            Ok(moves)
        });
        match moves {
            Ok(moves) => self.moves = moves,
            // The look round every minute goes on.
            Err(e) => log::error!("{}: watching the spool: {e}", self.plan.name),
        }
    }

    fn look_at_all(&mut self) -> Result<(), BridgeError> {
        let ids: Vec<JobId> = self.table.ids().cloned().collect();
        for id in ids {
            self.look_at(&id)?;
        }
        Ok(())
    }

    fn take_in(&mut self, news: BridgeNews) -> Result<(), BridgeError> {
        match news {
            BridgeNews::Received {
                queue,
                asked,
                most,
                messages,
            } => {
                for message in messages {
                    self.receive(&queue, asked, message)?;
                }
                self.grant(most);
            }
            BridgeNews::Answered { asked, answers } => {
                self.calls_under_way -= 1;
                for (id, receipt, answer) in answers {
                    self.is_starting &= !matches!(answer, CallAnswer::Again(_));
                    self.step(LeaseEvent::Answered {
                        id,
                        asked,
                        receipt,
                        answer,
                    })?;
                }
            }
            BridgeNews::Queues(queues) => {
                self.check_queues(&queues)?;
                self.has_queues = true;
            }
            BridgeNews::Trouble(trouble) => {
                let is_final = match &trouble {
                    Trouble::Unreachable(_) => self.plan.drain,
                    Trouble::Refused(_) => self.plan.drain || !self.has_queues,
                    Trouble::NoQueue(_) => false,
                };
                if is_final {
                    return Err(BridgeError::Engine(trouble));
                }
                log::warn!("{}: {trouble}", self.plan.name);
            }
            BridgeNews::Quiet => {
                let is_over = self.table.is_empty() && self.grants.is_quiet();
                if self.plan.drain && !is_over && self.grants.is_quiet() {
                    self.grants.go_on();
                }
            }
        }
        Ok(())
    }

    /// Refuses queues that the settings do not fit.
    fn check_queues(&self, queues: &[RemoteQueue]) -> Result<(), BridgeError> {
        let config = &self.plan.config;
        let varies = config.active_only || config.urls.iter().any(|url| url.queue().ends_with('*'));
        if queues.is_empty() && !varies && self.plan.look_up == LookUp::Sometimes {
            let urls: Vec<String> = config.urls.iter().map(ToString::to_string).collect();
            let what = format!("there is no queue {}", urls.join(", "));
            return Err(BridgeError::Engine(Trouble::NoQueue(what)));
        }
        if let Some(queue) = queues.iter().find(|q| q.max_receives == Some(1))
            && config.prefetch > 0
        {
            return Err(BridgeError::Settings(format!(
                "prefetch: {} lets a message be received once: giving one back would move it to the failed queue; set \
                 prefetch to 0",
                queue.name
            )));
        }
        if let Some(queue) = queues.iter().find(|queue| queue.is_fifo)
            && config.ack == AckWhen::Accepted
        {
            return Err(BridgeError::Settings(format!(
                "ack: {} keeps an order that \"accepted\" would give up; set ack to \"done\"",
                queue.name
            )));
        }
        Ok(())
    }
}
