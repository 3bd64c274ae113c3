//! `pirn serve --detach`: a daemon without a terminal, and its log.

use crate::spool::{Done, Spool, is_alive};
use crate::tools::ok;
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A spool whose daemons are no children of the test.
pub struct Detached(pub Spool);

impl Detached {
    /// Without a daemon.
    pub fn new() -> Self {
        Self(Spool::made())
    }

    /// With one that has these options.
    fn serving(args: &[&str]) -> Self {
        let this = Self::new();
        let done = this.serve(args);
        assert_eq!(
            (done.code, done.stdout.as_str(), done.stderr.as_str()),
            (0, "", ""),
            "{}",
            this.log()
        );
        this
    }

    fn serve(&self, args: &[&str]) -> Done {
        self.0.pirn(&[&["serve", "--detach"], args].concat())
    }

    /// The pid in `lock`.
    pub fn pid(&self) -> i64 {
        self.0.read("lock").lines().next().unwrap().parse().unwrap()
    }

    /// True while a daemon has the spool.
    pub fn is_served(&self) -> bool {
        is_locked(&self.0)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.0.path().join("daemon.log")).unwrap_or_default()
    }

    pub fn wait_log(&self, text: &str) {
        self.0.wait_for(text, || self.log().contains(text));
    }

    /// Ends the daemon, if it has not left by itself.
    pub fn stop(&self) {
        let done = self.0.pirn(&["stop"]);
        assert_eq!(done.code, 0, "{}", done.stderr);
    }

    pub fn wait_unserved(&self) {
        self.0.wait_for("no daemon", || !self.is_served());
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        let _ = self.0.command(["stop", "--now"]).output();
    }
}

/// True while a process has the spool.
pub fn is_locked(spool: &Spool) -> bool {
    let asked = Command::new("flock")
        .args(["--nonblock", "--shared"])
        .arg(spool.path().join("active"))
        .arg("true")
        .status();
    !asked.unwrap().success()
}

/// A shell line in the directory beside the spool, with `pirn` as a function.
fn sh(spool: &Spool, line: &str) -> Done {
    let pirn = env!("CARGO_BIN_EXE_pirn");
    let line = format!("pirn() {{ '{pirn}' \"$@\"; }}; {line}");
    let mut command = Command::new("sh");
    command
        .args(["-c", &line])
        .stdin(Stdio::null())
        .env("PIRN_SPOOL", "spool")
        .current_dir(spool.beside("."));
    spool.finish(&mut command)
}

fn link(pid: i64, name: &str) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/{name}")).unwrap()
}

/// The field of proc_pid_stat(5) with this number, from 3 on.
fn stat(pid: i64, field: usize) -> i64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let rest = text.rsplit_once(") ").unwrap().1;
    rest.split(' ').nth(field - 3).unwrap().parse().unwrap()
}

/// The front and its daemon.
fn both(front: i64) -> [i64; 2] {
    let children = fs::read_to_string(format!("/proc/{front}/task/{front}/children")).unwrap();
    let daemon = children.split_whitespace().next().unwrap();
    [front, daemon.parse().unwrap()]
}

#[test]
fn the_daemon_is_by_itself() {
    let free = Detached::serving(&[]);
    let log = free.0.path().join("daemon.log");
    assert_eq!(fs::metadata(&log).unwrap().mode() & 0o777, 0o600);
    for pid in both(free.pid()) {
        assert_eq!(link(pid, "cwd"), PathBuf::from("/"));
        assert_eq!(link(pid, "fd/0"), PathBuf::from("/dev/null"));
        assert_eq!(
            (link(pid, "fd/1"), link(pid, "fd/2")),
            (log.clone(), log.clone())
        );
        assert_eq!(stat(pid, 6), free.pid(), "its session");
        assert_eq!(stat(pid, 7), 0, "its terminal");
    }
    let id = free.0.add(&["echo hello"]);
    free.0.wait_record(&format!("complete/{id}"));
    assert_eq!(free.0.read(&format!("log/{id}")), "hello\n");
    ok(&free.0, &["stop"]);
    assert!(!free.is_served());
    for line in free.log().lines() {
        let date = line.split(' ').next().unwrap();
        assert!(date.starts_with("20") && date.ends_with('Z'), "{line:?}");
    }
    let log = free.log();
    assert!(log.contains("serves") && log.contains("stopping"), "{log}");
}

