//! From a claimed record to a running process.

use super::calls;
use super::home::Home;
use super::leader::{ChildOf, Leader};
use super::start::{Launched, MAX_ARGUMENT, NotLaunched, NotNow, Setup};
use super::state::Daemon;
use crate::core::id::JobId;
use crate::core::quote::cut_to;
use crate::core::record::Work;
use crate::os::cgroup::Cgroup;
use crate::os::{child, spawn};
use crate::spool::OpenLogs;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;

/// Opens and locks the logs of a job.
pub fn open_logs(daemon: &Daemon, id: &JobId, split: bool) -> Result<OpenLogs, NotNow> {
    let opened = daemon.spool.open_logs(id, split);
    opened.map_err(NotNow::Resources)?.ok_or(NotNow::Busy)
}

/// Starts the job.
pub fn launch(
    daemon: &Daemon,
    start: &Setup<'_>,
    logs: &OpenLogs,
) -> Result<Launched<Leader>, NotLaunched> {
    let scratch = make_scratch(daemon, start)?;
    let env = environment(&daemon.home, start, scratch.as_deref());
    let cwd = start
        .record
        .cwd
        .clone()
        .or_else(|| scratch.clone())
        .unwrap_or_else(|| daemon.home.account.home.clone());
    let (program, argv) = program(daemon, start, &env, &cwd)?;
    let cgroup = daemon.home.group(start.id);
    let (program, argv) = through_stub(&daemon.home, start, cgroup.as_ref(), program, argv);
    let stdin = match (&start.record.work, &start.record.stdin) {
        (Work::Url(call), _) => spawn::memory_file(&calls::order(
            start.record,
            call,
            start.terms.max_log,
            &daemon.config(),
        )),
        (Work::Text(_) | Work::Argv(_) | Work::Script { .. }, Some(bytes)) => {
            spawn::memory_file(bytes)
        }
        (Work::Text(_) | Work::Argv(_) | Work::Script { .. }, None) => File::open("/dev/null"),
    }
    .map_err(NotLaunched::Resources)?;
    let env: Vec<String> = env
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let launch = spawn::Launch::new(&program, &argv, &env, &cwd)
        .map_err(|e| impossible(&e, e.to_string()))?;
    let errors = logs.stderr.as_ref().unwrap_or(&logs.stdout);
    match launch.start(stdin.as_fd(), logs.stdout.as_fd(), errors.as_fd()) {
        Ok((pid, pidfd)) => Ok(Launched {
            pid,
            leader: Leader {
                pidfd,
                parent: ChildOf::Thread,
            },
            log_offset: logs.offset,
            cgroup,
        }),
        Err(e) if spawn::is_shortage(&e) => Err(NotLaunched::Resources(e)),
        Err(e) => Err(explain(&e, &program, &cwd)),
    }
}

/// Makes the scratch directory of a job that wants one, with its files; gives its path.
fn make_scratch(daemon: &Daemon, start: &Setup<'_>) -> Result<Option<String>, NotLaunched> {
    if !start.record.wants_scratch() {
        return Ok(None);
    }
    let made = daemon.spool.make_scratch(start.id, start.record);
    made.map_err(NotLaunched::Resources)?;
    Ok(Some(format!("{}/tmp/{}", daemon.home.spool, start.id)))
}

/// The whole environment, made from nothing: who and where we are, then what the record asks for, then pirn's own.
fn environment(home: &Home, start: &Setup<'_>, scratch: Option<&str>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let mut put = |key: &str, value: &str| {
        env.insert(key.to_owned(), value.to_owned());
    };
    put("PATH", &home.path);
    put("HOME", &home.account.home);
    put("USER", &home.account.name);
    put("LOGNAME", &home.account.name);
    put("SHELL", "/bin/sh");
    for (key, value) in &home.locale {
        put(key, value);
    }
    for (key, value) in &start.record.env {
        put(key, value);
    }
    // The child adds its own.
    env.remove(child::PID);
    let mut put = |key: &str, value: &str| {
        env.insert(key.to_owned(), value.to_owned());
    };
    put("PIRN_ID", start.id.as_str());
    put("PIRN_QUEUE", start.queue.as_str());
    put("PIRN_ATTEMPT", &start.record.attempt.to_string());
    put("PIRN_SLOT", &start.slot.of_all.to_string());
    put("PIRN_QUEUE_SLOT", &start.slot.of_queue.to_string());
    put("PIRN_SPOOL", &home.spool);
    put("PIRN_STORE", &format!("{}/store", home.spool));
    let out = start.record.work.out_name();
    if let Some(scratch) = scratch {
        put("PIRN_TMP", scratch);
        put("PIRN_OUT", &format!("{scratch}/{out}"));
    }
    // Programs that were written for qmd find the same under qmd's names.
    if let Work::Script { .. } = start.record.work {
        put("QMD_STORE", &format!("{}/store", home.spool));
        if let Some(scratch) = scratch {
            put("QMD_TMP", scratch);
            put("QMD_OUT", &format!("{scratch}/{out}"));
        }
    }
    env
}

