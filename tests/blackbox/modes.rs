//! A daemon does not serve a spool into which others can put files, since they would run as its user.

use crate::spool::Spool;
use crate::tools::sh;

/// A spool of mode 0755 with these changes, as arguments of chmod(1).
fn spool(changes: &[(&str, &str)]) -> Spool {
    let spool = Spool::made();
    spool.make_queue("mail");
    let path = spool.path().display().to_string();
    sh(&format!("chmod -R u=rwX,go=rX '{path}'"));
    for (mode, dir) in changes {
        sh(&format!("chmod {mode} '{path}/{dir}'"));
    }
    spool
}

fn serve(spool: &Spool, args: &[&str]) -> (i32, String) {
    spool.drop_file("a", "true");
    let done = spool.pirn(&[&["serve", "--drain"], args].concat());
    (done.code, done.stderr)
}

/// True if root's group has no other members here, which is the default.
fn has_private_group() -> bool {
    let groups = std::fs::read_to_string("/etc/group").unwrap();
    groups
        .lines()
        .any(|line| line == "root:x:0:" || line == "root:x:0:root")
}

#[test]
fn what_others_can_write_to_and_reach_is_refused() {
    for (mode, dir) in [
        ("o+w", "pending"),
        ("1777", "pending"),
        ("o+w", "pending/mail"),
        ("0757", "."),
        ("o+w", "active"),
        ("o+w", "failed"),
        ("o+w", "scripts"),
        ("o=wx", "tmp"),
    ] {
        let spool = spool(&[(mode, dir)]);
        let (code, said) = serve(&spool, &[]);
        assert_eq!(code, 78, "{mode} {dir}: {said}");
        let path = spool.path().join(dir).display().to_string();
        assert!(
            said.contains(path.trim_end_matches("/.")) && said.contains("others can put files"),
            "{mode} {dir}: {said}"
        );
        assert!(said.contains("--lax-modes"), "{said}");
        assert_eq!(spool.ls("pending"), ["a", "mail"]);

        let (code, said) = serve(&spool, &["--lax-modes"]);
        assert_eq!(code, 0, "{mode} {dir}: {said}");
        spool.wait_record("complete/a");
    }
}

#[test]
fn what_others_cannot_reach_or_write_to_is_served() {
    for changes in [
        &[][..],
        &[("0700", "."), ("0777", "pending"), ("0777", "pending/mail")],
        &[("0700", "pending"), ("0777", "pending/mail")],
        // Nobody can create files in a directory that nobody can search.
        &[("o=w", "pending")],
        &[("0777", "store"), ("0777", "log"), ("0777", "bad")],
    ] {
        let spool = spool(changes);
        let (code, said) = serve(&spool, &[]);
        assert_eq!(code, 0, "{changes:?}: {said}");
        spool.wait_record("complete/a");
    }
}

#[test]
fn a_group_is_others_unless_it_is_the_users_own() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let open = spool(&[("g+w", "pending")]);
    let path = open.path().display().to_string();
    if has_private_group() {
        let (code, said) = serve(&open, &[]);
        assert_eq!(code, 0, "{said}");
    }
    sh(&format!("chgrp -R 1 '{path}'"));
    let (code, said) = serve(&open, &[]);
    assert_eq!(code, 78, "{said}");
    // The members of the group cannot reach it.
    sh(&format!("chmod 0700 '{path}'"));
    let (code, said) = serve(&open, &[]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn another_owner_is_others() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let open = spool(&[]);
    let path = open.path().display().to_string();
    sh(&format!("chown 65534 '{path}/pending/mail'"));
    let (code, said) = serve(&open, &[]);
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("pending/mail: others"), "{said}");
    let remedy = format!("chown 0 {path}/pending/mail, or chmod 700 {path}, or");
    assert!(said.contains(&remedy), "{said}");
    sh(&format!("chown 65534 '{path}'"));
    let (code, said) = serve(&open, &[]);
    assert_eq!(code, 78, "{said}");
    assert!(said.contains(&format!("; chown 0 {path}, or")), "{said}");
    sh(&format!("chown 0 '{path}'"));
    sh(&format!("chmod 0700 '{path}'"));
    assert_eq!(serve(&open, &[]).0, 0);
}

#[test]
fn a_spool_that_pirn_makes_is_served_under_any_umask() {
    let spool = Spool::new();
    let pirn = spool.command([""]).get_program().display().to_string();
    let line = format!(
        "umask 000; '{pirn}' -S '{0}' add -q mail true && '{pirn}' serve --drain '{0}'",
        spool.path().display()
    );
    let done = spool.finish(std::process::Command::new("bash").args(["-c", &line]));
    assert_eq!(done.code, 0, "{}", done.stderr);
    spool.wait_record("complete/1");
}

#[test]
fn a_daemon_that_runs_is_not_ended_by_a_change_of_modes() {
    let mut daemon = spool(&[]);
    daemon.serve(&[]);
    sh(&format!("chmod 777 '{}/pending'", daemon.path().display()));
    let pid = daemon.daemon_pid();
    daemon.signal("USR2");
    daemon.wait_daemon_log("upgrade: becoming");
    daemon.drop_file("b", "true");
    daemon.wait_record("complete/b");
    assert!(pid.is_some());
    daemon.stop();
    let (code, _) = serve(&daemon, &[]);
    assert_eq!(code, 78);
}
