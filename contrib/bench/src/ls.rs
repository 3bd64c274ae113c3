//! `pirn ls` of a long queue: the time until its first line, and until its last.

use crate::Context;
use crate::daemon::Spool;
use crate::report::Row;
use crate::sys;
use std::io::{self, Read};
use std::process::{Command, Stdio};

const KINDS: [(&str, &[&str]); 3] = [
    ("pirn ls", &["ls"]),
    ("pirn ls --ids", &["ls", "--ids"]),
    ("pirn ls --ids -U", &["ls", "--ids", "-U"]),
];

pub fn rows(name: &str) -> Vec<Row> {
    KINDS
        .iter()
        .flat_map(|(what, _)| {
            [
                format!("`{what}`, {name}, first line"),
                format!("`{what}`, {name}, whole"),
            ]
        })
        .map(Row::new)
        .collect()
}

/// Fills the rows of [`rows`]; `limit` is the time that one loop takes to read the files.
pub fn measure(c: &Context, spool: &Spool, limit: f64, rows: &mut [Row]) -> io::Result<()> {
    for ((_, words), rows) in KINDS.iter().zip(rows.chunks_mut(2)) {
        let start = sys::now();
        let mut child = Command::new(&c.pirn)
            .arg("-S")
            .arg(&spool.dir)
            .args(*words)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut buffer = vec![0; 1 << 16];
        let mut first = None;
        if let Some(mut out) = child.stdout.take() {
            while out.read(&mut buffer)? > 0 {
                first.get_or_insert_with(|| sys::since(start));
            }
        }
        child.wait()?;
        rows[0].push_beside(first.unwrap_or(f64::NAN), limit);
        rows[1].push_beside(sys::since(start), limit);
    }
    Ok(())
}
