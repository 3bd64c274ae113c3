//! Completion of command lines, by bash, zsh and fish on a terminal, and what they are told.

use crate::pty::Terminal;
use crate::spool::Spool;
use crate::strace::has_tool;
use std::fs;
use std::process::Command;

/// Ids that mean something to a shell unless they are quoted.
const ODD: [&str; 18] = [
    "$(touch x)",
    "`touch x`",
    "a b",
    "it's",
    "é ü",
    "a;b",
    "*",
    "a:b",
    "a=b",
    "!x",
    "#a",
    "\"q\"",
    "a\\b",
    "{a,b}",
    "a|b&c",
    "'",
    "$HOME",
    "plain",
];

const BASH_COMPLETION: &str = "/usr/share/bash-completion/bash_completion";

/// The answer to a shell for a line that ends at the cursor, one offer a line; the first line is the kind.
fn offered(spool: &Spool, words: &[&str]) -> Vec<String> {
    let done = spool.pirn(&[&["complete", "zsh", "--", "pirn"], words].concat());
    assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{words:?}");
    done.stdout.lines().map(str::to_owned).collect()
}

/// The same without kind and descriptions.
fn words(spool: &Spool, line: &[&str]) -> Vec<String> {
    let all = offered(spool, line);
    assert_eq!(all[0], "words", "{line:?}");
    let plain = all[1..].iter().map(|line| line.split('\t').next().unwrap());
    plain.map(str::to_owned).collect()
}

/// Types lines in a shell in which TAB completes the one job of a spool. If running the line cancels this job, and does
/// nothing else, its id was quoted right.
fn completes(shell: &[&str], setup: &str, name: &str) {
    if !has_tool(shell[0], shell[0]) {
        return;
    }
    let top = Spool::new();
    let (home, bin) = (top.beside("home"), top.beside("bin"));
    fs::create_dir(&home).unwrap();
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_pirn"), bin.join("pirn")).unwrap();
    fs::write(home.join("file"), "").unwrap();
    let mut command = Command::new(shell[0]);
    command
        .args(&shell[1..])
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .env("HOME", &home)
        .env("LANG", "C.UTF-8")
        .env("TERM", "xterm")
        .env_remove("PIRN_SPOOL");
    let cd = format!("cd {}; {setup}; echo rea''dy\r", home.display());
    let mut terminal = Terminal::start_command(command, 24, 80);
    terminal.type_keys(&cd);
    terminal.wait_shown("ready");
    let mut done = |n: usize, line: String, id: &str| {
        let dir = top.beside(&format!("a b{n}"));
        for state in ["pending", "active", "complete", "failed", "held"] {
            fs::create_dir_all(dir.join(state)).unwrap();
        }
        fs::write(dir.join("pending").join(id), "true").unwrap();
        terminal.type_keys(&line.replace("DIR", &format!("'{}'", dir.display())));
        let is_done = || dir.join("failed").join(id).exists();
        top.wait_for(
            &format!("{id} by {line:?} in {name}: {}", terminal.shown()),
            is_done,
        );
    };
    for (n, id) in ODD.into_iter().enumerate() {
        for (m, quote) in ["", "'", "\""].into_iter().enumerate() {
            done(
                n * 10 + m,
                format!("export PIRN_SPOOL=DIR\rpirn cancel {quote}\t\r"),
                id,
            );
        }
        done(
            n * 10 + 8,
            "export PIRN_SPOOL=/nowhere\rpirn -S DIR cancel \t\r".to_owned(),
            id,
        );
    }
    terminal.type_keys("exit\r");
    let left = fs::read_dir(&home)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left
        .filter(|name| !name.to_string_lossy().starts_with('.'))
        .collect();
    assert_eq!(left, ["file"], "a shell has run a part of an id");
}

#[test]
fn bash_quotes_what_it_completes() {
    let bash = ["bash", "--norc", "--noprofile", "-i"];
    completes(&bash, "eval \"$(pirn completions bash)\"", "bash");
    // It has no program of its own.
    if !fs::exists(BASH_COMPLETION).unwrap()
        && !has_tool("bash_completion", "bash-completion")
        && !fs::exists(BASH_COMPLETION).unwrap()
    {
        return;
    }
    let setup = format!(". {BASH_COMPLETION}; eval \"$(pirn completions bash)\"");
    completes(&bash, &setup, "bash with bash-completion");
}

#[test]
fn zsh_quotes_what_it_completes() {
    let setup = "autoload -U compinit; compinit -u -D; source <(pirn completions zsh)";
    completes(&["zsh", "-f", "-i"], setup, "zsh");
}