/// The program's path and its arguments, its name first.
fn program(
    daemon: &Daemon,
    start: &Setup<'_>,
    env: &BTreeMap<String, String>,
    cwd: &str,
) -> Result<(String, Vec<String>), NotLaunched> {
    match &start.record.work {
        Work::Text(text) => match text.strip_prefix("#!") {
            Some(rest) => script(daemon, start.id, text, rest),
            None if text.len() > MAX_ARGUMENT => {
                let copy = private_copy(daemon, start.id, text)?;
                Ok(("/bin/sh".to_owned(), vec!["sh".to_owned(), copy]))
            }
            None => Ok((
                "/bin/sh".to_owned(),
                vec!["sh".to_owned(), "-c".to_owned(), text.clone()],
            )),
        },
        Work::Argv(argv) => {
            let name = argv.first().map_or("", String::as_str);
            let path = env.get("PATH").map_or("", String::as_str);
            match spawn::find_program(name, path, cwd) {
                Ok(program) => Ok((program, argv.clone())),
                Err(e) => Err(impossible(
                    &e,
                    format!(
                        "cannot execute {}: {e} (looked in {})",
                        cut_to(name, MAX_PATH),
                        cut_to(path, MAX_PATH)
                    ),
                )),
            }
        }
        Work::Script { name, args } => {
            let program = format!("{}/scripts/{name}", daemon.home.spool);
            let cannot = |e| impossible(&e, format!("cannot execute {program}: {e}"));
            daemon.spool.check_script(name).map_err(cannot)?;
            let argv = std::iter::once(program.clone())
                .chain(args.iter().cloned())
                .collect();
            Ok((program, argv))
        }
        Work::Url(_) => Ok((
            spawn::OWN_BINARY.to_owned(),
            vec!["pirn".to_owned(), "deliver".to_owned()],
        )),
    }
}

/// A dropped `#!` script runs from a private copy. Its first line is read as the kernel would (execve(2)), and
/// the interpreter started directly: executing a file that was just written may meet ETXTBSY, because a child
/// that another thread is starting has the writing descriptor for a moment.
fn script(
    daemon: &Daemon,
    id: &JobId,
    text: &str,
    rest: &str,
) -> Result<(String, Vec<String>), NotLaunched> {
    let line = rest.lines().next().unwrap_or("").trim();
    let (interpreter, argument) = match line.split_once([' ', '\t']) {
        Some((interpreter, argument)) => (interpreter, Some(argument.trim())),
        None => (line, None),
    };
    if interpreter.is_empty() {
        let error = "the script's first line names no interpreter".to_owned();
        return Err(NotLaunched::Impossible {
            error,
            code: EXIT_NOT_EXECUTABLE,
        });
    }
    let copy = private_copy(daemon, id, text)?;
    let argv = std::iter::once(interpreter)
        .chain(argument)
        .map(str::to_owned);
    let argv = argv.chain(std::iter::once(copy)).collect();
    Ok((interpreter.to_owned(), argv))
}

/// Writes the text where only its own job runs it from; gives the path.
fn private_copy(daemon: &Daemon, id: &JobId, text: &str) -> Result<String, NotLaunched> {
    let written = daemon.spool.write_script_copy(id, text);
    let copy = written.map_err(NotLaunched::Resources)?;
    Ok(format!("{}/tmp/{copy}", daemon.home.spool))
}

/// Sends a start that needs more than [`crate::os::child`] does through `pirn exec-job`: our own binary, which sets
/// itself up and becomes the program.
fn through_stub(
    home: &Home,
    start: &Setup<'_>,
    cgroup: Option<&Cgroup>,
    program: String,
    argv: Vec<String>,
) -> (String, Vec<String>) {
    let mut options = Vec::new();
    if let Some(group) = cgroup {
        options.extend(["--cgroup".to_owned(), spawn::path_text(group.path())]);
    }
    let umask = start.record.umask.unwrap_or(home.umask);
    if umask != home.own_umask {
        options.extend(["--umask".to_owned(), format!("{umask:03o}")]);
    }
    if let Some(nice) = start.terms.nice.filter(|nice| *nice != 0) {
        options.push(format!("--nice={nice}"));
    }
    for (name, value) in &start.record.limits {
        let value = value.map_or_else(|| "unlimited".to_owned(), |v| v.to_string());
        options.extend(["--limit".to_owned(), format!("{name}={value}")]);
    }
    if options.is_empty() {
        return (program, argv);
    }
    let head = ["pirn".to_owned(), "exec-job".to_owned()];
    let argv = head
        .into_iter()
        .chain(options)
        .chain(["--".to_owned(), program])
        .chain(argv)
        .collect();
    (spawn::OWN_BINARY.to_owned(), argv)
}

/// Exit codes of a shell, for what could not be executed or found.
const EXIT_NOT_EXECUTABLE: i32 = 126;
const EXIT_NOT_FOUND: i32 = 127;

fn impossible(e: &io::Error, error: String) -> NotLaunched {
    let missing = e.kind() == io::ErrorKind::NotFound;
    NotLaunched::Impossible {
        error,
        code: if missing {
            EXIT_NOT_FOUND
        } else {
            EXIT_NOT_EXECUTABLE
        },
    }
}

/// How many characters of a path are shown.
const MAX_PATH: usize = 1000;

/// The child says only one thing for a directory and a program that are not there: find out which.
fn explain(e: &io::Error, program: &str, cwd: &str) -> NotLaunched {
    let there = std::fs::metadata(cwd);
    let (program, cwd) = (cut_to(program, MAX_PATH), cut_to(cwd, MAX_PATH));
    match there {
        Err(cause) => impossible(
            e,
            format!("cannot enter the working directory {cwd}: {cause}"),
        ),
        Ok(meta) if !meta.is_dir() => impossible(
            e,
            format!("cannot enter the working directory {cwd}: not a directory"),
        ),
        Ok(_) => impossible(e, format!("cannot execute {program}: {e}")),
    }
}
