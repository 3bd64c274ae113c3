//! `GET /metrics`: the text format of Prometheus, version 0.0.4. Gauges are read from the directories when they are
//! asked for; counters count from the start of the daemon. The last three have the names that jobrunner gives them.

use super::{failed, queues};
use crate::core::id::QueueName;
use crate::daemon::{BUCKETS, Histogram, OfQueue};
use crate::http::{Door, Handled, Request, Response, Right, problem, require};
use crate::os::clock;
use crate::spool::{BridgeFiles, LeaseSummary, Waits, Where};
use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::io;
use std::sync::Arc;

pub fn show(request: &Request, door: &Arc<Door>) -> Handled {
    require(request, Right::Read, problem::new)?;
    let mut page = Exposition(String::new());
    gauges(&mut page, door).map_err(failed)?;
    counters(&mut page, &door.tally().read());
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(Response::with(200, kind, page.0).into())
}

struct Exposition(String);

impl Exposition {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        let labels: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}=\"{}\"", escape(value)))
            .collect();
        if !labels.is_empty() {
            let _ = write!(self.0, "{{{}}}", labels.join(","));
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        self.value(name, &[], value);
    }

    fn histogram(&mut self, name: &str, queue: &str, of: &Histogram) {
        let mut below = 0;
        for (bound, n) in BUCKETS.iter().zip(of.buckets) {
            below += n;
            let bound = bound.to_string();
            self.value(
                &format!("{name}_bucket"),
                &[("queue", queue), ("le", &bound)],
                below,
            );
        }
        self.value(
            &format!("{name}_bucket"),
            &[("queue", queue), ("le", "+Inf")],
            of.count,
        );
        self.value(&format!("{name}_sum"), &[("queue", queue)], of.sum);
        self.value(&format!("{name}_count"), &[("queue", queue)], of.count);
    }
}

fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn gauges(page: &mut Exposition, door: &Door) -> io::Result<()> {
    let (config, spool) = (door.config(), door.spool());
    page.head("pirn_build_info", "gauge", "The version.");
    page.value(
        "pirn_build_info",
        &[("version", env!("CARGO_PKG_VERSION"))],
        1,
    );

    let names = spool.known_queues(&config)?;
    let waiting = names
        .iter()
        .map(|name| Ok((name.as_str(), queues::waiting(door, name)?)))
        .collect::<io::Result<Vec<_>>>()?;
    page.head("pirn_jobs_waiting", "gauge", "Jobs that wait, by queue.");
    for (name, n) in &waiting {
        page.value("pirn_jobs_waiting", &[("queue", name)], n);
    }
    let active = spool.ids(&Where::Active)?.len();
    page.head("pirn_jobs", "gauge", "Jobs by state.");
    let pending: usize = waiting.iter().map(|(_, n)| n).sum();
    let (held, complete, gave_up) = (
        spool.ids(&Where::Held)?.len(),
        spool.ids(&Where::Complete)?.len(),
        spool.ids(&Where::Failed)?.len(),
    );
    for (state, n) in [
        ("pending", pending),
        ("held", held),
        ("active", active),
        ("complete", complete),
        ("failed", gave_up),
    ] {
        page.value("pirn_jobs", &[("state", state)], n);
    }
    page.head(
        "pirn_queue_oldest_age_seconds",
        "gauge",
        "Age of the file that has waited for longest, by queue.",
    );
    for name in &names {
        if let Some(age) = oldest(door, name)? {
            page.value(
                "pirn_queue_oldest_age_seconds",
                &[("queue", name.as_str())],
                age,
            );
        }
    }
    page.head(
        "pirn_queue_paused",
        "gauge",
        "1 while nothing is started from the queue.",
    );
    let pauses = spool.pauses()?;
    for name in &names {
        page.value(
            "pirn_queue_paused",
            &[("queue", name.as_str())],
            u8::from(config.is_paused(name, &pauses)),
        );
    }
    page.gauge("pirn_slots", "Jobs at a time.", door.slots());
    if !config.tokens.is_empty() {
        tokens(page, &spool.waits(&config)?);
    }
    page.gauge(
        "pirn_bad_files",
        "Files in bad/ that could not be jobs.",
        spool.count_bad()?,
    );
    page.gauge(
        "pirn_spool_free_bytes",
        "Free room on the spool's file system.",
        spool.free_space()?.free_bytes,
    );
    page.gauge("queued_jobs", "Jobs that wait.", pending);
    leases(page, &spool.bridges()?);
    Ok(())
}

