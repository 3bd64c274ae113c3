//! README.md, run: every `sh` block, in order, in one bash session, with the output that it says.
//!
//! `# => text` lines give the whole standard output of the commands since the last such lines (or since the block
//! began); `...` in them stands for anything within the line. Blocks marked `sh sqs` need moto, which stands in for AWS,
//! those marked `sh inotify` need inotifywait, and those marked `sh landlock` a kernel that can enforce sandboxes. Those
//! marked `sh mail` get a `mail` that sends nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const README: &str = include_str!("../README.md");

/// A README that takes longer than this hangs.
const DEADLINE: Duration = Duration::from_secs(120);

/// The README's cargo commands: pirn is built already, and tests neither run tests nor install programs.
const CARGO: &str = r#"
cargo() {
  case "$*" in
    "run --release -- "*) shift 3; pirn "$@" ;;
    "test" | "install --path .") ;;
    *) echo "unexpected: cargo $*" >&2; return 1 ;;
  esac
}
"#;

/// The section that needs a Redis server.
const REDIS_SECTION: &str = "## More machines";

/// Some commands and their expected output.
struct Part {
    line: usize,
    script: String,
    expected: Vec<String>,
}

/// A program that stands in for `mail`, so that no test sends any: it keeps the letter.
const MAIL: &str = "#!/bin/sh\n{ echo \"$@\"; cat; } > \"$HOME/letter\"\n";

/// Moto as the README starts it, wherever it is installed.
const MOTO: &str = r#"
moto_server() { exec python3 -m moto.server "$@"; }
"#;

fn has_moto() -> bool {
    let imported = Command::new("python3")
        .args(["-c", "import moto.server, moto.moto_server.werkzeug_app"])
        .stderr(Stdio::null())
        .status();
    let has = cfg!(feature = "sqs") && imported.is_ok_and(|status| status.success());
    if !has {
        eprintln!("skipped: the blocks for SQS: there is no moto, or no feature sqs");
    }
    has
}

fn has_landlock() -> bool {
    let confined = Command::new(env!("CARGO_BIN_EXE_pirn"))
        .args(["launch", "--system", "true"])
        .stderr(Stdio::null())
        .status();
    let has = confined.is_ok_and(|status| status.success());
    if !has {
        eprintln!("skipped: the block with a sandbox: this kernel cannot enforce it");
    }
    has
}

/// The marks of the blocks that can be run here.
fn marks() -> Vec<&'static str> {
    let mut marks = vec!["```sh", "```sh mail"];
    if has_moto() {
        marks.push("```sh sqs");
    }
    if has_landlock() {
        marks.push("```sh landlock");
    }
    match has("inotifywait") {
        true => marks.push("```sh inotify"),
        false => eprintln!("skipped: a block for inotifywait, which is not installed"),
    }
    marks
}

/// The blocks with these marks, cut after each group of `# =>` lines.
fn parts(text: &str, marks: &[&str]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut open: Option<Part> = None;
    let mut in_block = false;
    for (i, line) in text.lines().enumerate() {
        if !in_block {
            in_block = marks.contains(&line);
            continue;
        }
        if line == "```" {
            in_block = false;
            parts.extend(open.take());
            continue;
        }
        let expected = line.strip_prefix("# => ");
        if expected.is_none() && open.as_ref().is_some_and(|part| !part.expected.is_empty()) {
            parts.extend(open.take());
        }
        let part = open.get_or_insert_with(|| Part {
            line: i + 1,
            script: String::new(),
            expected: Vec::new(),
        });
        match expected {
            Some(text) => part.expected.push(text.to_owned()),
            None => writeln!(part.script, "{line}").unwrap(),
        }
    }
    assert!(!in_block, "README.md: a block is not closed");
    parts
}

/// True if `line` matches `pattern`, in which `...` stands for anything.
fn matches(pattern: &str, line: &str) -> bool {
    match pattern.split_once("...") {
        None => pattern == line,
        Some((start, end)) => {
            line.len() >= start.len() + end.len() && line.starts_with(start) && line.ends_with(end)
        }
    }
}

