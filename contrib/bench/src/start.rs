//! The cost of confining a job: the µs that a start takes longer, beside other programs that confine one.

use crate::daemon::{Daemon, NO_OP, Spool, drain};
use crate::ground::Ground;
use crate::group::Group;
use crate::report::{Row, remark, table};
use crate::sys::{self, Program};
use crate::{Context, progress};
use std::io;

/// Ten paths, as `system` and a few directories of the job would be.
const PATHS: &str =
    r#""ro":["/usr","/bin","/lib","/lib64","/etc","/proc","/sys","/dev"],"rw":["/tmp","/var/tmp"]"#;

/// The µs a job of a drain with one slot and without syncs.
fn job(c: &Context, ground: &Ground, in_group: bool, fields: &str) -> io::Result<f64> {
    let group = match in_group {
        true => Some(Group::make()?),
        false => None,
    };
    let spool = Spool::new(ground.fresh("start")?, 1)?;
    let text = NO_OP.trim_end().trim_end_matches('}');
    let count = c.scaled(1000);
    spool.fill(1, count, &format!("{text}{fields}}}"))?;
    let daemon = Daemon::start_with(&c.pirn, &spool, false, |command| {
        if let Some(group) = &group {
            command.arg("--cgroup").arg(group.path());
        }
    })?;
    daemon.settle()?;
    let rate = drain(&spool, 1, count)?;
    daemon.stop()?;
    Ok(1e6 / rate)
}

/// The µs of a program, one after the other.
fn program(c: &Context, words: &[&str]) -> io::Result<f64> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs = std::env::split_paths(&path).map(|dir| dir.join(words[0]));
    let found = dirs.find(|path| path.is_file());
    let found = found.ok_or_else(|| io::Error::other("not installed"))?;
    let found = found.display().to_string();
    let words = [&[found.as_str()], &words[1..]].concat();
    let program = Program::new(&words);
    let done = std::process::Command::new(words[0])
        .args(&words[1..])
        .output()?;
    if !done.status.success() {
        let why = String::from_utf8_lossy(&done.stderr);
        return Err(io::Error::other(why.trim().to_owned()));
    }
    let count = c.scaled(200);
    let begun = sys::now();
    (0..count).try_for_each(|_| program.run())?;
    Ok(sys::since(begun) * 1e6 / count as f64)
}

pub fn report(c: &Context) -> io::Result<()> {
    jobs(c, &c.grounds.list[0])?;
    programs(c)
}

fn jobs(c: &Context, ground: &Ground) -> io::Result<()> {
    let files = format!(r#","sandbox":{{{PATHS}}}"#);
    let all_files = format!(r#","sandbox":{{{PATHS},"network":{{"connect":[443]}}}}"#);
    let limits = r#","umask":"027","nice":1,"limits":{"nofile":256}"#;
    let all = format!("{all_files}{limits}");
    let groups = Group::make().map(drop);
    if let Err(e) = &groups {
        remark(&format!("Control groups are not measured: {e}."));
    }
    let cases = [
        ("umask, nice, limits", false, limits),
        ("an empty `sandbox`", false, r#","sandbox":{}"#),
        ("ten paths", false, &files),
        ("ten paths, a TCP port", false, &all_files),
        ("in a control group", true, ""),
        ("all of it", true, &all),
    ];
    let cases = cases
        .into_iter()
        .filter(|(_, in_group, _)| !in_group || groups.is_ok());
    let mut rows: Vec<_> = cases
        .map(|case| (Row::new(case.0), case.1, case.2))
        .collect();
    for rep in 0..c.reps {
        progress(&format!("start: {}/{}", rep + 1, c.reps));
        for (row, in_group, fields) in &mut rows {
            let plain = job(c, ground, false, "")?;
            row.push_beside(job(c, ground, *in_group, fields)?, plain);
        }
    }
    let rows: Vec<Row> = rows.into_iter().map(|(row, _, _)| row).collect();
    let limit = "a job that asks for nothing, right before";
    table(
        "Confined jobs, 1 slot, `--no-sync`",
        "µs a job",
        limit,
        &rows,
    );
    Ok(())
}

fn programs(c: &Context) -> io::Result<()> {
    let pirn = c.pirn.display().to_string();
    let cases: [(&str, &[&str]); 4] = [
        (
            "`pirn launch`, ten paths",
            &[
                &pirn,
                "launch",
                "--ro=/usr",
                "--ro=/bin",
                "--ro=/lib",
                "--ro=/lib64",
                "--ro=/etc",
                "--ro=/proc",
                "--ro=/sys",
                "--ro=/dev",
                "--rw=/tmp",
                "--rw=/var/tmp",
                "/bin/true",
            ],
        ),
        (
            "`setpriv --no-new-privs`",
            &["setpriv", "--no-new-privs", "/bin/true"],
        ),
        (
            "`bwrap`",
            &[
                "bwrap",
                "--ro-bind",
                "/",
                "/",
                "--unshare-net",
                "--unshare-pid",
                "/bin/true",
            ],
        ),
        (
            "`systemd-run --scope`",
            &["systemd-run", "--quiet", "--scope", "/bin/true"],
        ),
    ];
    let mut rows = Vec::new();
    for (name, words) in cases {
        let mut row = Row::new(name);
        for rep in 0..c.reps {
            progress(&format!("start: {name} {}/{}", rep + 1, c.reps));
            let bare = program(c, &["true"])?;
            match program(c, words) {
                Ok(time) => row.push_beside(time, bare),
                Err(e) => {
                    remark(&format!("{name} is not measured: {e}."));
                    break;
                }
            }
        }
        if !row.values.is_empty() {
            rows.push(row);
        }
    }
    let limit = "posix_spawn + wait of the same program alone, right before";
    table("Programs that confine another", "µs", limit, &rows);
    Ok(())
}
