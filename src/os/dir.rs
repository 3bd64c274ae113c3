//! Files by directory descriptor and name. No function follows a symbolic link or blocks on a named pipe or device.

use super::fault::Fault;
use super::ownership::Ownership;
use super::procfs;
use nix::NixPath;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, fchown, fsync, unlinkat};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The type of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A block or character device.
    Device,
}

impl FileType {
    /// The words for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "a regular file",
            Self::Directory => "a directory",
            Self::Symlink => "a symbolic link",
            Self::Fifo => "a named pipe",
            Self::Socket => "a socket",
            Self::Device => "a device",
        }
    }
}

/// The fields of stat(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// The kind of file.
    pub kind: FileType,
    /// Inode number.
    pub inode: u64,
    /// Last modification, nanoseconds since the epoch.
    pub modified: i64,
    /// Size in bytes.
    pub size: u64,
    /// Hard links.
    pub links: u64,
    /// Mode and owners.
    pub ownership: Ownership,
}

impl From<FileStat> for Look {
    fn from(st: FileStat) -> Self {
        let format = SFlag::from_bits_truncate(st.st_mode) & SFlag::S_IFMT;
        let kind = match format {
            SFlag::S_IFREG => FileType::File,
            SFlag::S_IFDIR => FileType::Directory,
            SFlag::S_IFLNK => FileType::Symlink,
            SFlag::S_IFIFO => FileType::Fifo,
            SFlag::S_IFSOCK => FileType::Socket,
            _ => FileType::Device,
        };
        Self {
            kind,
            inode: st.st_ino,
            modified: st
                .st_mtime
                .saturating_mul(1_000_000_000)
                .saturating_add(st.st_mtime_nsec),
            size: u64::try_from(st.st_size).unwrap_or(0),
            links: st.st_nlink,
            ownership: Ownership {
                mode: st.st_mode & 0o7777,
                uid: st.st_uid,
                gid: st.st_gid,
            },
        }
    }
}

/// How rename(2) treats a file that has the new name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Replace it.
    Replace,
    /// Refuse with EEXIST.
    NoReplace,
    /// Swap the two files; refuse with ENOENT when one is missing.
    Exchange,
}

/// Opens a directory, as a base for names.
pub fn open_path(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::open(path, flags, Mode::empty())?)
}

/// Opens a sub-directory; a symbolic link is refused.
pub fn open_dir(base: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    Ok(openat(base, name, flags, Mode::empty())?)
}

