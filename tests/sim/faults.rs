//! The scheduler under test, and faults in it that the checker must notice.

use crate::job::token;
use pirn::core::config::Terms;
use pirn::core::config::pauses::Pauses;
use pirn::core::process::Stop;
use pirn::core::record::Reason;
use pirn::core::scheduler::{
    Action, CommittedTo, Event, Need, Policy, QuarantineReason, Scheduler, Ticket,
};
use pirn::core::time::{Boot, Now, Wall};
use pirn::core::tokens::{Supply, Units};
use std::sync::Arc;
use std::time::Duration;

/// A fault that is made on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    LoseCommits,
    LoseAdoptions,
    LoseReadmits,
    LoseWithdrawals,
    IgnoreGroups,
    IgnoreParents,
    IgnoreFailedParents,
    RunUnneeded,
    FailUnneeded,
    IgnoreDates,
    IgnoreExpiry,
    IgnoreBackoff,
    IgnorePriority,
    IgnorePause,
    IgnoreHold,
    IgnoreFound,
    IgnoreUsersStop,
    ReverseAge,
    StartTwice,
    OneSlotMore,
    OneQueueSlotMore,
    SameSlotForAll,
    IgnoreWeight,
    IgnoreTokens,
    OneTokenMore,
    SameUnitForAll,
    ForgetUnits,
    MoreTries,
    InterruptionsAreTries,
    EndlessInterruptions,
    OnceAndAgain,
    DeadlinesByWall,
    EarlyTimeouts,
    EarlyWarnings,
    NeverWarn,
    WarnTwice,
    NeverKill,
    KillAtOnce,
    RejectChildren,
    OversleepBoot,
    OversleepWall,
    TellOfNoUnits,
    TellOfAllInGroup,
}

impl Fault {
    /// All faults, each with a word that the checker's complaint must contain.
    pub const ALL: [(Self, &'static str); 43] = [
        (Self::LoseCommits, "counts"),
        (Self::LoseAdoptions, "counts"),
        (Self::LoseReadmits, "readmitted"),
        (Self::LoseWithdrawals, "counts"),
        (Self::IgnoreGroups, "group"),
        (Self::IgnoreParents, "parents"),
        (Self::IgnoreFailedParents, "parent"),
        (Self::RunUnneeded, "parents"),
        (Self::FailUnneeded, "dependency is not true"),
        (Self::IgnoreDates, "not_before"),
        (Self::IgnoreExpiry, "expir"),
        (Self::IgnoreBackoff, "backoff"),
        (Self::IgnorePriority, "priority"),
        (Self::IgnorePause, "paused"),
        (Self::IgnoreHold, "held"),
        (Self::IgnoreFound, "not read"),
        (Self::IgnoreUsersStop, "TERM"),
        (Self::ReverseAge, "age"),
        (Self::StartTwice, "two at once"),
        (Self::OneSlotMore, "more than all slots"),
        (Self::OneQueueSlotMore, "more than the slots of queue"),
        (Self::SameSlotForAll, "is taken"),
        (Self::IgnoreWeight, "more than all slots"),
        (Self::IgnoreTokens, "more than all tokens"),
        (Self::OneTokenMore, "more than all tokens"),
        (Self::SameUnitForAll, "is another job's"),
        (Self::ForgetUnits, "is another job's"),
        (Self::MoreTries, "verdict Retry"),
        (
            Self::InterruptionsAreTries,
            "verdict Failed instead of Retry",
        ),
        (
            Self::EndlessInterruptions,
            "verdict Requeue instead of Failed",
        ),
        (Self::OnceAndAgain, "verdict"),
        (Self::DeadlinesByWall, "TERM to"),
        (Self::EarlyTimeouts, "deadline has not come"),
        (Self::EarlyWarnings, "not its time"),
        (Self::NeverWarn, "missed: warning"),
        (Self::WarnTwice, "not again"),
        (Self::NeverKill, "missed: KILL"),
        (Self::KillAtOnce, "grace is not over"),
        (Self::RejectChildren, "neither in a ring"),
        (Self::OversleepBoot, "no wake"),
        (Self::OversleepWall, "no wake"),
        (Self::TellOfNoUnits, "people are told"),
        (Self::TellOfAllInGroup, "people are told"),
    ];
}

/// A scheduler, possibly with a fault.
pub struct Subject {
    pub scheduler: Scheduler,
    fault: Fault,
    /// How far the clock that it is shown is ahead.
    ahead: i64,
}

impl Subject {
    pub fn new(policy: Policy, seed: u64, fault: Fault) -> Self {
        let scheduler = Scheduler::new(bend_policy(policy, fault), seed);
        Self {
            scheduler,
            fault,
            ahead: 0,
        }
    }

