//! `pirn status`.

use super::existing;
use super::exit::{CommandResult, Failure, OK};
use super::output;
use super::settings;
use crate::core::config::Config;
use crate::core::config::pauses::Pauses;
use crate::core::id::QueueName;
use crate::core::time::Wall;
use crate::core::units::brief_span;
use crate::os::clock;
use crate::os::confine::Ability;
use crate::spool::{BridgeFiles, Holder, Role, Spool, SpoolLock, Where};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
}

struct QueueStatus {
    name: QueueName,
    waiting: usize,
    paused: bool,
}

/// The spool as it is now. All of it is read from files: the daemon is not asked.
struct StatusReport {
    holder: Option<Holder>,
    is_paused: bool,
    queues: Vec<QueueStatus>,
    held: usize,
    active: usize,
    complete: usize,
    failed: usize,
    bad: usize,
    bridges: Vec<BridgeFiles>,
    /// The tokens of the settings, with how many are in use and how many there are.
    tokens: Vec<(String, usize, usize)>,
    config_error: Option<String>,
    shortage: Option<String>,
}

pub fn status(path: &Path, args: &StatusArgs) -> CommandResult {
    wait_for_start(path);
    let report = StatusReport::read(path)?;
    let text = match args.json {
        true => format!("{:#}\n", report.to_json(path)),
        false => report.to_text(path),
    };
    output::bytes(text.as_bytes())?;
    Ok(OK)
}

impl StatusReport {
    fn read(path: &Path) -> Result<Self, Failure> {
        let spool = existing::spool(path)?;
        let file = settings::path(path);
        let (config, config_error) = match settings::read_file(&file) {
            Ok(config) => (config, None),
            Err(e) => {
                let name = file.strip_prefix(path).unwrap_or(&file).display();
                (Config::default(), Some(format!("{name} is not used: {e}")))
            }
        };
        let holder = SpoolLock::holder(path)?;
        let pauses = spool.pauses()?;
        let waits = spool.waits(&config)?;
        let count = |at: Where| spool.ids(&at).map(|ids| ids.len());
        Ok(Self {
            is_paused: config.paused || pauses.all,
            queues: queues(&spool, &config, &pauses)?,
            held: count(Where::Held)?,
            active: count(Where::Active)?,
            complete: count(Where::Complete)?,
            failed: count(Where::Failed)?,
            bad: spool.count_bad()?,
            bridges: spool.bridges()?,
            tokens: waits
                .tokens()
                .map(|(name, used, total)| (name.to_string(), used, total))
                .collect(),
            config_error,
            shortage: spool.shortage(&config, holder.is_some()),
            holder,
        })
    }

    fn pending(&self) -> usize {
        self.queues.iter().map(|queue| queue.waiting).sum()
    }

    /// The daemon's pid; 0 if it is not known.
    fn daemon(&self) -> Option<i32> {
        let daemon = self.holder.as_ref();
        let daemon = daemon.filter(|holder| holder.role == Role::Serve);
        daemon.map(|daemon| daemon.pid.unwrap_or(0))
    }

    /// The controllers whose limits jobs can have.
    fn groups(&self) -> &[String] {
        self.holder.as_ref().map_or(&[], |holder| &holder.groups)
    }

    fn trouble(&self) -> Option<&String> {
        self.holder.as_ref()?.trouble.as_ref()
    }

    fn to_json(&self, path: &Path) -> serde_json::Value {
        let queues = self.queues.iter();
        let queues: Vec<_> = queues
            .map(|q| json!({"name": q.name.as_str(), "waiting": q.waiting, "paused": q.paused}))
            .collect();
        let tokens = self.tokens.iter();
        let tokens: Vec<_> = tokens
            .map(|(name, used, total)| json!({"name": name, "used": used, "total": total}))
            .collect();
        let now = clock::wall();
        let bridges = self.bridges.iter().map(|bridge| {
            let sum = bridge.summary(now);
            json!({
                "name": bridge.name.as_str(), "running": bridge.is_running, "leases": sum.open,
                "oldest": sum.oldest.map(|age| age.as_secs_f64()), "lost": sum.lost, "refused": sum.refused,
            })
        });
        let bridges: Vec<_> = bridges.collect();
        let ability = Ability::get();
        let sandbox = json!({
            "landlock": ability.landlock, "seccomp": ability.seccomp, "groups": self.groups(),
        });
        json!({
            "spool": path.to_string_lossy(), "daemon": self.daemon(), "pending": self.pending(), "held": self.held,
            "active": self.active, "complete": self.complete, "failed": self.failed, "bad": self.bad,
            "paused": self.is_paused, "queues": queues, "tokens": tokens, "remote": bridges, "sandbox": sandbox, "config_error": self.config_error,
            "shortage": self.shortage, "trouble": self.trouble(),
        })
    }

