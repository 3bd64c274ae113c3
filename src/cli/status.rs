//! `pirn status`: all that can be said without asking the daemon, which is all.

use super::existing;
use super::exit::{CommandResult, Failure, OK};
use super::output;
use super::settings;
use crate::core::config::Config;
use crate::core::config::pauses::Pauses;
use crate::core::id::QueueName;
use crate::os::clock;
use crate::spool::{Role, Spool, SpoolLock, Where, shortage};
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

pub fn status(path: &Path, args: &StatusArgs) -> CommandResult {
    wait_for_start(path);
    let spool = existing::spool(path)?;
    let file = settings::path(path);
    let (config, config_error) = match settings::read_file(&file) {
        Ok(config) => (config, None),
        Err(e) => (
            Config::default(),
            Some({
                let name = file.strip_prefix(path).unwrap_or(&file);
                format!("{} is not used: {e}", name.display())
            }),
        ),
    };
    let holder = SpoolLock::holder(path)?;
    let trouble = holder.as_ref().and_then(|holder| holder.trouble.clone());
    let daemon = holder.as_ref().filter(|holder| holder.role == Role::Serve);
    let daemon = daemon.map(|daemon| daemon.pid.unwrap_or(0));
    let pauses = spool.pauses()?;
    let is_paused = config.paused || pauses.all;
    let queues = queues(&spool, &config, &pauses)?;
    let count = |at: Where| spool.ids(&at).map(|ids| ids.len());
    let (held, active, complete, failed) = (
        count(Where::Held)?,
        count(Where::Active)?,
        count(Where::Complete)?,
        count(Where::Failed)?,
    );
    let waiting: usize = queues.iter().map(|queue| queue.waiting).sum();
    let bad = spool.count_bad()?;
    let shortage = shortage(&spool, &config, holder.is_some());
    if args.json {
        let queues: Vec<_> = queues
            .iter()
            .map(|q| json!({"name": q.name.as_str(), "waiting": q.waiting, "paused": q.paused}))
            .collect();
        output::line(format!(
            "{:#}",
            json!({
                "spool": path.to_string_lossy(), "daemon": daemon, "pending": waiting, "held": held, "active": active,
                "complete": complete, "failed": failed, "bad": bad, "paused": is_paused, "queues": queues,
                "config_error": config_error, "shortage": shortage, "trouble": trouble,
            })
        ))?;
        return Ok(OK);
    }
    output::line(format!("spool     {}", path.display()))?;
    output::line(match (daemon, holder) {
        (Some(pid), _) => format!("daemon    process {pid}"),
        (None, Some(run)) => format!("daemon    none: {run}, does one job (pirn serve)"),
        (None, None) => "daemon    none: nothing is started (pirn serve)".to_owned(),
    })?;
    if is_paused {
        output::line("paused    all queues")?;
    }
    for (word, n) in [
        ("pending", waiting),
        ("held", held),
        ("active", active),
        ("complete", complete),
        ("failed", failed),
    ] {
        output::line(format!("{word:9} {n}"))?;
    }
    if bad > 0 {
        output::line(format!("bad       {bad}"))?;
    }
    for queue in queues.iter().filter(|q| q.paused || !q.name.is_default()) {
        let paused = if queue.paused { ", paused" } else { "" };
        output::line(format!(
            "queue     {}: {} waiting{paused}",
            queue.name, queue.waiting
        ))?;
    }
    for trouble in [trouble, config_error, shortage].into_iter().flatten() {
        output::line(format!("trouble   {trouble}"))?;
    }
    Ok(OK)
}

/// For how long a daemon that is just starting may keep its spool unmade or unlocked.
const START: Duration = Duration::from_secs(1);

/// Gives a daemon that was started at the same moment the time to take the spool, so that nobody reads "none" while it
/// does. Nothing tells beforehand whether there is one: until it has its lock, it is a process like any other.
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
            // Configured, but never used.
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
