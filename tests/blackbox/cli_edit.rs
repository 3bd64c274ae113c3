//! `urgent`, `move`, `edit`: changing jobs that wait.

use crate::spool::{Done, Spool, write_program};
use crate::tools::{ok, with_environment_of};
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// Runs `pirn edit` with this shell script as the editor; `$1` is the file.
fn edit(spool: &Spool, script: &str, id: &str) -> Done {
    spool.finish(&mut editing(spool, script, id))
}

fn editing(spool: &Spool, script: &str, id: &str) -> Command {
    let editor = spool.beside("editor");
    write_program(&editor, format!("#!/bin/sh\n{script}\n"));
    let mut command = spool.command(["edit", id]);
    command.env_remove("VISUAL").env("EDITOR", &editor);
    command
}

/// The hidden files in `tmp/`.
fn copies(spool: &Spool) -> Vec<String> {
    let names = fs::read_dir(spool.path().join("tmp")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".edit")).collect()
}

#[test]
fn urgent_jobs_come_first() {
    let mut spool = Spool::new();
    for command in ["a", "b", "c", "d"] {
        spool.add(&["-p", "9", &format!("echo {command} >> $PIRN_STORE/order")]);
    }
    spool.drop_file("text", "echo e >> $PIRN_STORE/order");
    // The dates of files are those of a clock that ticks every few milliseconds: it may not have moved since the adding.
    let text = fs::File::open(spool.path().join("pending/text")).unwrap();
    let later = SystemTime::now() + Duration::from_secs(1);
    text.set_modified(later).unwrap();
    ok(&spool, &["hold", "4"]);
    ok(&spool, &["urgent", "4", "text"]);
    ok(&spool, &["urgent", "3"]);
    assert_eq!(spool.record("pending/3")["priority"], 2_147_483_647);
    ok(&spool, &["release", "4"]);
    spool.serve(&["--slots", "1", "--drain"]);
    assert_eq!(spool.wait_exit(), 0);
    // The urgent ones among themselves are in the order of their age.
    assert_eq!(spool.read("store/order"), "c\nd\ne\na\nb\n");
    assert_eq!(spool.pirn(&["urgent", "3"]).code, 1);
    assert_eq!(spool.pirn(&["urgent", "9"]).code, 66);
}

#[test]
fn urgent_under_a_daemon() {
    let spool = Spool::serving(&[]);
    ok(&spool, &["pause"]);
    for n in 1..=3 {
        spool.add(&[&format!("echo {n} >> $PIRN_STORE/order")]);
    }
    ok(&spool, &["urgent", "last"]);
    ok(&spool, &["slots", "1"]);
    spool.wait_daemon_log("config: read");
    ok(&spool, &["resume"]);
    spool.wait_record("complete/2");
    assert_eq!(spool.read("store/order"), "3\n1\n2\n");
}

/// Its file is too large, so that the daemon would refuse it too.
#[test]
fn a_job_that_cannot_be_read_is_not_left_held() {
    let spool = Spool::made();
    spool.drop_file("large", "true");
    let path = spool.path().join("pending/large");
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len((64 << 20) + 1).unwrap();
    let done = edit(&spool, "exit 1", "large");
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(
        done.stderr
            .starts_with("pirn: job large cannot be edited: "),
        "{}",
        done.stderr
    );
    assert_eq!(
        (spool.ls("pending"), spool.ls("held")),
        (vec!["large".to_owned()], vec![])
    );
    assert!(copies(&spool).is_empty());
}

#[test]
fn jobs_move_to_other_queues() {
    let spool = Spool::new();
    spool.add(&["-q", "mail", "true"]);
    spool.add(&["true"]);
    spool.add(&["-q", "mail", "true"]);
    spool.drop_file("text", "true");
    ok(&spool, &["hold", "3"]);
    ok(&spool, &["move", "2", "text", "night"]);
    assert_eq!(spool.ls("pending/night"), ["2", "text"]);
    assert_eq!(spool.read("pending/night/text"), "true");
    ok(&spool, &["move", "1", "default"]);
    assert_eq!(spool.record("pending/1").get("queue"), None);
    ok(&spool, &["move", "3", "night"]);
    assert_eq!(spool.record("held/3")["queue"], "night");
    ok(&spool, &["release", "3"]);
    ok(&spool, &["move", "-q", "night", "day"]);
    assert_eq!(spool.ls("pending/day"), ["2", "3", "text"]);
    ok(&spool, &["move", "2", "day"]);
    for (args, code) in [
        (&["move", "1"][..], 2),
        (&["move", "day"], 2),
        (&["move"], 2),
        (&["move", "9", "day"], 66),
        (&["move", "1", "held"], 1),
        (&["move", "1", "../x"], 2),
    ] {
        let done = spool.pirn(args);
        assert_eq!(done.code, code, "{args:?}: {}", done.stderr);
    }
    assert!(spool.has("pending/1"));
}

