//! Users of the spool, with `printf`, `mv` and `rm`.

use crate::daemon::Sim;
use crate::job::{File, NAMES, QUEUES, Spec, id, queue};
use crate::world::Notice;
use pirn::core::id::{JobId, QueueName};
use pirn::core::record::Reason;
use pirn::core::scheduler::MovedTo;
use std::rc::Rc;

impl Sim {
    pub fn any_queue(&mut self) -> QueueName {
        queue(if self.dice.percent(50) {
            "default"
        } else {
            QUEUES[self.dice.index(QUEUES.len())]
        })
    }

    /// A user's random drop, `mv` or `rm`.
    pub fn user(&mut self) {
        let id = id(NAMES[self.dice.index(NAMES.len())]);
        let queue = self.any_queue();
        match self.dice.below(20) {
            0..10 => {
                let spec = Rc::new(Spec::random(&mut self.dice, &id, self.world.now));
                let version = self.world.next_version;
                self.world.next_version += 1;
                let file = File::new(version, spec, queue.clone());
                self.drop_file(&id, &queue, file);
            }
            10..13 => {
                let Some((from, id, file)) = self.any_pending() else {
                    return;
                };
                self.say(|| format!("take pending/{from}/{id}"));
                self.world.notices.push_back(Notice::Look {
                    id: id.clone(),
                    queue: from,
                });
                match self.dice.below(4) {
                    0 => self.drop_file(&id, &queue, file),
                    1 => {
                        let complete = self.dice.percent(50);
                        self.world.put_ended(&id, file, complete, Reason::Cancelled);
                        self.world
                            .notices
                            .push_back(Notice::ParentMoved { id, complete });
                    }
                    _ => {
                        self.world.retired.insert(file.version);
                    }
                }
            }
            13..17 => self.steer_active(&queue),
            17 => {
                if let Some(mut file) = self.world.complete.remove(&id) {
                    file.make_fresh();
                    self.drop_file(&id, &queue, file);
                }
            }
            18 => {
                if let Some((mut file, _)) = self.world.failed.remove(&id) {
                    file.make_fresh();
                    self.drop_file(&id, &queue, file);
                }
            }
            _ => {
                if let Some((file, _)) = self.world.failed.remove(&id) {
                    self.say(|| format!("mv failed/{id} complete/"));
                    self.world.complete.insert(id.clone(), file);
                    self.world
                        .notices
                        .push_back(Notice::ParentMoved { id, complete: true });
                }
            }
        }
    }

    fn steer_active(&mut self, queue: &QueueName) {
        let ids: Vec<JobId> = self.world.active.keys().cloned().collect();
        if ids.is_empty() {
            return;
        }
        let id = self.dice.pick(&ids).clone();
        let Some(mut file) = self.world.active.remove(&id) else {
            return;
        };
        let to = *self
            .dice
            .pick(&[MovedTo::Gone, MovedTo::Ended, MovedTo::Pending]);
        self.say(|| format!("mv active/{id}: {to:?}"));
        self.world
            .notices
            .push_back(Notice::ActiveMoved { id: id.clone(), to });
        match to {
            MovedTo::Gone => {
                self.world.retired.insert(file.version);
            }
            MovedTo::Ended => {
                let complete = self.dice.percent(20);
                self.world.put_ended(&id, file, complete, Reason::Cancelled);
            }
            MovedTo::Pending => {
                file.make_fresh();
                self.drop_file(&id, queue, file);
                if self.dice.percent(30) {
                    // The cookie pairs the arrival with the move out of active/, so that the daemon may report only the
                    // latter.
                    self.world.notices.pop_back();
                }
            }
        }
    }

    fn any_pending(&mut self) -> Option<(QueueName, JobId, File)> {
        let keys: Vec<_> = self.world.pending.keys().cloned().collect();
        if keys.is_empty() {
            return None;
        }
        let key = self.dice.pick(&keys).clone();
        let file = self.world.pending.remove(&key)?;
        Some((key.0, key.1, file))
    }

    fn drop_file(&mut self, id: &JobId, queue: &QueueName, file: File) {
        self.say(|| format!("drop pending/{queue}/{id}: {file:?}"));
        self.world.put_pending(id, queue, file);
        self.world.notices.push_back(Notice::Look {
            id: id.clone(),
            queue: queue.clone(),
        });
    }
}