/// Makes a sub-directory with mode 0700 unless it exists. True if it did not.
pub fn make_dir(base: impl AsFd, name: &[u8]) -> io::Result<bool> {
    match mkdirat(base, name, Mode::S_IRWXU) {
        Ok(()) => Ok(true),
        Err(nix::Error::EEXIST) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Gives an open file or directory to a user and a group.
pub fn set_owner(file: impl AsFd, uid: u32, gid: u32) -> io::Result<()> {
    Ok(fchown(file, Some(uid.into()), Some(gid.into()))?)
}

/// Sets the mode of an open file or directory.
pub fn set_mode(file: impl AsFd, mode: u32) -> io::Result<()> {
    Ok(fchmod(file, Mode::from_bits_truncate(mode))?)
}

/// Removes an empty sub-directory.
pub fn remove_dir(base: impl AsFd, name: &[u8]) -> io::Result<()> {
    Ok(unlinkat(base, name, UnlinkatFlags::RemoveDir)?)
}

/// Makes a file of mode 0600 that must not exist yet.
pub fn create(base: impl AsFd, name: &[u8]) -> io::Result<File> {
    let flags =
        OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    Ok(File::from(openat(
        base,
        name,
        flags,
        Mode::S_IRUSR | Mode::S_IWUSR,
    )?))
}

/// Makes a file with these bytes, synced to the disk if `durable`. It has mode 0600, or is a record with this ownership.
pub fn write_new(
    base: impl AsFd,
    name: &[u8],
    bytes: &[u8],
    ownership: Option<Ownership>,
    durable: bool,
) -> io::Result<()> {
    let file = write_unsynced(base, name, bytes, ownership)?;
    if durable {
        file.sync_data()?;
    }
    Ok(())
}

/// Has the kernel begin to write a file to the disk. That makes nothing durable: a sync must follow, which also tells of
/// errors (sync_file_range(2)).
pub fn start_writing(file: &File) {
    // SAFETY: an open descriptor and integers; a length of 0 means up to the end.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}

/// The same without a sync.
pub fn write_unsynced(
    base: impl AsFd,
    name: &[u8],
    bytes: &[u8],
    ownership: Option<Ownership>,
) -> io::Result<File> {
    let mut file = create(base, name)?;
    file.write_all(bytes)?;
    if let Some(ownership) = ownership.filter(|_| !Fault::NoOwnership.is_on()) {
        ownership.give_record(&file, None)?;
    }
    Ok(file)
}

/// Opens a file for reading and writing, making it with mode 0600 if needed. Its content stays.
pub fn open_edit(base: impl AsFd, name: &[u8]) -> io::Result<File> {
    let flags = OFlag::O_CREAT | OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    Ok(File::from(openat(base, name, flags, mode)?))
}

/// Opens a log for appending, making it with mode 0600 if needed.
pub fn open_append(base: impl AsFd, name: &[u8]) -> io::Result<File> {
    let flags = OFlag::O_CREAT
        | OFlag::O_WRONLY
        | OFlag::O_APPEND
        | OFlag::O_CLOEXEC
        | OFlag::O_NOFOLLOW
        | OFlag::O_NONBLOCK;
    Ok(File::from(openat(
        base,
        name,
        flags,
        Mode::S_IRUSR | Mode::S_IWUSR,
    )?))
}

/// Opens a file of any type for reading, without following it, blocking, or making it our terminal.
pub fn open_read(base: impl AsFd, name: &[u8]) -> io::Result<File> {
    let flags = OFlag::O_RDONLY
        | OFlag::O_CLOEXEC
        | OFlag::O_NOFOLLOW
        | OFlag::O_NONBLOCK
        | OFlag::O_NOCTTY;
    // Reading a new file would write its inode (mount(8), `relatime`). O_NOATIME prevents that, for the owner only.
    let quiet = openat(&base, name, flags | OFlag::O_NOATIME, Mode::empty());
    let opened = match quiet {
        Err(nix::Error::EPERM) => openat(&base, name, flags, Mode::empty()),
        opened => opened,
    };
    Ok(File::from(opened?))
}

/// Looks at an open file.
pub fn look_at(file: impl AsFd) -> io::Result<Look> {
    Ok(fstat(file)?.into())
}

/// Looks at the file with this name, not at the target of a link; `None` if it does not exist.
pub fn look(base: impl AsFd, name: &[u8]) -> io::Result<Option<Look>> {
    match fstatat(base, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(st) => Ok(Some(st.into())),
        Err(nix::Error::ENOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Reads the rest of a regular file of `size` bytes, or more if it has grown, but no more than `limit`. If the first
/// call gives exactly `size` bytes, there is no second one.
pub fn read_up_to(mut file: &File, size: u64, limit: u64) -> io::Result<Vec<u8>> {
    let expected = usize::try_from(size.min(limit)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; expected.saturating_add(1)];
    let read = loop {
        match file.read(&mut bytes) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    bytes.truncate(read);
    if read != expected {
        let rest = limit.saturating_sub(read as u64);
        file.take(rest).read_to_end(&mut bytes)?;
    }
    bytes.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(bytes)
}

/// True if this open file has that name now.
pub fn has_name(dir: impl AsFd, name: &[u8], file: impl AsFd) -> io::Result<bool> {
    let named = look(dir, name)?;
    Ok(named.map(|look| look.inode) == Some(look_at(file)?.inode))
}

/// Reads the end of a regular file: at most `most` bytes, from the byte `from` on, or from the beginning if the file is
/// shorter than that. Says too where they begin.
pub fn read_end(file: &mut File, from: u64, most: u64) -> io::Result<(Vec<u8>, u64)> {
    let look = look_at(&file)?;
    if look.kind != FileType::File {
        return Err(io::Error::other(look.kind.as_str()));
    }
    let from = if from <= look.size { from } else { 0 };
    let from = look.size.saturating_sub(most).max(from);
    file.seek(SeekFrom::Start(from))?;
    Ok((read_up_to(file, look.size - from, most)?, from))
}

/// Renames within or between directories.
pub fn rename(
    from: impl AsFd,
    name: &[u8],
    to: impl AsFd,
    new_name: &[u8],
    how: How,
) -> io::Result<()> {
    let flags = match how {
        How::Replace => 0,
        How::NoReplace => libc::RENAME_NOREPLACE,
        How::Exchange => libc::RENAME_EXCHANGE,
    };
    let (old_dir, new_dir) = (from.as_fd().as_raw_fd(), to.as_fd().as_raw_fd());
    let done = name.with_nix_path(|old| {
        new_name.with_nix_path(|new| {
            // By its number, since not every libc has the function.
            // SAFETY: both names end with a NUL and outlive the call; the descriptors are borrowed for it.
            Errno::result(unsafe {
                libc::syscall(
                    libc::SYS_renameat2,
                    old_dir,
                    old.as_ptr(),
                    new_dir,
                    new.as_ptr(),
                    flags,
                )
            })
        })
    });
    done.flatten()
        .flatten()
        .map(drop)
        .map_err(|e| match (e, how) {
            // EINVAL: the file system does not know the flag.
            (nix::Error::EINVAL, How::NoReplace) => lacks(&to, NO_REPLACE),
            (nix::Error::EINVAL, How::Exchange) => lacks(&to, EXCHANGE),
            (e, How::Replace | How::NoReplace | How::Exchange) => e.into(),
        })
}

/// The call that a file system lacks if it knows no flags of renames.
pub const NO_REPLACE: &str = "renameat2(2) with RENAME_NOREPLACE";
/// The call that a file system lacks if it knows that flag only.
pub const EXCHANGE: &str = "renameat2(2) with RENAME_EXCHANGE";

/// The error about a file system that lacks a call.
pub fn lacks(base: impl AsFd, what: &str) -> io::Error {
    let named = procfs::file_system(base).map_or_else(String::new, |name| format!(" {name}"));
    let why = format!(
        "the file system{named} does not support {what}, which a spool needs; put the spool on another one"
    );
    io::Error::new(io::ErrorKind::Unsupported, why)
}

/// Removes a file. False if it does not exist.
pub fn unlink(base: impl AsFd, name: &[u8]) -> io::Result<bool> {
    match unlinkat(base, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) => Ok(true),
        Err(nix::Error::ENOENT) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Removes a directory and its content, without following symbolic links.
pub fn remove_tree(base: impl AsFd, name: &[u8]) -> io::Result<()> {
    let dir = match open_dir(&base, name) {
        Ok(dir) => dir,
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOTDIR | libc::ELOOP)) => {
            return unlink(base, name).map(drop);
        }
        // Descriptors are short, perhaps: to unlink a directory would only say that it is one.
        Err(e) => return Err(e),
    };
    let mut inside = Vec::new();
    names(&dir, |name| inside.push(name.to_vec()))?;
    for name in inside {
        match unlinkat(&dir, name.as_slice(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(nix::Error::ENOENT) => {}
            Err(nix::Error::EISDIR | nix::Error::EPERM) => remove_tree(&dir, &name)?,
            Err(e) => return Err(e.into()),
        }
    }
    match unlinkat(base, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(nix::Error::ENOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Makes the names in a directory durable.
pub fn sync(dir: impl AsFd) -> io::Result<()> {
    Ok(fsync(dir)?)
}

/// Calls `each` with every name but `.` and `..`, in the directory's order.
pub fn names(dir: impl AsFd, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut listing = Listing::open(dir)?;
    while let Some(name) = listing.next_name()? {
        each(&name);
    }
    Ok(())
}

/// The names of a directory, read one by one.
#[derive(Debug)]
pub struct Listing(nix::dir::OwningIter);

impl Listing {
    /// Opens a directory again, to read it from its beginning.
    pub fn open(dir: impl AsFd) -> io::Result<Self> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        Ok(Self(
            Dir::openat(dir, ".", flags, Mode::empty())?.into_iter(),
        ))
    }

    /// The next name but `.` and `..`.
    pub fn next_name(&mut self) -> io::Result<Option<Vec<u8>>> {
        for entry in self.0.by_ref() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                return Ok(Some(name.to_vec()));
            }
        }
        Ok(None)
    }
}

/// Allocates this many bytes of disk for a file, beyond its end. A file system that cannot do so is no error.
pub fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    let flags = nix::fcntl::FallocateFlags::FALLOC_FL_KEEP_SIZE;
    match nix::fcntl::fallocate(file, flags, 0, i64::try_from(bytes).unwrap_or(i64::MAX)) {
        Ok(()) | Err(nix::Error::EOPNOTSUPP) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// The room on the file system of a directory.
pub fn free_space(dir: BorrowedFd<'_>) -> io::Result<Space> {
    let st = nix::sys::statvfs::fstatvfs(dir)?;
    let block = st.fragment_size();
    Ok(Space {
        free_bytes: st.blocks_available().saturating_mul(block),
        total_bytes: st.blocks().saturating_mul(block),
        free_inodes: st.files_available(),
        total_inodes: st.files(),
    })
}

/// The room on a file system. One without a fixed number of inodes reports 0 of 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that a process without privileges may still use.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Inodes that may still be made.
    pub free_inodes: u64,
    /// Inodes in all.
    pub total_inodes: u64,
}