    pub fn step(&mut self, event: &Event, now: Now, actions: &mut Vec<Action>) {
        if self.fault == Fault::DeadlinesByWall {
            // At the start of the sim, one clock shows 1_800_000_000 and the other 5 seconds.
            let by_wall = now.wall.0 - 1_799_999_995_000_000_000;
            self.ahead = by_wall.max(1) - now.boot.0 as i64;
        }
        let now = Now {
            boot: Boot(now.boot.0.saturating_add_signed(self.ahead)),
            wall: now.wall,
        };
        if let Some(event) = self.bend_event(event.clone()) {
            self.scheduler.step(event, now, actions);
        } else {
            self.scheduler.step(Event::Tick, now, actions);
        }
        self.bend_actions(actions);
    }

    pub fn next_wake(&self) -> (Option<Boot>, Option<Wall>) {
        let (boot, wall) = self.scheduler.next_wake();
        match self.fault {
            Fault::OversleepBoot => (None, wall),
            Fault::OversleepWall => (boot, None),
            _ => {
                let back = |at: Boot| Boot(at.0.saturating_add_signed(-self.ahead));
                (boot.map(back), wall)
            }
        }
    }

    fn bend_event(&self, event: Event) -> Option<Event> {
        let fault = self.fault;
        Some(match event {
            Event::Committed { .. } if fault == Fault::LoseCommits => return None,
            Event::Adopted { .. } if fault == Fault::LoseAdoptions => return None,
            Event::Withdrawn { .. } if fault == Fault::LoseWithdrawals => return None,
            Event::Hold if fault == Fault::IgnoreHold => return None,
            Event::Found(_) if fault == Fault::IgnoreFound => return None,
            Event::ActiveMoved { .. } if fault == Fault::IgnoreUsersStop => return None,
            Event::Arrived(ticket) => Event::Arrived(Box::new(bend_ticket(*ticket, fault))),
            Event::Committed {
                id,
                place: CommittedTo::Pending(ticket),
            } => Event::Committed {
                id,
                place: CommittedTo::Pending(Box::new(bend_ticket(*ticket, fault))),
            },
            Event::Committed {
                id,
                place: CommittedTo::Failed,
            } if fault == Fault::IgnoreFailedParents => Event::Committed {
                id,
                place: CommittedTo::Complete,
            },
            Event::Started {
                id,
                attempt,
                mut terms,
            } => {
                bend_terms(&mut terms, fault);
                Event::Started { id, attempt, terms }
            }
            Event::Adopted {
                mut ticket,
                attempt,
                terms,
                ran,
                units: _,
            } if fault == Fault::ForgetUnits => {
                ticket.demand.uses.clear();
                Event::Adopted {
                    ticket,
                    attempt,
                    terms,
                    ran,
                    units: Units::new(),
                }
            }
            Event::Configured(policy) => Event::Configured(Box::new(bend_policy(*policy, fault))),
            other => other,
        })
    }