    fn to_text(&self, path: &Path) -> String {
        let daemon = match (self.daemon(), &self.holder) {
            (Some(pid), _) => format!("process {pid}"),
            (None, Some(run)) => format!("none: {run}, does one job (pirn serve)"),
            (None, None) => "none: nothing is started (pirn serve)".to_owned(),
        };
        let mut lines = vec![("spool", path.display().to_string()), ("daemon", daemon)];
        if self.is_paused {
            lines.push(("paused", "all queues".to_owned()));
        }
        lines.extend([
            ("pending", self.pending().to_string()),
            ("held", self.held.to_string()),
            ("active", self.active.to_string()),
            ("complete", self.complete.to_string()),
            ("failed", self.failed.to_string()),
        ]);
        if self.bad > 0 {
            lines.push(("bad", self.bad.to_string()));
        }
        for queue in self
            .queues
            .iter()
            .filter(|q| q.paused || !q.name.is_default())
        {
            let paused = if queue.paused { ", paused" } else { "" };
            let text = format!("{}: {} waiting{paused}", queue.name, queue.waiting);
            lines.push(("queue", text));
        }
        let mut sandbox = Ability::get().to_string();
        if !self.groups().is_empty() {
            sandbox.push_str(&format!("; groups: {}", self.groups().join(" ")));
        }
        lines.push(("sandbox", sandbox));
        for (name, used, total) in &self.tokens {
            lines.push(("token", format!("{name}: {used} of {total} in use")));
        }
        let now = clock::wall();
        lines.extend(self.bridges.iter().map(|b| ("remote", bridge_text(b, now))));
        let troubles = [
            self.trouble(),
            self.config_error.as_ref(),
            self.shortage.as_ref(),
        ];
        lines.extend(
            troubles
                .into_iter()
                .flatten()
                .map(|text| ("trouble", text.clone())),
        );
        let lines = lines.iter();
        lines
            .map(|(word, text)| format!("{word:9} {text}\n"))
            .collect()
    }
}

fn bridge_text(bridge: &BridgeFiles, now: Wall) -> String {
    let sum = bridge.summary(now);
    let leases = if sum.open == 1 { "lease" } else { "leases" };
    let mut text = format!("{}: {} {leases}", bridge.name, sum.open);
    if let Some(age) = sum.oldest {
        text.push_str(&format!(", the oldest {} old", brief_span(age)));
    }
    for (n, word) in [(sum.lost, "lost"), (sum.refused, "refused")] {
        if n > 0 {
            text.push_str(&format!(", {n} {word}"));
        }
    }
    if !bridge.is_running {
        text.push_str(", not running");
    }
    text
}

/// The time that a daemon may need from its start until it has made and locked its spool.
const START: Duration = Duration::from_secs(1);

/// Waits for a daemon that may just be starting, so that `status` does not say "none" a moment too early. Until it has
/// locked the spool, nothing shows whether there is one.
fn wait_for_start(path: &Path) {
    let deadline = clock::now().boot.after(START);
    let is_unserved = || SpoolLock::holder(path).is_ok_and(|holder| holder.is_none());
    while is_unserved() && clock::now().boot < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn queues(spool: &Spool, config: &Config, pauses: &Pauses) -> Result<Vec<QueueStatus>, Failure> {
    let mut names = spool.queues()?;
    names.push(QueueName::default());
    names.extend(config.queues.keys().cloned());
    names.sort();
    names.dedup();
    let mut queues = Vec::new();
    for name in names {
        let waiting = match spool.ids(&Where::Pending(name.clone())) {
            Ok(ids) => ids.len(),
            // It has settings, but was never used.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => 0,
            Err(e) => return Err(e.into()),
        };
        queues.push(QueueStatus {
            paused: config.is_paused(&name) || pauses.has(&name),
            name,
            waiting,
        });
    }
    Ok(queues)
}
