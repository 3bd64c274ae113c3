//! Colours, and the width of the terminal.

use crate::pty::Terminal;
use crate::spool::Spool;
use serde_json::json;

/// A spool with a job that waits.
fn one_waiting() -> Spool {
    let spool = Spool::made();
    let command = format!("echo {}", "日本".repeat(100));
    spool.drop_json("7", &json!({"command": command}));
    spool
}

const CODE: &str = "\u{1b}[";

#[test]
fn colours_are_decided_by_option_variables_and_terminal() {
    let spool = one_waiting();
    // The option, a variable, and whether there are colours in a pipe and on a terminal.
    for (option, variable, in_pipe, on_terminal) in [
        ("auto", ("LANG", "C"), false, true),
        ("always", ("NO_COLOR", "1"), true, true),
        ("never", ("CLICOLOR_FORCE", "1"), false, false),
        ("auto", ("NO_COLOR", "1"), false, false),
        ("auto", ("NO_COLOR", ""), false, true),
        ("auto", ("CLICOLOR_FORCE", "1"), true, true),
        ("auto", ("CLICOLOR_FORCE", "0"), false, true),
        ("auto", ("CLICOLOR", "0"), false, false),
        ("auto", ("CLICOLOR", "1"), false, true),
        ("auto", ("TERM", "dumb"), false, false),
    ] {
        let command = || {
            let mut command = spool.command(["--color", option, "ls"]);
            command.env(variable.0, variable.1);
            command
        };
        let done = spool.finish(&mut command());
        assert_eq!(done.code, 0, "{}", done.stderr);
        let case = format!("{option} {variable:?}");
        assert_eq!(done.stdout.contains(CODE), in_pipe, "{case}");
        let (code, shown) = Terminal::start_command(command(), 24, 80).end();
        assert_eq!(code, 0, "{case}: {shown}");
        assert_eq!(shown.contains(CODE), on_terminal, "{case}: {shown}");
    }
}

#[test]
fn lines_fit_the_terminal_and_are_whole_in_a_pipe() {
    let spool = one_waiting();
    for columns in [80, 81, 200] {
        let mut command = spool.command(["ls"]);
        command.env("NO_COLOR", "1");
        let (_, shown) = Terminal::start_command(command, 24, columns).end();
        let line = shown.lines().find(|line| line.starts_with('7')).unwrap();
        // Each of the wide characters takes two columns.
        let taken: usize = line.chars().map(|c| if c > '⺀' { 2 } else { 1 }).sum();
        let columns = usize::from(columns);
        assert!(taken == columns || taken == columns - 1, "{taken}: {line}");
        assert!(line.ends_with('…'), "{line}");
    }
    assert!(spool.pirn(&["ls"]).stdout.ends_with("日本\n"));
}

/// True if the signs are of ASCII: the second text is shown, and not the first.
fn is_ascii(shown: &str, utf8: &str, ascii: &str) -> bool {
    let found = (shown.contains(utf8), shown.contains(ascii));
    assert!(found.0 != found.1, "{utf8} or {ascii} in {shown}");
    found.1
}

#[test]
fn the_locale_decides_on_the_signs_of_a_terminal() {
    let spool = Spool::made();
    let command = format!("echo {}", "x".repeat(200));
    spool.drop_json("7", &json!({"command": command}));
    for (locale, expected) in [
        (&[][..], false),
        (&[("LANG", "C")], true),
        (&[("LANG", "de_DE.ISO-8859-1")], true),
        (&[("LANG", "de_DE")], false),
        (&[("LC_CTYPE", "C.UTF-8"), ("LANG", "C")], false),
        (&[("LC_ALL", "POSIX"), ("LANG", "C.UTF-8")], true),
        (&[("LC_ALL", ""), ("LANG", "C.utf8")], false),
    ] {
        let command = |args: &[&str]| {
            let mut command = spool.command(args);
            command.env("NO_COLOR", "1").envs(locale.iter().copied());
            command
        };
        for (args, utf8, ascii) in [
            (&["ls"][..], "x…\n", "x~\n"),
            (&["show", "7"], "○ 7 ", "o 7 "),
        ] {
            let (code, shown) = Terminal::start_command(command(args), 24, 80).end();
            assert_eq!(
                (code, is_ascii(&shown, utf8, ascii)),
                (0, expected),
                "{locale:?}"
            );
        }
        // A pipe gets the same everywhere.
        let ls = spool.finish(&mut command(&["ls"])).stdout;
        let show = spool.finish(&mut command(&["show", "7"])).stdout;
        assert!(
            ls.ends_with("xxx\n") && show.starts_with("○ 7 "),
            "{ls}{show}"
        );
        let mut terminal = Terminal::start_command(command(&["watch"]), 24, 80);
        terminal.wait_shown("q quit");
        terminal.type_keys("q");
        let (_, shown) = terminal.end();
        assert_eq!(is_ascii(&shown, "──", "--"), expected, "{locale:?}");
    }
}

/// Two ids that differ in a character that ASCII has not must not look alike.
#[test]
fn texts_of_users_are_not_put_into_ascii() {
    let spool = Spool::made();
    spool.drop_json("a×b", &json!({"command": "echo ● ×"}));
    for (args, shown) in [
        (&["ls"][..], "a×b  pending  0s      no_daemon"),
        (&["show", "a×b"], "o a×b pending"),
    ] {
        let mut command = spool.command(args);
        command.env("NO_COLOR", "1").env("LANG", "C");
        let (_, said) = Terminal::start_command(command, 24, 80).end();
        assert!(said.contains(shown), "{said}");
        assert!(said.contains("echo ● ×"), "{said}");
    }
}

/// The output on a terminal while a writer adds two jobs, the second one after more than a second.
fn slow_batch(spool: &Spool, term: &str, redirect: &str) -> String {
    let pirn = spool
        .command([""])
        .get_program()
        .to_str()
        .unwrap()
        .to_owned();
    let line = format!("(echo true; sleep 1.2; echo true) | '{pirn}' add --batch {redirect}");
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", &line])
        .env("PIRN_SPOOL", spool.path())
        .env("TERM", term);
    let (code, shown) = Terminal::start_command(shell, 24, 80).end();
    assert_eq!(code, 0, "{shown}");
    shown
}

#[test]
fn long_work_shows_on_a_terminal_how_far_it_is() {
    let spool = Spool::made();
    let shown = slow_batch(&spool, "xterm", "> /dev/null");
    assert!(shown.contains("2 jobs"), "{shown:?}");
    // The line is cleared in the end.
    assert!(shown.ends_with("\x1b[2K"), "{shown:?}");
    // Neither where it would be in the way of the ids, nor on a terminal that cannot go back.
    for (term, redirect) in [
        ("xterm", ""),
        ("dumb", "> /dev/null"),
        ("xterm", "2>&1 | cat"),
    ] {
        let shown = slow_batch(&spool, term, redirect);
        assert!(!shown.contains("jobs"), "{term} {redirect}: {shown:?}");
    }
}