fn tokens(page: &mut Exposition, waits: &Waits<'_>) {
    let mut put = |name, help, value: &dyn Fn(usize, usize) -> usize| {
        page.head(name, "gauge", help);
        for (token, used, total) in waits.tokens() {
            page.value(name, &[("token", token.as_str())], value(used, total));
        }
    };
    put("pirn_tokens", "Tokens in the settings.", &|_, total| total);
    put(
        "pirn_tokens_used",
        "Tokens that running jobs have.",
        &|used, _| used,
    );
}

/// The bridges, by name.
fn leases(page: &mut Exposition, bridges: &[BridgeFiles]) {
    if bridges.is_empty() {
        return;
    }
    let now = clock::wall();
    let all: Vec<_> = bridges.iter().map(|b| (b, b.summary(now))).collect();
    let mut put = |name, kind, help, value: &dyn Fn(&BridgeFiles, LeaseSummary) -> f64| {
        page.head(name, kind, help);
        for (bridge, sum) in &all {
            page.value(
                name,
                &[("remote", bridge.name.as_str())],
                value(bridge, *sum),
            );
        }
    };
    put(
        "pirn_remote_up",
        "gauge",
        "1 while the bridge's process runs.",
        &|bridge, _| f64::from(u8::from(bridge.is_running)),
    );
    put("pirn_leases", "gauge", "Open leases.", &|_, sum| {
        sum.open as f64
    });
    put(
        "pirn_lease_oldest_age_seconds",
        "gauge",
        "Age of the oldest open lease.",
        &|_, sum| sum.oldest.map_or(0.0, |age| age.as_secs_f64()),
    );
    put(
        "pirn_leases_lost_total",
        "counter",
        "Leases that were lost.",
        &|_, sum| sum.lost as f64,
    );
    put(
        "pirn_messages_refused_total",
        "counter",
        "Messages that could not be jobs.",
        &|_, sum| sum.refused as f64,
    );
}

/// Seconds since the oldest file of a queue was written.
fn oldest(door: &Door, queue: &QueueName) -> io::Result<Option<f64>> {
    let at = Where::Pending(queue.clone());
    let ids = match door.spool().ids(&at) {
        Ok(ids) => ids,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    // More files are not looked at: that would take too long.
    let looks = ids.iter().take(1000).filter_map(|id| {
        let look = door.spool().look(&at.place(), id.as_str().as_bytes());
        look.ok().flatten().map(|look| look.modified)
    });
    let now = clock::wall().0;
    Ok(looks
        .min()
        .map(|first| (now.saturating_sub(first).max(0) as f64) / 1e9))
}

fn counters(page: &mut Exposition, tally: &BTreeMap<QueueName, OfQueue>) {
    page.head(
        "pirn_job_attempts_total",
        "counter",
        "Tries that ended, by how they did.",
    );
    for (queue, of_queue) in tally {
        for (outcome, n) in &of_queue.attempts {
            let labels = [("queue", queue.as_str()), ("outcome", outcome)];
            page.value("pirn_job_attempts_total", &labels, n);
        }
    }
    page.head(
        "pirn_jobs_finished_total",
        "counter",
        "Jobs that ended, by how they did.",
    );
    for (queue, of_queue) in tally {
        for (result, n) in [("complete", of_queue.complete), ("failed", of_queue.failed)] {
            let labels = [("queue", queue.as_str()), ("result", result)];
            page.value("pirn_jobs_finished_total", &labels, n);
        }
    }
    page.head(
        "pirn_job_duration_seconds",
        "histogram",
        "From the start of a try to its end.",
    );
    for (queue, of_queue) in tally {
        page.histogram(
            "pirn_job_duration_seconds",
            queue.as_str(),
            &of_queue.duration,
        );
    }
    page.head(
        "pirn_job_wait_seconds",
        "histogram",
        "From the making of a job to its first start.",
    );
    for (queue, of_queue) in tally {
        page.histogram("pirn_job_wait_seconds", queue.as_str(), &of_queue.wait);
    }
    page.head(
        "pirn_last_success_timestamp_seconds",
        "gauge",
        "When a job last ended well.",
    );
    for (queue, of_queue) in tally {
        if let Some(at) = of_queue.last_success {
            let seconds = at.0 as f64 / 1e9;
            page.value(
                "pirn_last_success_timestamp_seconds",
                &[("queue", queue.as_str())],
                seconds,
            );
        }
    }
    // Slots have no numbers here: worker 1 stands for all.
    let worker = [("worker_id", "1")];
    let all = tally.values().map(|of_queue| of_queue.duration);
    let (count, sum) = all.fold((0, 0.0), |(n, sum), d| (n + d.count, sum + d.sum));
    page.head("total_jobs", "counter", "Tries that ended.");
    page.value("total_jobs", &worker, count);
    page.head(
        "job_duration",
        "summary",
        "From the start of a try to its end, in seconds.",
    );
    page.value("job_duration_sum", &worker, sum);
    page.value("job_duration_count", &worker, count);
}
