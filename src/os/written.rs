//! Files that users write in place, as `>` does. A reader may find such a file half-written, which is no mistake.

use super::{lease, user};
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::time::Duration;

/// The content of a file.
#[derive(Debug)]
pub enum Written<T> {
    /// The value that it has.
    Valid(T),
    /// The error in it.
    Invalid(String),
    /// The same, while another process has it open for writing.
    Unfinished(String),
}

/// How long [`read_finished`] waits for a file that is being written, and how often it reads it.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Reads a file. Valid content counts at once, even if another process has the file open.
pub fn read<T>(path: &Path, parse: impl Fn(&str) -> Result<T, String>) -> io::Result<Written<T>> {
    let parse = |bytes: Vec<u8>| match String::from_utf8(bytes) {
        Ok(text) => parse(&text),
        Err(_) => Err("not UTF-8 text".to_owned()),
    };
    let why = match parse(std::fs::read(path)?) {
        Ok(value) => return Ok(Written::Valid(value)),
        Err(why) => why,
    };
    if !std::fs::metadata(path)?.is_file() {
        // A pipe has no more bytes.
        return Ok(Written::Invalid(why));
    }
    // Reads the file once more, while no other process can begin to write it.
    let mut file = File::open(path)?;
    let is_unfinished = lease::is_being_written(&file);
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(match parse(bytes) {
        Ok(value) => Written::Valid(value),
        Err(why) if is_unfinished => Written::Unfinished(why),
        Err(why) => Written::Invalid(why),
    })
}

/// Replaces a file, durably. Its mode stays, and its owner if root replaces it; a new file has mode 0600 and the owner
/// of its directory. A link stays: its target is replaced. The link has to be ours or root's: with one of their own,
/// others could make root replace any file.
///
/// Callers take turns: each removes the file that an interrupted one has left.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = match path.symlink_metadata() {
        Ok(link) if link.is_symlink() && ![0, user::uid()].contains(&link.uid()) => {
            let what = "it is a link of another user, which is not followed";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        }
        Ok(link) if link.is_symlink() => path.canonicalize()?,
        Ok(_) | Err(_) => path.to_owned(),
    };
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let staged = dir.join([OsStr::new("."), name, OsStr::new(".new")].join(OsStr::new("")));
    match fs::remove_file(&staged) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    let old = match fs::metadata(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        old => Some(old?),
    };
    let (mode, owner) = match &old {
        Some(old) => (old.mode() & 0o7777, old),
        None => (0o600, &fs::metadata(dir)?),
    };
    let replaced = write_as(&staged, text, mode, owner).and_then(|()| fs::rename(&staged, &path));
    if replaced.is_err() {
        let _ = fs::remove_file(&staged);
        return replaced;
    }
    File::open(dir)?.sync_all()
}

/// Makes a file with this mode and, if we are root, with this owner, and syncs it.
fn write_as(path: &Path, text: &str, mode: u32, owner: &Metadata) -> io::Result<()> {
    let mut options = File::options();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    if user::is_root() {
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

/// The same, but waits some seconds for a process that is writing the file.
pub fn read_finished<T>(
    path: &Path,
    parse: impl Fn(&str) -> Result<T, String>,
) -> io::Result<Result<T, String>> {
    let mut waited = Duration::ZERO;
    loop {
        match read(path, &parse)? {
            Written::Valid(value) => return Ok(Ok(value)),
            Written::Invalid(why) => return Ok(Err(why)),
            Written::Unfinished(why) if waited >= PATIENCE => {
                return Ok(Err(format!("{why} (it is still open for writing)")));
            }
            Written::Unfinished(_) => std::thread::sleep(LOOK_EVERY),
        }
        waited += LOOK_EVERY;
    }
}
