//! The examples in the help of commands succeed when a shell runs them.

use crate::spool::{Done, Spool};
use crate::tools::{sh, with_environment_of};
use std::fs;
use std::path::Path;

/// The state of the spool before an example.
#[derive(Clone, Copy)]
enum Before {
    /// Jobs 1 to 8 wait, and no daemon is there.
    Waiting,
    /// The same, held.
    Held,
    /// They have ended: one of them badly.
    Ended,
    /// They run.
    Running,
    /// A daemon has nothing to do.
    Idle,
}

/// Commands whose examples need a server, root, or somebody at a terminal; tests of their own run them.
const ELSEWHERE: [&str; 6] = ["push", "result", "pull", "qdone", "users", "watch"];

/// The state that an example needs; `None` for one that goes on until it is ended.
fn before(line: &str) -> Option<Before> {
    let words: Vec<&str> = line.split(' ').collect();
    Some(match words.as_slice() {
        ["pirn", "serve", "--http", ..] => return None,
        [
            "pirn",
            "log" | "wait" | "show" | "retry" | "clean" | "ls",
            ..,
        ] => Before::Ended,
        ["pirn", "kill", ..] | ["pirn", "rm", "--kill", ..] | ["pirn", "stop", "--now"] => {
            Before::Running
        }
        ["pirn", "stop" | "drain"] => Before::Idle,
        ["pirn", "release", ..] => Before::Held,
        _ => Before::Waiting,
    })
}

impl Before {
    fn spool(self) -> Spool {
        let spool = Spool::made();
        let command = match self {
            Self::Running => "exec sleep 1000",
            Self::Waiting | Self::Held | Self::Ended | Self::Idle => "exit $((PIRN_ID == 2))",
        };
        for n in 1..=8 {
            let queue = if n < 3 { "mail" } else { "default" };
            spool.add(&[
                "-q",
                queue,
                "--tag",
                "nightly",
                &format!("PIRN_ID={n}; {command}"),
            ]);
        }
        let pirn = |args: &[&str]| {
            let done = spool.pirn(args);
            assert_eq!(done.code, 0, "{args:?}: {}", done.stderr);
        };
        match self {
            Self::Waiting => {}
            Self::Held => pirn(&["hold", "--all"]),
            Self::Ended => pirn(&["serve", "--drain"]),
            Self::Running | Self::Idle => pirn(&["serve", "--detach", "--slots", "9"]),
        }
        match self {
            Self::Running => (1..=8).for_each(|n| drop(spool.wait_note(&n.to_string()))),
            Self::Idle => spool.wait_for("all jobs to end", || {
                spool
                    .ls("pending")
                    .iter()
                    .chain(&spool.ls("active"))
                    .all(|name| name == "mail")
            }),
            Self::Waiting | Self::Held | Self::Ended => {}
        }
        spool
    }
}

/// The examples of a command, as its help shows them.
fn examples(spool: &Spool, command: &str) -> Vec<String> {
    let help = spool.pirn(&["help", command]).stdout;
    let (_, shown) = help
        .split_once("\nExamples:\n")
        .unwrap_or_else(|| panic!("{command}:\n{help}"));
    let lines = shown.lines().map_while(|line| line.strip_prefix("  "));
    lines
        .map(|line| line.split("  ").next().unwrap().to_owned())
        .collect()
}

/// A directory with the programs and files that the examples name.
fn surroundings(at: &Path) {
    fs::create_dir(at).unwrap();
    let programs = "make flac send load report tell train build";
    sh(&format!(
        "cd '{}'; touch a.wav b.wav; ln -s '{}' pirn; for program in {programs}; do ln -s /bin/true $program; done",
        at.display(),
        env!("CARGO_BIN_EXE_pirn")
    ));
}

fn run(spool: &Spool, line: &str, at: &Path) -> Done {
    let path = format!("{}:{}", at.display(), std::env::var("PATH").unwrap());
    let mut command = std::process::Command::new("sh");
    with_environment_of(&mut command, &spool.command([""; 0]))
        .args(["-c", line])
        .current_dir(at)
        .env("PATH", path)
        .env("EDITOR", "true");
    spool.finish(command.stdin(std::process::Stdio::null()))
}

#[test]
fn examples_succeed() {
    let help = Spool::new();
    let listed = help.pirn(&["help"]).stdout;
    let commands = listed.lines().filter_map(|line| {
        let name = line.strip_prefix("  ")?.split(' ').next()?;
        (!name.is_empty() && !name.starts_with('-')).then_some(name)
    });
    let mut ran = 0;
    for command in commands.filter(|command| !ELSEWHERE.contains(command)) {
        for line in examples(&help, command) {
            let Some(before) = before(&line) else {
                continue;
            };
            let spool = before.spool();
            let at = spool.beside("here");
            surroundings(&at);
            let done = run(&spool, &line, &at);
            assert_eq!(done.code, 0, "{line}: {}{}", done.stdout, done.stderr);
            ran += 1;
            // An example may have started a daemon itself.
            let _ = spool.pirn(&["stop", "--now"]);
        }
    }
    assert!(ran > 50, "{ran}");
}