#[test]
fn a_moved_job_runs_from_its_new_queue() {
    let spool = Spool::serving(&[]);
    for queue in ["mail", "night"] {
        spool.make_queue(queue);
    }
    ok(&spool, &["pause", "mail"]);
    spool.add(&["-q", "mail", "true"]);
    spool.add(&["-q", "mail", "true"]);
    ok(&spool, &["move", "1", "night"]);
    assert_eq!(spool.wait_record("complete/1")["queue"], "night");
    ok(&spool, &["move", "2", "default"]);
    assert_eq!(spool.wait_record("complete/2").get("queue"), None);
    assert_eq!(spool.pirn(&["move", "2", "mail"]).code, 1);
}

#[test]
fn an_edited_job_goes_back() {
    let spool = Spool::serving(&[]);
    ok(&spool, &["pause"]);
    spool.add(&["-q", "mail", "--name", "before", "echo old"]);
    let script = format!(
        "ls {0}/held > {0}/store/held; stat -c %a \"$1\" > {0}/store/mode; sed -i s/before/after/ \"$1\"",
        spool.path().display()
    );
    let done = edit(&spool, &script, "1");
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));
    assert_eq!(
        (spool.read("store/held"), spool.read("store/mode")),
        ("1\n".to_owned(), "600\n".to_owned())
    );
    let record = spool.record("pending/mail/1");
    assert_eq!(
        (&record["name"], &record["command"]),
        (&json!("after"), &json!("echo old"))
    );
    assert!(spool.ls("held").is_empty() && copies(&spool).is_empty());
    ok(&spool, &["resume"]);
    assert_eq!(spool.wait_record("complete/1")["name"], "after");
    assert_eq!(edit(&spool, "true", "1").code, 1);
    assert_eq!(edit(&spool, "true", "9").code, 66);
}

#[test]
fn a_shell_line_is_edited_as_it_is() {
    let spool = Spool::new();
    spool.make();
    spool.drop_file("build", "make -C /src");
    let inode = |name: &str| fs::metadata(spool.path().join(name)).unwrap().ino();
    let before = inode("pending/build");
    assert_eq!(edit(&spool, "true", "build").code, 0);
    assert_eq!(inode("pending/build"), before);
    assert_eq!(edit(&spool, "echo make >\"$1\"", "build").code, 0);
    assert_eq!(spool.read("pending/build"), "make\n");
    // An editor that is called with arguments, as `VISUAL=\"code -w\"` does.
    let mut command = spool.command(["edit", "build"]);
    command.env("VISUAL", "sed -i s/make/ninja/");
    assert_eq!(spool.finish(&mut command).code, 0);
    assert_eq!(spool.read("pending/build"), "ninja\n");
    // A held job stays held.
    ok(&spool, &["hold", "build"]);
    assert_eq!(edit(&spool, "echo x >\"$1\"", "build").code, 0);
    assert_eq!(
        (spool.read("held/build"), spool.ls("pending").len()),
        ("x\n".to_owned(), 0)
    );
}

#[test]
fn what_is_no_job_stays_held() {
    let spool = Spool::new();
    spool.add(&["echo good"]);
    let done = edit(&spool, "echo '{\"command\": 7}' > \"$1\"", "1");
    assert_eq!(done.code, 65);
    for part in ["command", "job 1 is held", "pirn edit 1 goes on"] {
        assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
    }
    assert_eq!(spool.record("held/1")["command"], "echo good");
    assert_eq!(copies(&spool), [".edit.1"]);
    // The text of the user is not lost, not even to a daemon that begins.
    let mut spool = spool;
    spool.serve(&[]);
    let done = edit(&spool, "sed -i 's/7/\"echo better\"/' \"$1\"", "1");
    assert_eq!(done.code, 0, "{}", done.stderr);
    for part in ["earlier editing", "stays held; pirn release 1"] {
        assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
    }
    // It was held before this editing.
    assert_eq!(spool.record("held/1")["command"], "echo better");
    assert!(copies(&spool).is_empty());
    ok(&spool, &["release", "1"]);
    assert_eq!(spool.wait_record("complete/1")["output"], "better\n");
}

#[test]
fn an_editor_that_fails_changes_nothing() {
    let spool = Spool::new();
    spool.add(&["echo good"]);
    let done = edit(&spool, "echo junk > \"$1\"; exit 3", "1");
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("stays as it was"), "{}", done.stderr);
    assert_eq!(spool.record("pending/1")["command"], "echo good");
    assert!(copies(&spool).is_empty());
    // The text of an earlier editing is not lost by it.
    assert_eq!(edit(&spool, "echo '{' > \"$1\"", "1").code, 65);
    assert_eq!(edit(&spool, "exit 3", "1").code, 1);
    assert_eq!(spool.read("tmp/.edit.1"), "{\n");
    assert_eq!(spool.record("held/1")["command"], "echo good");
}

