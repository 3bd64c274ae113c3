//! A page of the documentation as one bash session: its blocks in order, and what they print.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A page that takes longer than this hangs.
const DEADLINE: Duration = Duration::from_secs(120);

/// The commands of the pages that are not run as they are: pirn is built already, tests neither run tests nor install
/// programs, and moto is wherever Python finds it.
const PROLOGUE: &str = r#"
set -e
cargo() {
  case "$*" in
    "run --release -- "*) shift 3; pirn "$@" ;;
    "test" | "install --path .") ;;
    *) echo "unexpected: cargo $*" >&2; return 1 ;;
  esac
}
moto_server() { exec python3 -m moto.server "$@"; }
"#;

/// A program that stands in for `mail`, so that no test sends any: it keeps the letter.
const MAIL: &str = "#!/bin/sh\n{ echo \"$@\"; cat; } > \"$HOME/letter\"\n";

/// Some commands and their expected output.
struct Part {
    line: usize,
    script: String,
    expected: Vec<String>,
}

/// The blocks with these marks, cut after each group of `# =>` lines.
fn parts(page: &str, text: &str, marks: &[&str]) -> Vec<Part> {
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
    assert!(!in_block, "{page}: a block is not closed");
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

/// Runs the blocks of a page that have these marks, in a home of their own, and compares what each part prints.
/// Returns the home.
pub(crate) fn run(page: &str, text: &str, marks: &[&str]) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let parts = parts(page, text, marks);
    assert!(!parts.is_empty(), "{page} has no block");
    let output = home.path().join("output");
    fs::create_dir(&output).unwrap();
    let mut script = PROLOGUE.to_owned();
    for (n, part) in parts.iter().enumerate() {
        let file = output.join(n.to_string());
        writeln!(script, "echo '{page} line {}' >&2", part.line).unwrap();
        writeln!(script, "{{\n{}}} > '{}'", part.script, file.display()).unwrap();
    }

    let mut child = start(home.path(), &script);
    let status = wait(&mut child);
    if status.is_none_or(|status| !status.success()) {
        stop_daemons(home.path());
        let group = format!("-{}", child.id());
        let _ = Command::new("kill").args(["-TERM", "--", &group]).status();
        let _ = child.kill();
        let _ = child.wait();
    }
    let stderr = fs::read_to_string(home.path().join("stderr")).unwrap();
    for (n, part) in parts.iter().enumerate() {
        let got = fs::read_to_string(output.join(n.to_string())).unwrap_or_default();
        let lines: Vec<&str> = got.lines().collect();
        let mut pairs = part.expected.iter().zip(&lines);
        let right = part.expected.is_empty()
            || lines.len() == part.expected.len()
                && pairs.all(|(pattern, line)| matches(pattern, line));
        assert!(
            right,
            "{page} line {}: expected {:#?}, got {lines:#?}; stderr:\n{stderr}",
            part.line, part.expected
        );
    }
    let status = status.unwrap_or_else(|| panic!("{page} hangs; stderr:\n{stderr}"));
    assert!(status.success(), "{page}: {status}; stderr:\n{stderr}");
    home
}

fn start(home: &Path, script: &str) -> Child {
    let bin = home.join("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("mail"), MAIL).unwrap();
    fs::set_permissions(bin.join("mail"), Permissions::from_mode(0o755)).unwrap();
    let pirn = Path::new(env!("CARGO_BIN_EXE_pirn")).parent().unwrap();
    let path = format!(
        "{}:{}:{}",
        bin.display(),
        pirn.display(),
        std::env::var("PATH").unwrap()
    );
    Command::new("bash")
        .args(["-c", script])
        .current_dir(home)
        .env("HOME", home)
        .env("PIRN_SPOOL", home.join("first"))
        .env("LOGNAME", "alice")
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(home.join("stderr")).unwrap())
        .process_group(0)
        .spawn()
        .unwrap()
}

/// The end of the session; none if it hangs.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return Some(status),
            None if began.elapsed() > DEADLINE => return None,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Ends the daemons of a session that has failed, whose pids are in the locks of the spools in its home, and their jobs.
fn stop_daemons(home: &Path) {
    for entry in fs::read_dir(home).unwrap() {
        let Ok(lock) = fs::read_to_string(entry.unwrap().path().join("lock")) else {
            continue;
        };
        let pid = lock.lines().next().unwrap_or("").trim();
        let is_ours = fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|env| String::from_utf8_lossy(&env).contains(&*home.to_string_lossy()));
        if is_ours {
            for _ in 0..2 {
                let _ = Command::new("kill").arg(pid).status();
            }
        }
    }
}

#[test]
fn patterns() {
    assert!(matches("a", "a") && !matches("a", "ab"));
    assert!(matches(".../x: valid", "/tmp/x: valid") && !matches("a...a", "a"));
}

#[test]
fn a_block_is_cut_after_each_group_of_expected_lines() {
    let text = "x\n```sh\na\n# => 1\n# => 2\nb\n```\n```console\nc\n```\n";
    let parts = parts("page", text, &["```sh"]);
    let seen: Vec<_> = parts
        .iter()
        .map(|part| (part.line, part.script.as_str(), part.expected.len()))
        .collect();
    assert_eq!(seen, [(3, "a\n", 2), (6, "b\n", 0)]);
}
