//! `pirn at`, and the words of at(1) in the options that take a time.

use crate::pty::Terminal;
use crate::spool::{Done, Spool};
use serde_json::json;

fn at(spool: &Spool, args: &[&str]) -> Done {
    let args = [&["at"], args].concat();
    spool.finish(spool.command(args).env("TZ", "UTC0"))
}

#[test]
fn a_command_at_a_time() {
    let spool = Spool::new();
    let done = at(&spool, &["noon jan 5 2199", "echo later"]);
    assert_eq!(
        (done.code, done.stdout, done.stderr),
        (0, "1\n".to_owned(), spool.unserved())
    );
    let record = spool.record("pending/1");
    assert_eq!(record["command"], "echo later");
    assert_eq!(record["not_before"], "2199-01-05T12:00:00.000Z");
    let done = at(&spool, &["4pm 2199-12-24", "-q", "mail", "ls", "-l"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "2\n"));
    let record = spool.record("pending/mail/2");
    assert_eq!(record["command"], json!(["ls", "-l"]));
    assert_eq!(record["not_before"], "2199-12-24T16:00:00.000Z");
}

#[test]
fn a_time_in_several_words_is_no_command() {
    let spool = Spool::new();
    for words in [
        &["noon", "tomorrow"][..],
        &["noon", "tomorrow", "echo", "x"],
        &["now", "+", "5", "minutes"],
        &["now", "+", "5", "minutes", "echo x"],
        &["2199-12-24", "16:00", "true"],
        &["noon", "jan", "5"],
    ] {
        let done = at(&spool, words);
        assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{words:?}");
        assert!(done.stderr.contains("has to be one word"), "{words:?}");
    }
    assert!(
        at(&spool, &["noon", "tomorrow"])
            .stderr
            .contains("pirn at 'noon tomorrow'")
    );
    // No number was given away.
    let done = at(&spool, &["noon", "date", "+", "%s"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "1\n"));
}

#[test]
fn a_script_on_standard_input_at_a_time() {
    let spool = Spool::new();
    let done = spool.pirn_with_input(&["at", "tomorrow"], b"cd /\nls\n");
    assert_eq!((done.code, done.stdout.as_str()), (0, "1\n"));
    assert_eq!(spool.record("pending/1")["command"], "cd /\nls\n");
    for (input, code) in [(&b""[..], 2), (b" \n", 2), (b"\xff", 65)] {
        assert_eq!(spool.pirn_with_input(&["at", "noon"], input).code, code);
    }
    assert_eq!(spool.ls("pending"), ["1"]);
}

#[test]
fn now_is_silent_and_the_past_is_said() {
    let spool = Spool::new();
    for time in ["now", "@0", "1970-01-01 00:00"] {
        let done = at(&spool, &[time, "true"]);
        assert_eq!(done.code, 0, "{time}: {}", done.stderr);
        assert_eq!(
            done.stderr.contains("1970-01-01T00:00:00.000Z has passed"),
            time != "now",
            "{}",
            done.stderr
        );
    }
}

#[test]
fn a_served_job_runs_at_its_time() {
    let spool = Spool::serving(&[]);
    let done = at(&spool, &["now", "echo done"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "1\n"));
    spool.wait_file("complete/1");
    at(&spool, &["now + 1 day", "true"]);
    assert_eq!(spool.ls("complete"), ["1"]);
    assert_eq!(spool.ls("pending"), ["2"]);
}

#[test]
fn options_take_the_same_words() {
    let spool = Spool::new();
    for option in ["--at", "--expires"] {
        for time in [
            "tomorrow 4pm",
            "now + 5 minutes",
            "monday 9:00",
            "next week",
            "1h 30m",
            "teatime",
        ] {
            let done = spool.pirn(&["add", option, time, "true"]);
            assert_eq!(
                (done.code, done.stderr),
                (0, spool.unserved()),
                "{option} {time}"
            );
        }
    }
}

#[test]
fn what_is_no_time_is_refused() {
    let spool = Spool::new();
    for args in [
        &["whenever", "true"][..],
        &["", "true"],
        &["4", "true"],
        &["1600", "true"],
        &["now + 5", "true"],
        &["now + 99999999999999999999 days", "true"],
        &["now + 400 years", "true"],
        &["13pm", "true"],
        &["nöon", "true"],
        &["200y", "true"],
        &["2300-01-01", "true"],
        &["noon", "--at", "noon", "true"],
        &["noon", "--in", "1h", "true"],
        &[],
    ] {
        let done = at(&spool, args);
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (2, ""),
            "{args:?}: {}",
            done.stderr
        );
        assert!(
            !done.stderr.contains("panicked"),
            "{args:?}: {}",
            done.stderr
        );
    }
    assert!(!spool.has("pending/1"));
}

#[test]
fn a_script_that_is_typed_is_asked_for() {
    let spool = Spool::new();
    for args in [
        &["at", "noon jan 5 2199"][..],
        &["add", "-"],
        &["add", "--batch"],
    ] {
        let mut terminal = Terminal::start(&spool, args, 24, 80);
        terminal.wait_shown("pirn: reading standard input; ^D on a line of its own ends it");
        terminal.type_keys("true\n\u{4}");
        assert_eq!(terminal.end().0, 0, "{args:?}");
    }
    assert_eq!(spool.ls("pending"), ["1", "2", "3"]);
}