#[test]
fn a_job_waits_on_where_no_copy_can_be_made() {
    let spool = Spool::new();
    spool.add(&["echo good"]);
    fs::rename(spool.path().join("tmp"), spool.beside("tmp")).unwrap();
    fs::write(spool.path().join("tmp"), "").unwrap();
    let done = edit(&spool, "true", "1");
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(done.stderr.contains("tmp/"), "{}", done.stderr);
    assert_eq!(spool.record("pending/1")["command"], "echo good");
}

#[test]
fn an_edited_job_that_somebody_else_changes() {
    let spool = Spool::new();
    spool.add(&["echo good"]);
    let script = format!(
        "echo other > {}/held/1; echo mine > \"$1\"",
        spool.path().display()
    );
    let done = edit(&spool, &script, "1");
    assert_eq!(done.code, 65);
    assert!(
        done.stderr.contains("has changed meanwhile"),
        "{}",
        done.stderr
    );
    assert_eq!(spool.read("held/1"), "other\n");
    let script = format!("rm {}/held/1", spool.path().display());
    let done = edit(&spool, &script, "1");
    assert_eq!(done.code, 65);
    let gone = "job 1 is not held any more";
    assert!(done.stderr.contains(gone), "{}", done.stderr);
    assert_eq!(spool.ls("held").len() + spool.ls("pending").len(), 0);
}

#[test]
fn a_job_of_the_same_name_that_comes_meanwhile() {
    let spool = Spool::new();
    spool.add(&["echo good"]);
    let script = format!("echo other > {}/pending/1", spool.path().display());
    let done = edit(&spool, &script, "1");
    assert_eq!(done.code, 1);
    let why = "job 1: another job of that name is in the way";
    assert!(done.stderr.contains(why), "{}", done.stderr);
    assert_eq!(spool.record("held/1")["command"], "echo good");
    assert_eq!(spool.read("pending/1"), "other\n");
}

#[test]
fn the_keys_that_interrupt_are_for_the_editor() {
    let spool = Spool::new();
    spool.add(&["echo good"]);
    // As the terminal does: Emacs has ^G send SIGINT to all processes in front.
    let script = "trap : INT QUIT\nkill -INT 0\nkill -QUIT 0\nsed -i s/good/better/ \"$1\"";
    let done = spool.finish(editing(&spool, script, "1").process_group(0));
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(spool.record("pending/1")["command"], "echo better");
}

#[test]
fn an_editor_of_a_caller_that_ignores_its_children() {
    let spool = Spool::new();
    spool.add(&["echo good"]);
    let editing = editing(&spool, "sed -i s/good/better/ \"$1\"", "1");
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' CHLD; exec \"$@\"", "sh"]);
    command.arg(editing.get_program()).args(editing.get_args());
    with_environment_of(&mut command, &editing);
    let done = spool.finish(&mut command);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(spool.record("pending/1")["command"], "echo better");
}

#[test]
fn a_job_is_edited_by_one_at_a_time() {
    let spool = Spool::new();
    spool.add(&["echo good"]);
    // Within it, also after its way of writing has replaced the copy.
    let pirn = env!("CARGO_BIN_EXE_pirn");
    let path = spool.path();
    let path = path.display();
    let script = format!(
        "sed -i s/good/better/ \"$1\"; EDITOR=false '{pirn}' -S {path} edit 1; [ $? = 75 ] || echo x > \"$1\""
    );
    let done = edit(&spool, &script, "1");
    assert_eq!(done.code, 0, "{}", done.stderr);
    let why = "job 1 is being edited by another process already";
    assert!(done.stderr.contains(why), "{}", done.stderr);
    assert_eq!(spool.record("pending/1")["command"], "echo better");
    assert!(copies(&spool).is_empty());
}

#[test]
fn a_job_that_others_replace_is_still_edited_by_one() {
    let spool = Spool::new();
    spool.add(&["echo good"]);
    let (pirn, path) = (env!("CARGO_BIN_EXE_pirn"), spool.path());
    let path = path.display();
    let script = format!(
        "'{pirn}' -S {path} urgent 1; EDITOR=false '{pirn}' -S {path} edit 1; [ $? = 75 ] && echo echo mine > \"$1\""
    );
    let done = edit(&spool, &script, "1");
    assert_eq!(done.code, 65, "{}", done.stderr);
    assert!(
        done.stderr.contains("its file has changed meanwhile"),
        "{}",
        done.stderr
    );
    assert_eq!(
        (spool.record("held/1")["command"].clone(), copies(&spool)),
        (json!("echo good"), vec![".edit.1".to_owned()])
    );
}

#[test]
fn a_job_that_its_writer_has_locked_is_edited() {
    let spool = Spool::made();
    spool.drop_file("p", "echo good");
    let file = fs::File::open(spool.path().join("pending/p")).unwrap();
    file.lock().unwrap();
    let done = edit(&spool, "sed -i s/good/better/ \"$1\"", "p");
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(spool.read("pending/p"), "echo better");
}