#[test]
fn descriptors_and_signals_of_the_caller_do_not_reach_it() {
    let free = Detached::new();
    // The pipe ends when the shell does, or cat would not return.
    let line = "(exec 7>&1 8>&1; setsid -w sh -c 'trap : INT HUP; \"$0\" serve --detach; echo $?; kill -INT 0; \
                kill -HUP 0' \"$0\") | cat";
    let line = line.replace("\"$0\"", &format!("'{}'", env!("CARGO_BIN_EXE_pirn")));
    assert_eq!(
        sh(
            &free.0,
            &line.replace("'trap", "\"trap").replace("HUP 0'", "HUP 0\"")
        )
        .stdout,
        "0\n"
    );
    for pid in both(free.pid()) {
        assert!(is_alive(pid));
        for fd in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
            // It may have closed one since.
            let Ok(to) = fs::read_link(fd.unwrap().path()) else {
                continue;
            };
            assert!(
                !to.to_string_lossy().starts_with("pipe:"),
                "{}",
                to.display()
            );
        }
    }
}

#[test]
fn a_second_one_is_refused() {
    let free = Detached::serving(&[]);
    let before = free.log();
    let done = free.serve(&[]);
    let said = format!(
        "pirn: the spool is in use by process {}; pirn status shows it, pirn stop ends it\n",
        free.pid()
    );
    assert_eq!((done.code, done.stderr), (75, said));
    assert_eq!(free.log(), before);
}

#[test]
fn a_daemon_that_cannot_start_says_why() {
    let free = Detached::new();
    fs::write(free.0.path().join("config.json"), "{\"slots\": -1}").unwrap();
    let done = free.serve(&[]);
    assert_eq!(done.code, 78);
    let log = free.log();
    let last = log.lines().last().unwrap();
    assert!(last.contains("config.json: line 1: slots"), "{last}");
    assert_eq!(
        done.stderr,
        format!("pirn: the daemon has ended with exit code 78: {last}\n")
    );
    assert!(!free.is_served());
    // Nothing is written into a spool that others can change.
    let open = Detached::new();
    fs::set_permissions(open.0.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let done = open.serve(&[]);
    assert_eq!(done.code, 78, "{}", done.stderr);
    assert!(!open.0.has("daemon.log"));
    // Mistakes of the command line are told as without --detach.
    let passed = free.serve(&["--http", "fd:web"]);
    assert_eq!(passed.code, 2, "{}", passed.stderr);
    assert!(passed.stderr.contains("--detach"), "{}", passed.stderr);
}

#[test]
fn paths_of_options_hold_for_later_images() {
    let free = Detached::new();
    let config = free.0.beside("settings.json");
    fs::write(&config, "{}").unwrap();
    let line = "pirn serve --detach --config settings.json --http unix:socket spool";
    let done = sh(&free.0, line);
    assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{}", free.log());
    let [front, daemon] = both(free.pid());
    let kill = |signal: &str, pid: i64| {
        let sent = Command::new("kill")
            .args([signal, &pid.to_string()])
            .status();
        assert!(sent.unwrap().success());
    };
    for (n, (signal, pid, said)) in [
        ("-USR2", front, "upgrade: becoming"),
        ("-KILL", daemon, "taking its place"),
    ]
    .into_iter()
    .enumerate()
    {
        kill(signal, pid);
        free.wait_log(said);
        let name = format!("after-{n}");
        free.0.drop_file(&name, "true");
        free.0.wait_record(&format!("complete/{name}"));
        fs::write(&config, format!("{{\"slots\": {}}}", n + 1)).unwrap();
        free.0.wait_for("the settings", || {
            kill("-HUP", front);
            free.log().matches("config: read").count() > n
        });
        assert!(free.0.beside("socket").exists());
    }
    assert_eq!(free.pid(), front);
    assert_eq!(link(front, "cwd"), PathBuf::from("/"));
    ok(&free.0, &["stop"]);
}

#[test]
fn it_goes_with_other_options() {
    for args in [
        &["--no-front"][..],
        &["--system", "--ro", "/etc"],
        &["--no-front", "--system", "--ro", "/etc"],
        &["--http", "127.0.0.1:0"],
    ] {
        let free = Detached::serving(args);
        free.0.drop_file("job", "true");
        free.0.wait_record("complete/job");
        free.wait_log("job: complete");
        ok(&free.0, &["stop"]);
    }
    let free = Detached::new();
    free.0.drop_file("job", "true");
    let done = free.serve(&["--drain"]);
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));
    free.0.wait_record("complete/job");
    free.wait_unserved();
    assert!(
        free.log().contains("nothing is left to run"),
        "{}",
        free.log()
    );
}

