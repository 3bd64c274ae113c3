//! `pirn help`, `--help`, and what is said of mistyped words.

use crate::spool::Spool;

/// The output of a command on a terminal of this width.
fn printed(spool: &Spool, args: &[&str], columns: &str) -> String {
    let done = spool.finish(spool.command(args).env("COLUMNS", columns));
    assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{args:?}");
    done.stdout
}

#[test]
fn help_fits_the_terminal() {
    let spool = Spool::new();
    for args in [
        &["--help"][..],
        &["add", "--help"],
        &["help", "record"],
        &["help", "times"],
        &["help", "exit-codes"],
    ] {
        for (columns, most) in [("60", 60), ("80", 80), ("300", 100)] {
            let text = printed(&spool, args, columns);
            let widest = text
                .lines()
                .map(|line| line.trim_end().chars().count())
                .max()
                .unwrap();
            assert!(
                (most * 3 / 4..=most).contains(&widest),
                "{args:?}: {widest} of {columns} columns"
            );
        }
    }
    assert!(!spool.path().exists());
}

#[test]
fn what_a_newcomer_needs_comes_first() {
    let spool = Spool::new();
    let help = printed(&spool, &["--help"], "80");
    let at = |text: &str| {
        help.find(text)
            .unwrap_or_else(|| panic!("no {text:?} in\n{help}"))
    };
    assert!(
        at("\n  add ") < at("\n  run ")
            && at("\n  run ") < at("\n  ls ")
            && at("\n  ls ") < at("\n  log ")
    );
    assert!(at("\n  log ") < at("\n  qdone ") && at("\n  qdone ") < at("\n  new-id "));
    assert!(at("exit-codes") > at("--color"), "the topics come last");
    assert!(!help.contains("\n  complete ") && !help.contains("\n  deliver "));
}

#[test]
fn help_says_what_the_long_option_says_and_has_topics() {
    let spool = Spool::new();
    let add = printed(&spool, &["help", "add"], "80");
    assert_eq!(add, printed(&spool, &["add", "--help"], "80"));
    assert!(add.contains("Examples:\n  pirn add"));
    assert!(
        add.contains("[default: 1]")
            && !printed(&spool, &["add", "-h"], "80").contains("Examples:")
    );
    assert_eq!(
        printed(&spool, &["help"], "80"),
        printed(&spool, &["--help"], "80")
    );
    for (topic, text) in [
        ("times", "teatime"),
        ("record", "max_interruptions"),
        ("spool", "pending/ID"),
        ("exit-codes", "\n75\n"),
        ("config", "Usage: pirn config"),
        ("config", "\nkeep_bytes ("),
    ] {
        let is = printed(&spool, &["help", topic], "80");
        assert!(is.contains(text), "{topic} has no {text:?}:\n{is}");
    }
    assert!(printed(&spool, &["help", "config", "set"], "80").contains("null removes it"));
}

#[test]
fn options_of_a_command_come_before_those_of_all() {
    let spool = Spool::new();
    for (command, last) in [("log", "--err"), ("clean", "--all"), ("retry", "--copy")] {
        let help = printed(&spool, &[command, "--help"], "80");
        let at = |option: &str| help.find(option).unwrap();
        assert!(
            at(last) < at("--spool") && at("--color") < at("--help"),
            "{help}"
        );
    }
}

#[test]
fn a_number_is_expected_and_a_spool_named() {
    let spool = Spool::made();
    let path = spool.path().display().to_string();
    for (args, code, said) in [
        (
            &["log", "-n", "ten"][..],
            2,
            "expected a whole number".to_owned(),
        ),
        (
            &["add", "-p", "high", "true"],
            2,
            "expected a whole number".to_owned(),
        ),
        (
            &["show", "99"],
            66,
            format!("pirn: there is no job 99 in {path}\n"),
        ),
        (
            &["rm", "99"],
            66,
            format!("pirn: there is no job 99 in {path}\n"),
        ),
    ] {
        let done = spool.pirn(args);
        assert_eq!(done.code, code, "{args:?}");
        assert!(done.stderr.contains(&said), "{args:?}: {}", done.stderr);
    }
}

#[test]
fn mistyped_words_name_the_nearest() {
    let spool = Spool::new();
    for (args, right) in [
        (&["ad"][..], "'add'"),
        (&["add", "--timout", "3", "true"], "'--timeout'"),
        (&["ls", "--jsn"], "'--json'"),
        (&["help", "exit-code"], "pirn help exit-codes?"),
        (&["help", "retyr"], "pirn help retry?"),
    ] {
        let done = spool.pirn(args);
        assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{args:?}");
        assert!(done.stderr.contains(right), "{args:?}: {}", done.stderr);
    }
}
