//! The file of a log, read in pieces.

use crate::http::Door;
use crate::os::dir;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A log and its size, if there is one.
pub fn open(door: &Door, name: &str) -> io::Result<Option<(File, u64)>> {
    match door.spool().open_log(name) {
        Ok(file) => {
            let size = dir::look_at(&file)?.size;
            Ok(Some((file, size)))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Appends at most `most` bytes of a file to `out`. Gives how many there were; 0 at the end.
pub fn read_at(file: &File, at: u64, most: usize, out: &mut Vec<u8>) -> io::Result<usize> {
    let start = out.len();
    out.resize(start + most, 0);
    let read = loop {
        match file.read_at(&mut out[start..], at) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => break other,
        }
    };
    out.truncate(start + read.as_ref().copied().unwrap_or(0));
    read
}
