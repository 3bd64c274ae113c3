//! Rung B between the end of a job and its follow-up jobs: those of `callback_url` and `on_finish` are accepted,
//! durably, before the end is shown. The daemon is killed at its n-th system call of each kind; in every case each end
//! has one callback and one command, and the callback is made.

use crate::audit::conclude;
use crate::host::{ready, setting};
use crate::kill::TOOLS;
use crate::rig::{Rig, STRACE};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// The system calls of an end and its follow-ups.
const CALLS: [&str; 5] = [
    "rename,renameat,renameat2",
    "unlink,unlinkat",
    "fsync,fdatasync",
    "open,openat",
    "write,pwrite64,writev",
];

/// Their ends: two end by themselves, one never runs, one does not end.
const JOBS: [&str; 4] = ["good", "bad", "late", "none"];

/// The jobs that calls (by their `webhook-id`) were about, as the server received them.
type Told = Arc<Mutex<BTreeSet<(String, String)>>>;

fn receiver() -> (String, Told) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let told = Told::default();
    let shared = Arc::clone(&told);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || hear(stream, &shared));
        }
    });
    (url, told)
}

fn hear(mut stream: TcpStream, told: &Told) -> Option<()> {
    let mut bytes = Vec::new();
    let (head, body) = loop {
        let mut buffer = [0; 4096];
        let n = stream.read(&mut buffer).ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        let Some((head, _)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let field = |name: &str| Some(head.split_once(name)?.1.lines().next()?.trim().to_owned());
        let length: usize = field("content-length:")?.parse().ok()?;
        let body = &bytes[head.len() + 4..];
        if body.len() >= length {
            break (field("webhook-id:")?, body.to_vec());
        }
    };
    let job: Value = serde_json::from_slice(&body).ok()?;
    let about = job["id"].as_str()?.to_owned();
    told.lock().unwrap().insert((about, head));
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .ok()
}

/// The file in which the commands note the jobs that they follow.
fn followed(rig: &Rig) -> PathBuf {
    rig.spool.with_file_name("followed")
}

/// A spool in which the four jobs wait.
fn prepare(url: &str) -> Rig {
    let mut rig = Rig::alone("");
    rig.recover().unwrap();
    let job = rig.ledger.job();
    let note = followed(&rig).display().to_string();
    for (id, fields) in [
        ("good", json!({"command": [job, "ok"]})),
        ("bad", json!({"command": [job, "fail"]})),
        (
            "late",
            json!({"command": [job, "ok"], "expires": "2020-01-01T00:00:00Z"}),
        ),
        ("none", json!({"command": ["/does/not/exist"]})),
    ] {
        let mut record = fields;
        record["tries"] = json!(3);
        record["retry_on"] = json!([]);
        record["callback_url"] = json!(url);
        record["on_finish"] = json!(format!("echo $PIRN_PARENT_ID >> {note}"));
        let staged = rig.spool.with_file_name("staged");
        fs::write(&staged, record.to_string()).unwrap();
        fs::rename(staged, rig.spool.join("pending").join(id)).unwrap();
    }
    rig
}

/// Runs the daemon until it has done all work or is killed; true if it was killed.
fn serve_traced(rig: &mut Rig, options: &[&str]) -> bool {
    let strace = [&["strace", "-f", "-b", "execve", "-qq"], options].concat();
    let command = rig.through(&strace, &["serve", "--drain"]);
    rig.serve_by(command);
    rig.wait_exit();
    let left = |dir: &str| !rig.files(dir).is_empty();
    left("pending") || left("active")
}

fn kill_at(calls: &str, when: u64) -> (bool, Vec<String>) {
    let (url, told) = receiver();
    let mut rig = prepare(&url);
    let (trace, inject) = (
        format!("trace={calls}"),
        format!("inject={calls}:signal=SIGKILL:when={when}"),
    );
    let options = ["-o", "/dev/null", "-e", &trace, "-e", &inject];
    let killed = serve_traced(&mut rig, &options);
    let mut found: Vec<String> = rig.recover().err().into_iter().collect();
    found.extend(audit(&rig, &told));
    if !found.is_empty() {
        println!("--- {calls} {when}:\n{}", rig.log());
    }
    let line = |what| format!("{calls}, call {when}: {what}");
    (killed, found.into_iter().map(line).collect())
}

fn audit(rig: &Rig, told: &Told) -> Vec<String> {
    let mut found = Vec::new();
    let ended: Vec<String> = ["complete", "failed"]
        .iter()
        .flat_map(|dir| rig.names(dir))
        .collect();
    for id in JOBS {
        if ended.iter().filter(|name| *name == id).count() != 1 {
            found.push(format!("{id} did not end once"));
        }
        for word in ["callback", "finish"] {
            let begin = format!("{word}-{id}-");
            let count = ended.iter().filter(|name| name.starts_with(&begin)).count();
            if count != 1 {
                found.push(format!("{count} jobs {begin}"));
            }
        }
    }
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for (job, _) in told.lock().unwrap().iter() {
        *names.entry(job.clone()).or_default() += 1;
    }
    let wanted: BTreeMap<String, usize> = JOBS.iter().map(|id| ((*id).to_owned(), 1)).collect();
    if names != wanted {
        found.push(format!("told, by how many names: {names:?}"));
    }
    let note = fs::read_to_string(followed(rig)).unwrap_or_default();
    let followed: BTreeSet<&str> = note.lines().collect();
    if followed != JOBS.iter().copied().collect() {
        found.push(format!("commands were run for {followed:?}"));
    }
    for dir in ["pending", "active", "bad"] {
        found.extend(
            rig.files(dir)
                .iter()
                .map(|path| format!("{path} is left behind")),
        );
    }
    found
}

/// The first few calls one by one, later ones further and further apart, until the daemon is not killed any more.
fn at_points_of(calls: &str) {
    if !ready("rung B", &TOOLS, false) {
        return;
    }
    let (points, mut when, mut step) = (setting("PIRN_POINTS", 12), 1, 1);
    let (mut tried, mut killed, mut spared, mut found) = (Vec::new(), 0, 0, Vec::new());
    while spared < 2 && tried.len() < usize::try_from(points).unwrap() {
        let (was_killed, findings) = kill_at(calls, when);
        killed += u64::from(was_killed);
        spared = if was_killed { 0 } else { spared + 1 };
        found.extend(findings);
        tried.push(when);
        when += step;
        // If there are many points, each call gets one.
        step += u64::from(points <= 20 && tried.len() % 3 == 0);
    }
    let what = format!(
        "{} points {tried:?}, {killed} killed before the end",
        tried.len()
    );
    conclude(&format!("rung B, what follows, at {calls}"), &what, &found);
}

#[test]
fn killed_at_a_rename() {
    at_points_of(CALLS[0]);
}

#[test]
fn killed_at_an_unlink() {
    at_points_of(CALLS[1]);
}

#[test]
fn killed_at_a_sync() {
    at_points_of(CALLS[2]);
}

#[test]
fn killed_at_an_open() {
    at_points_of(CALLS[3]);
}

#[test]
fn killed_at_a_write() {
    at_points_of(CALLS[4]);
}

/// A command may also be killed between moving a job to `failed/` and writing its end into the record: the next daemon
/// then completes it. Each end has at least one callback; cancelling a job that is not cancelled yet makes another.
#[test]
fn a_cancel_that_is_cut_short_is_told() {
    if !ready("rung B", &TOOLS, false) {
        return;
    }
    let (mut found, mut killed) = (Vec::new(), 0);
    for calls in CALLS {
        for when in 1..=setting("PIRN_POINTS", 12) {
            let (url, told) = receiver();
            let mut rig = prepare(&url);
            let inject = format!("inject={calls}:signal=SIGKILL:when={when}");
            let trace = format!("trace={calls}");
            let strace = [&STRACE[..], &["-e", &trace, "-e", &inject]].concat();
            let done = crate::rig::run(&mut rig.through(&strace, &["cancel", "good"]));
            let mut findings: Vec<String> = rig.recover().err().into_iter().collect();
            let told = told.lock().unwrap();
            if !told.iter().any(|(job, _)| job == "good") {
                findings.push("its end is not told".to_owned());
            }
            if done.ok && !rig.names("failed").contains("good") {
                findings.push("it is not cancelled".to_owned());
            }
            found.extend(
                findings
                    .into_iter()
                    .map(|what| format!("{calls}, call {when}: {what}")),
            );
            if done.ok {
                break;
            }
            killed += 1;
        }
    }
    conclude(
        "rung B, what follows a cancel",
        &format!("{killed} killed"),
        &found,
    );
}