#[test]
fn fish_quotes_what_it_completes() {
    completes(
        &["fish", "--private", "--no-config"],
        "pirn completions fish | source",
        "fish",
    );
}

#[test]
fn ids_are_those_that_the_command_can_be_applied_to() {
    let spool = Spool::made();
    for (n, place) in ["pending", "held", "active", "complete", "failed"]
        .into_iter()
        .enumerate()
    {
        fs::write(
            spool.path().join(place).join((n + 1).to_string()),
            "{\"command\":\"true\"}",
        )
        .unwrap();
    }
    for (command, expected) in [
        ("cancel", &["3", "2", "1"][..]),
        ("kill", &["3"]),
        ("retry", &["5", "4"]),
        ("hold", &["1"]),
        ("release", &["2"]),
        ("urgent", &["2", "1"]),
        ("edit", &["2", "1"]),
        ("rm", &["5", "4", "2", "1"]),
        ("log", &["5", "4", "3", "2", "1"]),
        ("show", &["5", "4", "3", "2", "1"]),
    ] {
        assert_eq!(words(&spool, &[command, ""]), expected, "{command}");
    }
    assert_eq!(offered(&spool, &["log", "3"]), ["words", "3\tactive"]);
    assert_eq!(words(&spool, &["add", "--after", "4,5"]), ["4,5"]);
}

#[test]
fn ids_need_no_file_to_be_read() {
    let spool = Spool::made();
    let fifo = spool.path().join("pending/7");
    assert!(Command::new("mkfifo").arg(fifo).status().unwrap().success());
    for n in 1000..2000 {
        spool.drop_file(&n.to_string(), "true");
    }
    let all = words(&spool, &["cancel", ""]);
    assert_eq!(
        (all.len(), all[0].as_str(), all[199].as_str()),
        (200, "1999", "1800")
    );
    assert_eq!(words(&spool, &["cancel", "7"]), ["7"]);
}

#[test]
fn the_words_of_a_spool_are_offered() {
    let spool = Spool::made();
    spool.add(&[
        "--tag", "red fox", "--name", "nightly", "-q", "mail", "true",
    ]);
    spool.drop_file("plain", "true");
    fs::create_dir_all(spool.path().join("scripts")).unwrap();
    fs::write(spool.path().join("scripts/go"), "").unwrap();
    spool.config(r#"{"queues": {"web": {"slots": 1}}, "tokens": {"gpu": 2}, "remote": {"far": {"url": "sqs:x"}}}"#);
    for (line, expected) in [
        (&["ls", "--tag", ""][..], &["red fox"][..]),
        (&["ls", "--tag=re"], &["--tag=red fox"]),
        (&["ls", "--name", ""], &["nightly"]),
        (&["add", "-q", ""], &["default", "mail", "web"]),
        (&["add", "-qm"], &["-qmail"]),
        (&["pause", "w"], &["web"]),
        (&["move", "1", "ma"], &["mail"]),
        (&["add", "--use", ""], &["gpu"]),
        (&["add", "--script", ""], &["go"]),
        (&["push", ""], &["far"]),
        (&["ls", "fa"], &["failed"]),
        (&["ls", "held", "p"], &["pending", "plain"]),
        (&["ls", "--color", "a"], &["auto", "always"]),
        (&["kill", "-s", "KI"], &["KILL"]),
        (&["add", "--tim"], &["--timeout"]),
        (&["ad"], &["add"]),
        (&["config", "se"], &["set"]),
        (&["users", "r"], &["remove"]),
        (&["completions", ""], &["bash", "zsh", "fish"]),
        (&["cancel", "--", "-"], &[]),
        (&["no-such-command", ""], &[]),
    ] {
        assert_eq!(words(&spool, line), expected, "{line:?}");
    }
    for (line, kind) in [
        (&["add", ""][..], "commands"),
        (&["add", "-q", "mail", "make", ""], "files"),
        (&["add", "-ro", ""], "files"),
        (&["add", "--stdin="], "files"),
        (&["add", "-C", ""], "dirs"),
        (&["-S", ""], "dirs"),
    ] {
        assert_eq!(offered(&spool, line), [kind], "{line:?}");
    }
    assert!(
        !words(&spool, &[""]).contains(&"complete".to_owned()),
        "it is hidden"
    );
}

#[test]
fn nothing_is_made_or_said_without_a_spool() {
    let spool = Spool::new();
    for line in [
        &["cancel", ""][..],
        &["add", "-q", ""],
        &["ls", "--tag", ""],
        &["add", "--use", ""],
    ] {
        assert_eq!(words(&spool, line), [""; 0], "{line:?}");
    }
    assert!(!spool.path().exists());
}
