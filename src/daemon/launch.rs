//! From a claimed record to a running process.

use super::calls;
use super::confine::JobBounds;
use super::home::Home;
use super::leader::{ChildOf, Leader};
use super::own_paths::OwnPaths;
use super::start::{EXIT_NOT_EXECUTABLE, Launched, MAX_ARGUMENT, NotLaunched, NotNow, Setup};
use super::state::Daemon;
use crate::core::id::JobId;
use crate::core::quote::cut_to;
use crate::core::record::Work;
use crate::os::cgroup::Cgroup;
use crate::os::child;
use crate::os::limits::Limit;
use crate::os::spawn;
use crate::os::step::{ChildStep, StartError};
use crate::os::wait::PidFd;
use crate::spool::{OpenLogs, progress_path};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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
    let config = daemon.config();
    let bounds = JobBounds::of(&daemon.options, &config, start);
    let has_file_rules = bounds.has_file_rules();
    let scratch = make_scratch(daemon, start, has_file_rules)?;
    let mut env = environment(&daemon.home, start, scratch.as_deref());
    if let (true, Some(scratch)) = (has_file_rules, &scratch) {
        // Many programs fail without a directory for temporary files.
        env.entry("TMPDIR".to_owned())
            .or_insert_with(|| scratch.clone());
    }
    let cwd = start
        .record
        .cwd
        .clone()
        .or_else(|| scratch.clone())
        .unwrap_or_else(|| daemon.home.account.home.clone());
    let (program, argv) = program(daemon, start, &env, &cwd)?;
    let stdin = match (&start.record.work, &start.record.stdin) {
        (Work::Url(call), _) => spawn::memory_file(&calls::order(
            start.record,
            call,
            start.terms.max_log,
            &config,
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
    let mut launch = spawn::Launch::new(&program, &argv, &env, &cwd)
        .map_err(|e| impossible(&e, e.to_string()))?;
    launch.umask = Some(start.record.umask.unwrap_or(daemon.home.umask));
    launch.nice = start.terms.nice.filter(|nice| *nice != 0);
    let limits = start.record.limits.iter();
    launch.limits = limits
        .filter_map(|(name, value)| Limit::new(name, *value))
        .collect();
    let errors = logs.stderr.as_ref().unwrap_or(&logs.stdout);
    let descriptors = [stdin.as_fd(), logs.stdout.as_fd(), errors.as_fd()];
    let cgroup = daemon.home.group(start.id);
    let limits = bounds.limits(&daemon.home, cgroup.as_ref())?;
    if !bounds.is_empty() {
        let files = OwnPaths::new(daemon, start, scratch, &program, &argv, &cwd);
        launch.confinement = bounds.confinement(&files.own(logs))?;
    }
    let began = daemon.now();
    match start_in_group(&launch, descriptors, cgroup.as_ref(), &limits.files()) {
        Ok((pid, pidfd)) => Ok(Launched {
            pid,
            began,
            leader: Leader {
                pidfd,
                parent: ChildOf::Thread,
            },
            log_offset: logs.offset,
            cgroup,
            sandboxed: bounds.report(launch.confinement.as_ref(), limits),
        }),
        Err(e) => Err(explain(e, &program, &cwd, has_file_rules)),
    }
}

/// Makes the scratch directory of a job that wants or needs one, with its files; gives its path.
fn make_scratch(
    daemon: &Daemon,
    start: &Setup<'_>,
    is_needed: bool,
) -> Result<Option<String>, NotLaunched> {
    if !is_needed && !start.record.wants_scratch() {
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
    let progress = progress_path(start.id, scratch.is_some());
    put("PIRN_PROGRESS", &format!("{}/tmp/{progress}", home.spool));
    for (name, units) in &start.record.units {
        let units = units.join(",");
        put(&name.variable(), &units);
        if name.as_str() == "gpu" {
            put("CUDA_VISIBLE_DEVICES", &units);
        }
    }
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
        return Err(NotLaunched::refused(error));
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

/// Starts the program in its control group, if it gets one. The watcher removes empty groups: one that is gone by then is
/// made again, once.
fn start_in_group(
    launch: &spawn::Launch,
    descriptors: [BorrowedFd<'_>; 3],
    group: Option<&Cgroup>,
    limits: &[(&str, String)],
) -> Result<(i32, PidFd), StartError> {
    let start = || {
        let group = group.map(|group| make_group(group, limits)).transpose()?;
        launch.start(descriptors, group.as_ref().map(AsFd::as_fd))
    };
    match start() {
        Err(e) if is_group_lost(&e) => start(),
        started => started,
    }
}

fn make_group(group: &Cgroup, limits: &[(&str, String)]) -> Result<OwnedFd, StartError> {
    let made = group.create(limits).and_then(|()| group.open());
    made.map_err(|error| StartError {
        step: ChildStep::Group,
        error,
    })
}

/// True when a control group was removed, or is busy, at the moment of a start.
fn is_group_lost(e: &StartError) -> bool {
    let is_of_group = matches!(e.step, ChildStep::Clone | ChildStep::Group);
    let passing = [libc::EBUSY, libc::ENODEV, libc::ENOENT];
    is_of_group
        && e.error
            .raw_os_error()
            .is_some_and(|code| passing.contains(&code))
}

/// The exit code of a shell for what cannot be found.
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

/// Why the program was not started.
fn explain(e: StartError, program: &str, cwd: &str, has_file_rules: bool) -> NotLaunched {
    if spawn::is_shortage(&e.error) || is_group_lost(&e) {
        return NotLaunched::Resources(e.error);
    }
    let (program, cwd) = (cut_to(program, MAX_PATH), cut_to(cwd, MAX_PATH));
    let sentence = match e.step {
        ChildStep::Directory => format!("cannot enter the working directory {cwd}: {}", e.error),
        ChildStep::Exec if has_file_rules && e.error.kind() == io::ErrorKind::PermissionDenied => {
            let hint = spawn::outside_rules("sandbox.ro");
            format!("cannot execute {program}: {}{hint}", e.error)
        }
        ChildStep::Exec => format!("cannot execute {program}: {}", e.error),
        ChildStep::Clone
        | ChildStep::Group
        | ChildStep::Actions
        | ChildStep::Session
        | ChildStep::Descriptors
        | ChildStep::Umask
        | ChildStep::Nice
        | ChildStep::Limit(_)
        | ChildStep::Close
        | ChildStep::Mask
        // Here an error that something is missing, such as the file of a limit, is not about the program.
        | ChildStep::Confine(_) => return NotLaunched::refused(e.to_string()),
    };
    impossible(&e.error, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_program_that_is_not_there_is_not_found() {
        let code =
            |step, e: io::Error| match explain(StartError { step, error: e }, "/p", "/", true) {
                NotLaunched::Impossible { error, code } => (error, code),
                NotLaunched::Resources(e) => (e.to_string(), 0),
            };
        let no_file = io::Error::new(io::ErrorKind::NotFound, "memory.swap.max: not there");
        let limit = "control group: memory.swap.max: not there".to_owned();
        assert_eq!(
            code(ChildStep::Group, no_file),
            (limit, EXIT_NOT_EXECUTABLE)
        );
        let missing = || io::Error::from_raw_os_error(libc::ENOENT);
        assert_eq!(code(ChildStep::Exec, missing()).1, EXIT_NOT_FOUND);
        assert_eq!(
            code(ChildStep::Group, missing()).1,
            0,
            "the group was just removed"
        );
    }
}
