//! The world around the scheduler: directories, processes, clocks, and the work in progress between them.

use crate::job::File;
use pirn::core::config::Config;
use pirn::core::config::pauses::Pauses;
use pirn::core::id::{JobId, QueueName};
use pirn::core::policy::{TryEnd, Verdict};
use pirn::core::process::Exit;
use pirn::core::record::Reason;
use pirn::core::scheduler::{Event, MovedTo, Parent, ParentState, Policy, Stamp, Ticket};
use pirn::core::time::{Boot, Now, Wall};
use pirn::core::tokens::Units;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// The inotify events that wait to be read, in order.
#[derive(Debug, Clone)]
pub enum Notice {
    /// A file came to this place in `pending/`, or went.
    Look {
        id: JobId,
        queue: QueueName,
    },
    ActiveMoved {
        id: JobId,
        to: MovedTo,
    },
    ParentMoved {
        id: JobId,
        complete: bool,
    },
}

/// Work of runner and committer that is not done yet.
#[derive(Debug, Clone)]
pub enum Task {
    Start {
        id: JobId,
        queue: QueueName,
        stamp: Stamp,
        units: Units,
    },
    Finish {
        id: JobId,
        end: TryEnd,
        verdict: Verdict,
        wait: Option<Duration>,
    },
    Fail {
        id: JobId,
        queue: QueueName,
        /// The file that is meant. The action does not name it: this world remembers what a committer has to find out.
        version: Option<u64>,
        reason: Reason,
    },
}

/// The processes of one job.
#[derive(Debug, Clone)]
pub struct Proc {
    pub version: u64,
    pub started: Boot,
    pub leader: Option<(Boot, Exit)>,
    /// Other processes that outlive the leader, and until when.
    pub rest: Option<Boot>,
    pub obeys: bool,
    /// Nobody waits for it: a successful job left it, or its file was removed before a crash.
    pub orphan: bool,
    /// Only its lock shows its end: it was adopted after its leader had ended.
    pub lock_only: bool,
    pub sweeping: bool,
}

pub struct World {
    pub now: Now,
    pub pending: BTreeMap<(QueueName, JobId), File>,
    pub active: BTreeMap<JobId, File>,
    pub complete: BTreeMap<JobId, File>,
    pub failed: BTreeMap<JobId, (File, Reason)>,
    pub bad: Vec<File>,
    /// Files that a user removed or replaced, and older runs of a name: they may be missing.
    pub retired: BTreeSet<u64>,
    pub procs: BTreeMap<JobId, Proc>,
    pub notices: VecDeque<Notice>,
    pub tasks: Vec<Task>,
    pub mail: BTreeMap<JobId, VecDeque<Event>>,
    pub config: Config,
    pub pauses: Pauses,
    pub slots: usize,
    pub only: Vec<String>,
    pub held: bool,
    /// Queues whose directories are being read.
    pub unread: BTreeSet<QueueName>,
    pub next_version: u64,
    /// Reports the daemon's own changes to it, as inotify itself does.
    pub noisy: bool,
}

impl World {
    pub fn new(slots: usize) -> Self {
        Self {
            now: Now {
                boot: Boot(5_000_000_000),
                wall: Wall(1_800_000_000_000_000_000),
            },
            pending: BTreeMap::new(),
            active: BTreeMap::new(),
            complete: BTreeMap::new(),
            failed: BTreeMap::new(),
            bad: Vec::new(),
            retired: BTreeSet::new(),
            procs: BTreeMap::new(),
            notices: VecDeque::new(),
            tasks: Vec::new(),
            mail: BTreeMap::new(),
            config: Config::default(),
            pauses: Pauses::default(),
            slots,
            only: Vec::new(),
            held: false,
            unread: BTreeSet::new(),
            next_version: 1,
            noisy: false,
        }
    }

    pub fn policy(&self) -> Policy {
        Policy {
            slots: self.slots,
            config: Arc::new(self.config.clone()),
            pauses: self.pauses.clone(),
            only: pirn::core::config::Only(self.only.clone()),
        }
    }

    /// The daemon's ticket for a file that it has read.
    pub fn ticket(&self, id: &JobId, file: &File) -> Ticket {
        let seen = |parent: &JobId| {
            if self.complete.contains_key(parent) {
                ParentState::Complete
            } else if self.failed.contains_key(parent) {
                ParentState::Failed
            } else {
                ParentState::Open
            }
        };
        Ticket {
            id: id.clone(),
            queue: file.queue.clone(),
            stamp: file.stamp(),
            priority: file.spec.priority,
            made: file.spec.made,
            not_before: file.spec.not_before,
            wait: file
                .retry_at
                .map(|at| at.since(self.now.wall).min(Duration::from_secs(60))),
            expires: file.spec.expires,
            group: file.spec.group.map(Into::into),
            parents: file
                .spec
                .parents
                .iter()
                .map(|(id, need)| Parent {
                    id: id.clone(),
                    need: *need,
                    seen: seen(id),
                })
                .collect(),
            demand: file.spec.demand.clone(),
        }
    }

