//! `pirn watch` on a terminal.

use crate::pty::Terminal;
use crate::spool::Spool;
use crate::tools::Gate;
use serde_json::json;
use std::fs;
use std::process::Command;

/// The sequences with which the screen is taken and given back.
const TAKEN: &str = "\u{1b}[?1049h";
const GIVEN_BACK: &str = "\u{1b}[?1049l";

fn start(spool: &Spool) -> Terminal {
    let terminal = Terminal::start(spool, &["watch"], 24, 80);
    terminal.wait_shown("q quit");
    terminal
}

/// One job that runs and one that waits.
fn busy() -> (Spool, Gate) {
    let spool = Spool::serving(&["--slots", "1"]);
    let gate = Gate::new(&spool, "gate");
    let command = format!("echo begun; {}", gate.wait());
    spool.drop_json("run", &json!({"command": command}));
    spool.wait_note("run");
    spool.drop_json("next", &json!({"command": "echo done"}));
    spool.wait_file("pending/next");
    (spool, gate)
}

/// True if the screen was given back once for each time that it was taken, and last.
fn is_given_back(shown: &str) -> bool {
    let has_cursor = shown.rfind("\u{1b}[?25h") > shown.rfind("\u{1b}[?25l");
    has_cursor && shown.rfind(GIVEN_BACK) > shown.rfind(TAKEN)
}

fn signal(terminal: &Terminal, name: &str) {
    let pid = terminal.pid().to_string();
    let sent = Command::new("kill").args([name, &pid]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn it_shows_changes_and_steers() {
    let (spool, mut gate) = busy();
    let mut terminal = start(&spool);
    terminal.wait_shown("begun");
    terminal.wait_shown("slots");
    terminal.type_keys("jc");
    terminal.wait_shown("cancel job next? (y/n)");
    terminal.type_keys("n");
    terminal.type_keys("cy");
    terminal.wait_shown("job next is cancelled");
    spool.wait_record("failed/next");
    terminal.type_keys("r");
    terminal.wait_shown("job next is to run again");
    spool.wait_file("pending/next");
    terminal.wait_shown("> next");
    terminal.type_keys("h");
    spool.wait_file("held/next");
    terminal.type_keys("p");
    spool.wait_file("pending/.paused");
    terminal.wait_shown("ALL PAUSED");
    terminal.type_keys("p");
    spool.wait_gone("pending/.paused");
    gate.open(1);
    terminal.wait_shown("1 complete");
    terminal.type_keys("gl");
    terminal.wait_shown("log of ");
    terminal.type_keys("q?");
    terminal.wait_shown("Any key goes back");
    terminal.type_keys("xq");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(is_given_back(&shown), "{shown:?}");
}

#[test]
fn it_leaves_the_terminal_as_it_was() {
    let (spool, _gate) = busy();
    for (way, expected) in [("q", 0), ("\u{3}", 0), ("-TERM", -1), ("-HUP", -1)] {
        let mut terminal = start(&spool);
        assert!(terminal.settings().contains("-icanon"), "{way:?}");
        match way.strip_prefix('-') {
            Some(_) => signal(&terminal, way),
            None => terminal.type_keys(way),
        }
        terminal.wait_shown(GIVEN_BACK);
        spool.wait_for("the modes to be as before", || {
            let settings = terminal.settings();
            settings.contains(" icanon") && settings.contains(" echo ")
        });
        let (code, shown) = terminal.end();
        assert_eq!(code, expected, "{way:?}: {shown}");
        assert!(is_given_back(&shown), "{way:?}: {shown:?}");
    }
}

#[test]
fn it_gives_the_terminal_back_before_a_panic_is_reported() {
    let (spool, _gate) = busy();
    let mut command = spool.command(["watch"]);
    command.env("PIRN_FAULTS", "panic-on-screen");
    let (code, shown) = Terminal::start_command(command, 24, 80).end();
    assert_ne!(code, 0);
    assert!(is_given_back(&shown), "{shown:?}");
    let (given_back, told) = (shown.find(GIVEN_BACK), shown.find("a panic for a test"));
    assert!(given_back.is_some() && given_back < told, "{shown:?}");
}

#[test]
fn it_fits_a_screen_that_changes_its_size() {
    let (spool, _gate) = busy();
    let mut terminal = start(&spool);
    terminal.resize(20, 60);
    terminal.wait_shown("60 x 20 is too small");
    terminal.resize(50, 200);
    terminal.wait_shown("the only slot is taken");
    terminal.type_keys("q");
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn it_stops_and_goes_on_under_a_shell() {
    let (spool, _gate) = busy();
    let mut command = Command::new("bash");
    command.args(["--norc", "--noprofile", "-i"]);
    let pirn = spool.command(["watch"]);
    let pirn = pirn.get_program().to_str().unwrap();
    let path = spool.path();
    let mut terminal = Terminal::start_command(command, 24, 80);
    terminal.type_keys(&format!("{pirn} -S '{}' watch\n", path.display()));
    terminal.wait_shown("q quit");
    terminal.type_keys("\u{1a}");
    terminal.wait_shown("Stopped");
    assert!(is_given_back(&terminal.shown()));
    let before = terminal.shown().matches(TAKEN).count();
    terminal.type_keys("fg\n");
    let is_back = || terminal.shown().matches(TAKEN).count() > before;
    spool.wait_for("the screen to be taken again", is_back);
    terminal.type_keys("q");
    spool.wait_for("the screen to be given back", || {
        is_given_back(&terminal.shown())
    });
    terminal.type_keys("exit\n");
    terminal.end();
}

#[test]
fn it_ends_when_the_spool_is_removed() {
    let spool = Spool::made();
    spool.drop_file("7", "true");
    let terminal = start(&spool);
    fs::remove_dir_all(spool.path()).unwrap();
    let (code, shown) = terminal.end();
    assert_eq!(code, 1, "{shown}");
    assert!(is_given_back(&shown), "{shown:?}");
    let said = format!(
        "pirn: the spool {} was moved or removed\n",
        spool.path().display()
    );
    assert!(shown.ends_with(&said), "{shown:?}");
}

#[test]
fn a_pipe_is_refused() {
    let spool = Spool::made();
    let done = spool.pirn(&["watch"]);
    assert_eq!((done.code, done.stdout.as_str()), (2, ""));
    assert!(done.stderr.contains("pirn ls --jsonl"), "{}", done.stderr);
}
