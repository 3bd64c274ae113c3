//! `pirn status`.

use super::exit::{CommandResult, OK, TROUBLE};
use super::output;
use super::report::StatusReport;
use super::style::{Ink, Style};
use super::when;
use crate::core::time::Wall;
use crate::core::units::{brief_span, rough_span};
use crate::os::clock;
use crate::os::confine::Ability;
use crate::spool::{BridgeFiles, QueueStatus, SpoolLock};
use std::path::Path;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

pub fn status(path: &Path, args: &StatusArgs) -> CommandResult {
    wait_for_start(path);
    let report = StatusReport::read(path)?;
    let text = match args.json {
        true => format!("{:#}\n", report.to_json(path)),
        false => text_of(&report, path),
    };
    output::bytes(text.as_bytes())?;
    let is_fine = report.overview.troubles().next().is_none();
    Ok(if is_fine { OK } else { TROUBLE })
}

/// A word and what it says, a line each; troubles first.
fn text_of(report: &StatusReport, path: &Path) -> String {
    let now = clock::wall();
    let overview = &report.overview;
    let (daemon, ink) = match (report.daemon(), &overview.holder) {
        (Some(pid), _) => (format!("process {pid}"), None),
        (None, Some(run)) => (
            format!("none: {run}, does one job (pirn serve)"),
            Some(Ink::Yellow),
        ),
        (None, None) => (
            "none: nothing is started (pirn serve)".to_owned(),
            Some(Ink::Yellow),
        ),
    };
    let troubles = overview.troubles();
    let mut lines: Vec<(&str, String, Option<Ink>)> = troubles
        .map(|text| ("trouble", text.clone(), Some(Ink::Red)))
        .collect();
    lines.push(("spool", path.display().to_string(), None));
    lines.push(("daemon", daemon, ink));
    if overview.is_paused {
        lines.push(("paused", "all queues".to_owned(), Some(Ink::Yellow)));
    }
    let mut tell = |word, text| lines.push((word, text, None));
    tell(
        "slots",
        format!("{} of {} in use", overview.used, overview.slots),
    );
    let oldest = report.dates.oldest.map_or_else(String::new, |at| {
        format!(", the oldest for {}", rough_span(now.since(at)))
    });
    tell("pending", format!("{}{oldest}", report.pending()));
    if let Some(at) = report.dates.next {
        let when = when::brief(at, now);
        tell(
            "next",
            format!("in {}, at {when}", rough_span(at.since(now))),
        );
    }
    if report.dates.are_many {
        tell("next", "not known: too many jobs wait".to_owned());
    }
    for (word, count) in [
        ("held", overview.held),
        ("active", overview.active),
        ("complete", report.complete),
        ("failed", report.failed),
    ] {
        tell(word, count.to_string());
    }
    for (id, progress) in &report.progress {
        tell("progress", format!("{id}: {progress}"));
    }
    if report.bad > 0 {
        tell("bad", report.bad.to_string());
    }
    let queues = overview.queues.iter();
    for queue in queues.filter(|queue| queue.is_worth_a_line()) {
        tell("queue", queue_text(queue));
    }
    let mut sandbox = Ability::get().to_string();
    if !report.groups().is_empty() {
        sandbox.push_str(&format!("; groups: {}", report.groups().join(" ")));
    }
    tell("sandbox", sandbox);
    for (name, used, total) in &overview.tokens {
        tell("token", format!("{name}: {used} of {total} in use"));
    }
    for bridge in &report.bridges {
        tell("remote", bridge_text(bridge, now));
    }
    let style = Style::of_stdout();
    let paint = |text: &str, ink: Option<Ink>| match ink {
        Some(ink) => style.paint(ink, text).into_owned(),
        None => text.to_owned(),
    };
    let lines = lines.iter();
    lines
        .map(|(word, text, ink)| {
            format!(
                "{} {}\n",
                paint(&format!("{word:9}"), Some(Ink::Dim)),
                paint(&output::tame(text), *ink)
            )
        })
        .collect()
}

fn queue_text(queue: &QueueStatus) -> String {
    let mut text = format!("{}: {} waiting", queue.name, queue.waiting);
    match (queue.used, queue.slots) {
        (used, Some(slots)) => text.push_str(&format!(", {used} of {slots} slots in use")),
        (0, None) => {}
        (1, None) => text.push_str(", 1 slot in use"),
        (used, None) => text.push_str(&format!(", {used} slots in use")),
    }
    if queue.paused {
        text.push_str(", paused");
    }
    text
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