    pub fn post(&mut self, id: &JobId, event: Event) {
        self.mail.entry(id.clone()).or_default().push_back(event);
    }

    /// Puts a file into `pending/`; it replaces one of the same name, as rename(2) does.
    pub fn put_pending(&mut self, id: &JobId, queue: &QueueName, mut file: File) {
        file.queue = queue.clone();
        let replaced = self.pending.insert((queue.clone(), id.clone()), file);
        self.retired.extend(replaced.map(|old| old.version));
    }

    /// Puts an ended job into its directory. Older runs of the name are dropped; the sim does not need them.
    pub fn put_ended(&mut self, id: &JobId, file: File, complete: bool, reason: Reason) {
        let older = self.complete.remove(id);
        let older = older.or(self.failed.remove(id).map(|old| old.0));
        self.retired.extend(older.map(|old| old.version));
        if complete {
            self.complete.insert(id.clone(), file);
        } else {
            self.failed.insert(id.clone(), (file, reason));
        }
    }

    pub fn file_of_version(&self, id: &JobId, version: u64) -> Option<QueueName> {
        self.pending
            .iter()
            .find(|((_, name), file)| name == id && file.version == version)
            .map(|((queue, _), _)| queue.clone())
    }

    /// The time at which the next process ends.
    pub fn next_end(&self) -> Option<Boot> {
        self.procs
            .values()
            .flat_map(|p| [p.leader.map(|l| l.0), p.rest.filter(|_| p.leader.is_none())])
            .flatten()
            .min()
    }

    pub fn advance(&mut self, span: Duration) {
        self.now.boot = self.now.boot.after(span);
        self.now.wall = self.now.wall.after(span);
        self.reap();
    }

    /// Ends the processes whose time has come, and queues the reports to their parent.
    pub fn reap(&mut self) {
        let ids: Vec<JobId> = self.procs.keys().cloned().collect();
        for id in ids {
            let now = self.now.boot;
            let Some(p) = self.procs.get_mut(&id) else {
                continue;
            };
            let mut told = Vec::new();
            if let Some((_, exit)) = p.leader.filter(|l| l.0 <= now) {
                p.leader = None;
                p.rest = p.rest.filter(|at| *at > now);
                if !p.orphan {
                    told.push(Event::Ended {
                        id: id.clone(),
                        exit,
                        alone: p.rest.is_none(),
                    });
                }
                // Nobody sweeps after a successful job; the daemon may overrule this by a sweep.
                p.orphan |= exit == Exit::Code(0);
            }
            if p.leader.is_none() && p.rest.is_some_and(|at| at <= now) {
                p.rest = None;
                if p.sweeping {
                    told.push(Event::Swept { id: id.clone() });
                } else if p.lock_only && !p.orphan {
                    told.push(Event::Ended {
                        id: id.clone(),
                        exit: Exit::Lost,
                        alone: true,
                    });
                }
            }
            if p.leader.is_none() && p.rest.is_none() {
                self.procs.remove(&id);
            }
            for event in told {
                self.post(&id, event);
            }
        }
    }

    /// A file that was dropped and is nowhere now, though nobody removed it.
    pub fn vanished(&self) -> Option<u64> {
        let mut there = self.retired.clone();
        let ended = self.failed.values().map(|(file, _)| file);
        let files = self.pending.values().chain(self.active.values());
        let files = files
            .chain(self.complete.values())
            .chain(ended)
            .chain(&self.bad);
        there.extend(files.map(|file| file.version));
        (1..self.next_version).find(|version| !there.contains(version))
    }

    /// True if a waiting file may wait for ever: one of its parents does not exist, or may wait for ever itself.
    pub fn waits_in_vain(&self, id: &JobId, hops: usize) -> bool {
        let files = self.pending.iter().filter(|((_, name), _)| name == id);
        files
            .flat_map(|(_, file)| &file.spec.parents)
            .any(|(parent, _)| {
                let pending = self.pending.keys().any(|(_, name)| name == parent);
                let ended = self.complete.contains_key(parent) || self.failed.contains_key(parent);
                match (pending, ended) {
                    (true, _) => hops > 0 && self.waits_in_vain(parent, hops - 1),
                    (false, ended) => !ended && !self.active.contains_key(parent),
                }
            })
    }
}