#[test]
fn it_waits_for_a_run_by_itself() {
    let free = Detached::new();
    let go = free.0.beside("go");
    let wait = format!("until [ -e '{}' ]; do sleep 0.02; done", go.display());
    let mut run = free.0.command(["run", &wait]).spawn().unwrap();
    free.0
        .wait_for("the run", || !free.0.ls("active").is_empty());
    free.0.drop_file("job", "true");
    for _ in 0..2 {
        let done = free.serve(&[]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert!(done.stderr.contains("waits"), "{}", done.stderr);
    }
    assert!(free.0.has("pending/job"));
    fs::write(go, "").unwrap();
    assert!(run.wait().unwrap().success());
    free.0.wait_record("complete/job");
    assert_eq!(
        free.log().matches("waiting:").count(),
        1,
        "one of them waits"
    );
    ok(&free.0, &["stop"]);
}

#[test]
fn the_log_has_a_bound() {
    const MOST: u64 = 1 << 20;
    let free = Detached::new();
    let log = free.0.path().join("daemon.log");
    let old = free.0.path().join("daemon.log.1");
    let line = "2026-01-01T00:00:00Z INFO  old\n";
    fs::write(
        &log,
        line.repeat(usize::try_from(MOST).unwrap() / line.len() - 1),
    )
    .unwrap();
    fs::write(&old, "older\n").unwrap();
    free.serve(&[]);
    let add = |n: usize| {
        free.0.drop_file(&format!("job{n}"), "true");
        free.0.wait_record(&format!("complete/job{n}"));
    };
    (0..20).for_each(add);
    free.wait_log("job19: complete");
    let both = [&log, &old].map(|path| fs::metadata(path).unwrap());
    assert!(
        both[0].len() < MOST / 2 && both[1].len() <= MOST,
        "{both:?}"
    );
    assert_eq!(both[0].mode() & 0o777, 0o600);
    let all = fs::read_to_string(&old).unwrap() + &free.log();
    for n in 0..20 {
        assert!(all.contains(&format!("job{n}: complete")), "job{n}");
    }
    assert!(!all.contains("older"));
    // As logrotate(8) and people do.
    fs::rename(&log, free.0.beside("moved")).unwrap();
    add(20);
    free.wait_log("job20: complete");
    fs::remove_file(&log).unwrap();
    add(21);
    free.wait_log("job21: complete");
    let [front, daemon] = both_fds(&free);
    assert_eq!(daemon, log);
    assert_ne!(front, log, "the one in front has not written since");
    ok(&free.0, &["stop"]);
}

#[test]
fn a_log_that_cannot_be_moved_has_a_bound_too() {
    const MOST: u64 = 1 << 20;
    let free = Detached::new();
    let log = free.0.path().join("daemon.log");
    let old = free.0.path().join("daemon.log.1");
    let run = |name: &str| {
        let keep = fs::File::options().append(true).open(&log).unwrap();
        keep.set_len(2 * MOST + 1).unwrap();
        free.0.drop_file(name, "true");
        free.wait_log(&format!("{name}: complete"));
        assert!(fs::metadata(&log).unwrap().len() < MOST, "{name}");
    };
    fs::create_dir(&old).unwrap();
    free.serve(&[]);
    run("directory");
    fs::remove_dir(&old).unwrap();
    let locked = fs::File::open(&log).unwrap();
    locked.lock_shared().unwrap();
    run("locked");
    assert!(!old.exists());
    ok(&free.0, &["stop"]);
}

/// The files that are the standard errors of front and daemon.
fn both_fds(free: &Detached) -> [PathBuf; 2] {
    both(free.pid()).map(|pid| link(pid, "fd/2"))
}

#[test]
fn a_planted_log_is_refused() {
    let free = Detached::new();
    let log = free.0.path().join("daemon.log");
    let victim = free.0.beside("victim");
    fs::write(&victim, "precious\n").unwrap();
    let fifo = || {
        let made = Command::new("mkfifo").arg(&log).status();
        assert!(made.unwrap().success());
    };
    let plant: [(&dyn Fn(), &str); 4] = [
        (&|| symlink(&victim, &log).unwrap(), "no regular file"),
        (&|| fs::hard_link(&victim, &log).unwrap(), "another name"),
        (&fifo, "no regular file"),
        (
            &|| symlink(free.0.beside("new"), &log).unwrap(),
            "no regular file",
        ),
    ];
    for (plant, why) in plant {
        plant();
        let done = free.serve(&[]);
        assert_eq!(done.code, 1, "{}", done.stderr);
        assert!(
            done.stderr.contains("daemon.log") && done.stderr.contains(why),
            "{}",
            done.stderr
        );
        assert!(!free.is_served());
        fs::remove_file(&log).unwrap();
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious\n");
    assert!(!free.0.beside("new").exists());
    // Planted later, it is not written to either.
    free.serve(&[]);
    fs::remove_file(&log).unwrap();
    symlink(&victim, &log).unwrap();
    free.0.drop_json("job", &json!({"command": "true"}));
    free.0.wait_record("complete/job");
    ok(&free.0, &["stop"]);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious\n");
}
