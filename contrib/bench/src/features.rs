//! The cost of each feature: the system calls of a job by purpose, the time of the necessary calls alone, and jobs with
//! a feature beside jobs without.

use crate::daemon::{NO_FRONT, NO_OP, Spool};
use crate::drain;
use crate::ground::Ground;
use crate::limits::rate;
use crate::report::{Row, remark, table};
use crate::sys;
use crate::{Context, progress};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::process::{Command, Stdio};

pub fn report(c: &Context) -> io::Result<()> {
    let Some(ground) = c.grounds.list.first() else {
        return Ok(());
    };
    calls(c, ground)?;
    bare(c)?;
    with_and_without(c, ground)
}

/// Jobs with a feature beside jobs without: the µs that it adds.
fn with_and_without(c: &Context, ground: &Ground) -> io::Result<()> {
    let cases = [
        ("a timeout", r#"{"command":["/bin/true"],"timeout":"1h"}"#),
        (
            "a scratch directory",
            r#"{"command":["/bin/true"],"tmp":true}"#,
        ),
        (
            "a second log (`split`)",
            r#"{"command":["/bin/true"],"split":true}"#,
        ),
        ("standard input", r#"{"command":["/bin/true"],"stdin":"x"}"#),
        (
            "at most once (`once`)",
            r#"{"command":["/bin/true"],"once":true}"#,
        ),
        (
            "a umask (through the stub)",
            r#"{"command":["/bin/true"],"umask":"027"}"#,
        ),
        ("a shell", r#"{"command":"/bin/true"}"#),
        ("output", r#"{"command":["/bin/echo","x"]}"#),
        (
            "failing, no further try",
            r#"{"command":["/bin/false"],"tries":1}"#,
        ),
    ];
    let mut rows = cases.map(|(name, _)| Row::new(name));
    let count = c.scaled(1000);
    let reps = if c.quick { 1 } else { c.reps.min(3) };
    for rep in 0..reps {
        progress(&format!("features: with and without {}/{}", rep + 1, reps));
        for (row, (_, job)) in rows.iter_mut().zip(cases) {
            let plain = drain::once(c, ground, c.cpus, true, count, NO_OP)?;
            let failing = job.contains("/bin/false");
            let with = if failing {
                drained_to(c, ground, "failed", job, count)?
            } else {
                drain::once(c, ground, c.cpus, true, count, job)?
            };
            row.push_beside(1e6 / with, 1e6 / plain);
        }
    }
    table(
        &format!("Jobs that ask for more, {} slots, durable", c.cpus),
        "µs a job",
        "a job that asks for nothing, right before",
        &rows,
    );
    Ok(())
}

fn drained_to(
    c: &Context,
    ground: &Ground,
    place: &str,
    job: &str,
    count: usize,
) -> io::Result<f64> {
    let spool = Spool::new(ground.fresh("drain")?, c.cpus)?;
    spool.fill(1, count, job)?;
    let daemon = crate::daemon::Daemon::start(&c.pirn, &spool, true)?;
    daemon.settle()?;
    let rate = crate::daemon::drain_to(&spool, c.cpus, count, place)?;
    daemon.stop()?;
    Ok(rate)
}

/// The necessary calls of each feature, in a loop of their own, on two threads.
fn bare(c: &Context) -> io::Result<()> {
    for ground in &c.grounds.list {
        let names = [
            "log: create, lock, close, open, lock, unlink",
            "record: create, write, exchange, unlink",
            "moves: two renames",
            "sync: fdatasync of a new file, fsync of the directory, 16 at a time",
        ];
        let mut rows = names.map(Row::new);
        for rep in 0..c.reps {
            progress(&format!(
                "features: bare {} {}/{}",
                ground.name,
                rep + 1,
                c.reps
            ));
            let dir = ground.fresh("feature")?;
            for name in ["log", "tmp", "a", "b", "c"] {
                fs::create_dir(dir.join(name))?;
            }
            let count = c.scaled(2000);
            let each = count.div_ceil(2);
            for thread in 0..2 {
                (0..each)
                    .try_for_each(|n| fs::write(dir.join(format!("a/{thread}.{n}")), NO_OP))?;
            }
            let log = rate(2, count, |thread, n| {
                let path = dir.join(format!("log/{thread}.{n}"));
                let file = File::options().append(true).create(true).open(&path)?;
                sys::lock(&file)?;
                drop(file);
                let file = File::open(&path)?;
                sys::lock(&file)?;
                fs::remove_file(&path)
            })?;
            let record = rate(2, count, |thread, n| {
                let (staged, path) = (
                    dir.join(format!("tmp/{thread}.{n}")),
                    dir.join(format!("a/{thread}.{n}")),
                );
                File::create_new(&staged)?.write_all(&[b'x'; 600])?;
                sys::exchange(&staged, &path)?;
                fs::remove_file(staged)
            })?;
            let moves = rate(2, count, |thread, n| {
                let name = format!("{thread}.{n}");
                fs::rename(dir.join("a").join(&name), dir.join("b").join(&name))?;
                fs::rename(dir.join("b").join(&name), dir.join("c").join(&name))
            })?;
            let directory = File::open(dir.join("tmp"))?;
            let sync = rate(16, c.scaled(800), |thread, n| {
                let mut file = File::create_new(dir.join(format!("tmp/s{thread}.{n}")))?;
                file.write_all(&[b'x'; 600])?;
                file.sync_data()?;
                directory.sync_all()
            })?;
            for (row, rate) in rows.iter_mut().zip([log, record, moves, sync]) {
                row.push(1e6 / rate);
            }
        }
        table(
            &format!("The calls of features alone, {}", ground.name),
            "µs a job",
            "these are the limits; two threads",
            &rows,
        );
    }
    Ok(())
}

/// System calls of a job: those of a daemon that runs many jobs, minus those of one that runs few.
fn calls(c: &Context, ground: &Ground) -> io::Result<()> {
    if !c.has("strace") {
        remark("System calls of a job: skipped, strace is not installed.");
        return Ok(());
    }
    progress("features: system calls");
    let (few, many) = (50, 450);
    let (small, large) = (traced(c, ground, few)?, traced(c, ground, many)?);
    println!("\n### System calls of a no-op job\n");
    println!(
        "Durable, {} slots; under strace, which makes everything slower and batches smaller.\n",
        c.cpus
    );
    println!("| for | call | a job |");
    println!("|---|---|---|");
    let mut sum = 0.0;
    for (key, count) in &large {
        let each = (*count as f64 - *small.get(key).unwrap_or(&0) as f64) / (many - few) as f64;
        if each >= 0.05 {
            println!("| {} | {} | {each:.2} |", key.0, key.1);
            sum += each;
        }
    }
    println!("| all | | {sum:.1} |");
    Ok(())
}

/// The number of calls by purpose and name.
type Calls = BTreeMap<(String, String), usize>;

fn traced(c: &Context, ground: &Ground, count: usize) -> io::Result<Calls> {
    let spool = Spool::new(ground.fresh("strace")?, c.cpus)?;
    spool.configure(c.cpus, false)?;
    spool.fill(1, count, NO_OP)?;
    let out = spool.dir.with_extension("strace");
    let log = File::create(spool.dir.with_extension("log"))?;
    Command::new("strace")
        .args(["-f", "-y", "-qq", "-o"])
        .arg(&out)
        .arg(&c.pirn)
        .args(["serve", "--drain"])
        .env(NO_FRONT.0, NO_FRONT.1)
        .arg(&spool.dir)
        .stdout(Stdio::null())
        .stderr(log)
        .status()?;
    Ok(sorted(
        &String::from_utf8_lossy(&fs::read(out)?),
        &spool.dir.display().to_string(),
    ))
}

fn sorted(text: &str, spool: &str) -> Calls {
    let lines: Vec<(u32, &str)> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(pid, rest)| Some((pid.parse().ok()?, rest.trim_start())))
        .filter(|(_, rest)| {
            !rest.starts_with("<...") && !rest.starts_with("+++") && !rest.starts_with("---")
        })
        .collect();
    let daemon = lines.first().map(|(pid, _)| *pid);
    // A process that calls execve becomes a job: its calls before that belong to the start of the job.
    let jobs: HashSet<u32> = lines
        .iter()
        .filter(|(pid, rest)| Some(*pid) != daemon && rest.starts_with("execve("))
        .map(|(pid, _)| *pid)
        .collect();
    let mut executed: HashMap<u32, bool> = HashMap::new();
    let mut calls = Calls::new();
    for (pid, rest) in &lines {
        let call = rest.split('(').next().unwrap_or("").to_owned();
        let purpose = if jobs.contains(pid) {
            let over = executed.entry(*pid).or_default();
            if *over {
                continue;
            }
            *over = call == "execve";
            "start (in the child)".to_owned()
        } else {
            purpose(&call, rest, spool).to_owned()
        };
        *calls.entry((purpose, call)).or_default() += 1;
    }
    calls
}

/// The purpose of a call of the daemon, from its name and the first directory that it names.
fn purpose(call: &str, rest: &str, spool: &str) -> &'static str {
    let about = |place: &str| rest.contains(&format!("<{spool}/{place}"));
    match call {
        "futex" | "sched_yield" => "threads",
        "mmap" | "munmap" | "brk" | "madvise" | "mprotect" => "memory",
        "epoll_wait" | "timerfd_settime" | "eventfd2" => "engine",
        "clone" | "clone3" | "vfork" | "rt_sigprocmask" | "rt_sigaction" => "start",
        "waitid" | "wait4" | "pidfd_open" | "pidfd_send_signal" | "kill" => "wait, tree kill",
        "fsync" | "fdatasync" => "sync",
        "flock" => "log",
        _ if rest.contains("\"/proc/") || rest.contains("</proc/") => "wait, tree kill",
        _ if about("log") => "log",
        _ if rest.contains("inotify") => "watch",
        _ if about("tmp") => "record",
        _ if call.starts_with("rename") => "moves",
        _ if about("pending") => "claim",
        _ if about("active") || about("complete") || about("failed") => "record",
        "write" if rest.contains(".log>") => "daemon's own log",
        "read" | "write" if rest.contains("eventfd") => "engine",
        "statfs" | "fstatfs" => "disk guard",
        "faccessat2" | "access" | "faccessat" | "stat" | "newfstatat" => "start",
        _ => "other",
    }
}
