//! Advice about errors of the system.

use super::user;
use crate::core::quote::without_codes;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Advice about an error with this file or directory, to be put behind the error. Empty if its words say enough.
pub fn advice(e: &io::Error, path: &Path) -> String {
    let text = match e.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => return about_owner(path),
        Some(libc::ENOSPC) => "make room on its file system",
        Some(libc::EDQUOT) => "make room, or have the quota raised",
        Some(libc::EROFS) => "remount it for writing, or use another",
        Some(libc::ENOTDIR) => "name a directory",
        Some(libc::EMFILE) => "raise the limit of open files (ulimit -n)",
        Some(libc::ENFILE) => "too many files are open on this machine (sysctl fs.file-max)",
        Some(libc::ENOMEM) => "free some memory",
        Some(libc::EIO) => "the disk may be failing: look at the kernel's log (dmesg)",
        Some(libc::ESTALE) => "the file server has lost it: mount it again",
        Some(_) | None => return String::new(),
    };
    format!("; {text}")
}

/// The words for an error with this file or directory, and what to do about it.
pub fn explained(e: &io::Error, path: &Path) -> String {
    without_codes(&format!("{e}{}", advice(e, path)))
}

fn about_owner(path: &Path) -> String {
    // A file in a directory that is closed to us has no owner that we can see, but the directory has.
    let known = path.ancestors().find_map(|path| path.metadata().ok());
    match known.map(|about| about.uid()) {
        Some(owner) if owner == user::uid() => "; look at its mode (ls -ld)".to_owned(),
        Some(owner) => {
            let name = user::name_of(owner);
            format!("; it belongs to {name}: become that user, or have its mode changed")
        }
        None => String::new(),
    }
}