    fn bend_actions(&self, actions: &mut Vec<Action>) {
        match self.fault {
            Fault::LoseReadmits => actions.retain(|a| !matches!(a, Action::Readmit { .. })),
            Fault::StartTwice => {
                if let Some(start) = actions.iter().find(|a| matches!(a, Action::Start { .. })) {
                    actions.push(start.clone());
                }
            }
            Fault::SameSlotForAll => {
                for action in actions {
                    if let Action::Start { slot, .. } = action {
                        slot.of_all = 0;
                    }
                }
            }
            Fault::FailUnneeded => {
                for action in actions {
                    if let Action::EndUnrun { reason, .. } = action {
                        *reason = Reason::Dependency;
                    }
                }
            }
            Fault::SameUnitForAll => {
                for action in actions {
                    if let Action::Start { units, .. } = action
                        && let Some(given) = units.get_mut(&token("gpu"))
                        && let Some(first) = given.first_mut()
                    {
                        *first = "0".into();
                    }
                }
            }
            Fault::NeverWarn => actions.retain(|a| !matches!(a, Action::Warn { .. })),
            Fault::WarnTwice => {
                if let Some(warn) = actions.iter().find(|a| matches!(a, Action::Warn { .. })) {
                    actions.push(warn.clone());
                }
            }
            Fault::NeverKill => {
                actions.retain(|a| {
                    !matches!(
                        a,
                        Action::Signal {
                            how: Stop::Kill,
                            ..
                        }
                    )
                });
            }
            Fault::KillAtOnce => {
                let terms: Vec<_> = actions
                    .iter()
                    .filter(|a| matches!(a, Action::Signal { .. }))
                    .cloned()
                    .collect();
                for action in terms {
                    if let Action::Signal { id, .. } = action {
                        actions.push(Action::Signal {
                            id,
                            how: Stop::Kill,
                        });
                    }
                }
            }
            Fault::RejectChildren => {
                for action in actions {
                    if let Action::Start { id, queue, .. } = action
                        && self.scheduler.has_children(id)
                    {
                        let why = QuarantineReason::Newer(queue.clone());
                        *action = Action::Quarantine {
                            id: id.clone(),
                            queue: queue.clone(),
                            why,
                        };
                    }
                }
            }
            _ => {}
        }
    }
}

fn bend_ticket(mut ticket: Ticket, fault: Fault) -> Ticket {
    match fault {
        Fault::IgnoreGroups => ticket.group = None,
        Fault::IgnoreParents => ticket.parents.clear(),
        Fault::RunUnneeded => {
            let parents = ticket.parents.iter_mut();
            parents
                .filter(|parent| parent.need == Need::Fail)
                .for_each(|parent| parent.need = Need::End);
        }
        Fault::IgnoreDates => ticket.not_before = None,
        Fault::IgnoreExpiry => ticket.expires = None,
        Fault::IgnoreBackoff => ticket.wait = None,
        Fault::IgnorePriority => ticket.priority = 0,
        Fault::IgnoreWeight => ticket.demand.slots = 1,
        Fault::IgnoreTokens => ticket.demand.uses.clear(),
        Fault::ReverseAge => ticket.made = Wall(-ticket.made.0),
        _ => {}
    }
    ticket
}

fn bend_terms(terms: &mut Terms, fault: Fault) {
    match fault {
        Fault::MoreTries => terms.retry.tries += 5,
        Fault::InterruptionsAreTries => terms.retry.interruptions = 0,
        Fault::EndlessInterruptions => terms.retry.max_interruptions = u32::MAX,
        Fault::OnceAndAgain => terms.retry.once = false,
        Fault::EarlyWarnings => {
            if let Some(warn) = &mut terms.warn {
                warn.before += Duration::from_millis(1);
            }
        }
        Fault::EarlyTimeouts => terms.timeout = terms.timeout.map(|t| t / 2),
        _ => {}
    }
}

fn bend_policy(mut policy: Policy, fault: Fault) -> Policy {
    let config = Arc::make_mut(&mut policy.config);
    match fault {
        Fault::OneSlotMore => policy.slots += 1,
        Fault::OneTokenMore => {
            for supply in config.tokens.values_mut() {
                if let Supply::Count(n) = supply {
                    *n += 1;
                }
            }
        }
        Fault::OneQueueSlotMore => {
            for queue in config.queues.values_mut() {
                queue.slots = queue.slots.map(|n| n + 1);
            }
        }
        Fault::IgnorePause => {
            policy.pauses = Pauses::default();
            config.paused = false;
            for queue in config.queues.values_mut() {
                queue.paused = false;
            }
        }
        _ => {}
    }
    policy
}
