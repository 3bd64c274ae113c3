//! The queues, slots and tokens of a spool, as `status` and `GET /v1/queues` show them.

use super::{Holder, RealFs, Spool, SpoolLock, Waits, Where};
use crate::core::config::Config;
use crate::core::id::QueueName;
use serde_json::{Value, json};
use std::io;

/// A queue.
pub struct QueueStatus {
    /// Its name.
    pub name: QueueName,
    /// How many jobs wait in it.
    pub waiting: usize,
    /// How many slots its jobs have.
    pub used: usize,
    /// How many they may have at most, if the queue has a bound of its own.
    pub slots: Option<usize>,
    /// A file or a setting pauses this queue. A pause of all queues does not count: resuming this one would not end it.
    pub paused: bool,
}

impl QueueStatus {
    /// A queue in which so many jobs wait.
    pub fn of(name: QueueName, waiting: usize, waits: &Waits<'_>) -> Self {
        let policy = &waits.facts().policy;
        let has_setting = policy
            .config
            .queues
            .get(&name)
            .is_some_and(|own| own.paused);
        Self {
            waiting,
            used: waits.slots_used(Some(&name)),
            slots: policy.config.slots_of(&name),
            paused: has_setting || policy.pauses.queues.contains(&name),
            name,
        }
    }

    /// False for a queue about which the numbers for all queues say enough.
    pub fn is_worth_a_line(&self) -> bool {
        self.paused || self.slots.is_some() || !self.name.is_default()
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name.as_str(), "waiting": self.waiting, "used": self.used, "slots": self.slots,
            "paused": self.paused,
        })
    }
}

/// The queues, slots and tokens of a spool at one moment, and all that is wrong. It is read from files.
pub struct Overview {
    /// The process that has the spool.
    pub holder: Option<Holder>,
    /// A file or a setting pauses all queues.
    pub is_paused: bool,
    /// How many slots jobs have.
    pub used: usize,
    /// How many slots there are.
    pub slots: usize,
    /// The queues that have a directory or a setting, and the default one.
    pub queues: Vec<QueueStatus>,
    /// How many jobs run.
    pub active: usize,
    /// How many jobs are held.
    pub held: usize,
    /// The tokens of the settings, with how many are in use and how many there are.
    pub tokens: Vec<(String, usize, usize)>,
    config_error: Option<String>,
    shortage: Option<String>,
}

impl Overview {
    /// Reads it. `config_error`: why these are not the settings in the file.
    pub fn read(
        spool: &Spool<RealFs>,
        config: &Config,
        config_error: Option<String>,
    ) -> io::Result<Self> {
        let waits = spool.waits(config)?;
        let facts = waits.facts();
        let mut queues = Vec::new();
        for name in spool.known_queues(config)? {
            // A queue may have settings, but no directory, since it was never used.
            let waiting = spool.ids_there(&Where::Pending(name.clone()))?.len();
            queues.push(QueueStatus::of(name, waiting, &waits));
        }
        let tokens = waits.tokens();
        Ok(Self {
            holder: SpoolLock::holder(spool.path())?,
            is_paused: facts.policy.are_all_paused(),
            used: waits.slots_used(None),
            slots: facts.policy.slots,
            queues,
            active: spool.ids(&Where::Active)?.len(),
            held: spool.ids(&Where::Held)?.len(),
            tokens: tokens
                .map(|(name, used, total)| (name.to_string(), used, total))
                .collect(),
            config_error,
            shortage: facts.shortage.clone(),
        })
    }

    /// All that is wrong.
    pub fn troubles(&self) -> impl Iterator<Item = &String> {
        let all = [
            self.trouble(),
            self.config_error.as_ref(),
            self.shortage.as_ref(),
        ];
        all.into_iter().flatten()
    }

    fn trouble(&self) -> Option<&String> {
        self.holder.as_ref()?.trouble.as_ref()
    }

    /// All of it as JSON.
    pub fn to_json(&self) -> Value {
        let queues: Vec<_> = self.queues.iter().map(QueueStatus::to_json).collect();
        let tokens = self.tokens.iter();
        let tokens: Vec<_> = tokens
            .map(|(name, used, total)| json!({"name": name, "used": used, "total": total}))
            .collect();
        json!({
            "paused": self.is_paused, "used": self.used, "slots": self.slots, "queues": queues, "active": self.active,
            "held": self.held, "tokens": tokens, "config_error": self.config_error, "shortage": self.shortage,
            "trouble": self.trouble(),
        })
    }
}
