//! An idle daemon does nothing.

use crate::daemon::{Daemon, Spool};
use crate::report::{Bound, Row, remark, table};
use crate::{Context, progress};
use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

pub fn report(c: &Context) -> io::Result<()> {
    progress("idle");
    let seconds = if c.quick { 3 } else { 20 };
    let Some(ground) = c.grounds.list.first() else {
        return Ok(());
    };
    let spool = Spool::new(ground.fresh("idle")?, c.cpus)?;
    let daemon = Daemon::start(&c.pirn, &spool, true)?;
    daemon.settle()?;
    spool.configure(c.cpus, false)?;
    daemon.settle()?;
    let switches = || daemon.status("voluntary_ctxt_switches:", true);
    let (before, used) = (switches(), daemon.cpu_time());
    std::thread::sleep(Duration::from_secs(seconds));
    let mut woken =
        Row::new(format!("times a thread woke up in {seconds} s")).bound(Bound::AtMost(0.0));
    woken.push((switches() - before) as f64);
    let mut time = Row::new(format!("CPU in {seconds} s, µs")).bound(Bound::AtMost(0.0));
    time.push((daemon.cpu_time() - used) as f64 / 1e3);
    let mut rows = vec![woken, time];
    if c.has("strace") {
        let mut calls = Row::new(format!("system calls in {seconds} s")).bound(Bound::AtMost(0.0));
        calls.push(traced(daemon.pid(), seconds)? as f64);
        rows.push(calls);
    }
    daemon.stop()?;
    table("Idle", "count", "none", &rows);
    if !c.has("strace") {
        remark("System calls: skipped, strace is not installed.");
    }
    Ok(())
}

/// Counts the calls while strace looks. strace also shows the call that a thread is in when it is attached, as
/// unfinished: that one is not counted.
fn traced(pid: u32, seconds: u64) -> io::Result<usize> {
    let pid = pid.to_string();
    let out = Command::new("timeout")
        .args([
            "-s",
            "INT",
            &seconds.to_string(),
            "strace",
            "-f",
            "-qq",
            "-p",
            &pid,
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()?;
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    let is_call = |line: &&str| {
        line.contains(" = ") && !line.contains("resum") && !line.contains("restart_syscall")
    };
    Ok(text.lines().filter(is_call).count())
}