fn has(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// True if the session can be run here. On Debian, root installs missing programs.
fn is_equipped() -> bool {
    let missing = |wanted: [&'static str; 3]| wanted.into_iter().find(|program| !has(program));
    if (missing(["bash", "curl", "jq"]).is_some() || !has("redis-server")) && has("apt-get") {
        let _ = Command::new("apt-get")
            .args(["install", "-y", "-q", "bash", "curl", "jq", "redis-server"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
    match missing(["bash", "curl", "jq"]) {
        None => true,
        Some(program) => {
            eprintln!("skipped: {program} is not installed");
            false
        }
    }
}

/// The text with empty lines for a section of it.
fn without(text: &str, section: &str) -> String {
    let mut is_in = false;
    let lines = text.lines().map(|line| {
        if line.starts_with("## ") {
            is_in = line == section;
        }
        if is_in {
            "\n".to_owned()
        } else {
            format!("{line}\n")
        }
    });
    lines.collect()
}

#[test]
fn the_first_block_is_what_a_fresh_machine_needs() {
    let block = README.split("```sh\n").nth(1).unwrap();
    let commands: Vec<&str> = block
        .split("```")
        .next()
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert_eq!(
        commands,
        [
            "cargo run --release -- run 'echo hello from job $PIRN_ID'",
            "cargo test"
        ]
    );
}

#[test]
fn the_session() {
    if !is_equipped() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let has_redis = cfg!(feature = "redis") && has("redis-server");
    let parts = match has_redis {
        true => parts(README, &marks()),
        false => {
            eprintln!("skipped: there is no redis-server: {REDIS_SECTION}");
            parts(&without(README, REDIS_SECTION), &marks())
        }
    };
    assert!(parts.len() > 20, "only {} parts were found", parts.len());
    let output = home.path().join("output");
    fs::create_dir(&output).unwrap();

    let mut script = format!("set -e\n{CARGO}{MOTO}");
    for (n, part) in parts.iter().enumerate() {
        let file = output.join(n.to_string());
        writeln!(script, "echo 'README.md line {}' >&2", part.line).unwrap();
        writeln!(script, "{{\n{}}} > '{}'", part.script, file.display()).unwrap();
    }
    let bin = home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("mail"), MAIL).unwrap();
    fs::set_permissions(bin.join("mail"), Permissions::from_mode(0o755)).unwrap();
    let stderr = fs::File::create(home.path().join("stderr")).unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_pirn"));
    let mut child = Command::new("bash")
        .args(["-c", &script])
        .current_dir(home.path())
        .env("HOME", home.path())
        .env("PIRN_SPOOL", home.path().join("first"))
        .env("LOGNAME", "alice")
        .env(
            "PATH",
            format!(
                "{}:{}:{}",
                bin.display(),
                binary.parent().unwrap().display(),
                std::env::var("PATH").unwrap()
            ),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .process_group(0)
        .spawn()
        .unwrap();

    let began = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if began.elapsed() > DEADLINE => break None,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    if status.is_none_or(|status| !status.success()) {
        stop_daemon(home.path());
        let group = format!("-{}", child.id());
        let _ = Command::new("kill").args(["-TERM", "--", &group]).status();
        let _ = child.kill();
        let _ = child.wait();
    }
    let stderr = fs::read_to_string(home.path().join("stderr")).unwrap();
    for (n, part) in parts.iter().enumerate() {
        let got = fs::read_to_string(output.join(n.to_string())).unwrap_or_default();
        let lines: Vec<&str> = got.lines().collect();
        let right = part.expected.is_empty()
            || lines.len() == part.expected.len()
                && part
                    .expected
                    .iter()
                    .zip(&lines)
                    .all(|(pattern, line)| matches(pattern, line));
        assert!(
            right,
            "README.md line {}: expected {:#?}, got {lines:#?}; stderr:\n{stderr}",
            part.line, part.expected
        );
    }
    let status = status.unwrap_or_else(|| panic!("the session hangs; stderr:\n{stderr}"));
    assert!(status.success(), "{status}; stderr:\n{stderr}");
    let letter = fs::read_to_string(home.path().join("letter")).unwrap();
    assert_eq!(letter, "-s note: complete alice\nnoted\n");
}

/// Ends the session's daemons, whose pids are in the locks of the README's spools, and their jobs.
fn stop_daemon(home: &Path) {
    for spool in ["spool", "shared", "runs", "east", "west"] {
        stop_daemon_of(home, spool);
    }
}

fn stop_daemon_of(home: &Path, spool: &str) {
    let Ok(pid) = fs::read_to_string(home.join(spool).join("lock")) else {
        return;
    };
    let pid = pid.lines().next().unwrap_or("").trim();
    let same = fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|env| String::from_utf8_lossy(&env).contains(&*home.to_string_lossy()));
    if same {
        for _ in 0..2 {
            let _ = Command::new("kill").arg(pid).status();
        }
    }
}

#[test]
fn sections_leave_their_lines() {
    let text = "# t\n## a\nx\n## b\ny\n";
    assert_eq!(without(text, "## a"), "# t\n\n\n## b\ny\n");
    assert!(README.contains(&format!("\n{REDIS_SECTION}\n")));
}

#[test]
fn patterns() {
    assert!(matches("a", "a") && !matches("a", "ab"));
    assert!(matches(".../x: valid", "/tmp/x: valid") && !matches("a...a", "a"));
}
