//! A file system in a file, which can be cut off like by a power failure, and a machine that boots again after it.

use crate::host::{comes, tool, try_tool, wait_for};
use std::fs;
use std::path::{Path, PathBuf};

/// The file systems that rung C runs on, and their sizes.
pub const KINDS: [(&str, u64); 2] = [("ext4", 64 << 20), ("xfs", 320 << 20)];

/// The tools that the tests of this rung need.
pub const TOOLS: [(&str, &str); 4] = [
    ("xfs_io", "xfsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("mkfs.ext4", "e2fsprogs"),
    ("flock", "util-linux"),
];

/// A mounted image. Only this thread and its children see the mount, and it ends with them.
pub struct Image {
    home: tempfile::TempDir,
    kind: &'static str,
    cuts: u64,
}

impl Image {
    /// A new image; `None`, with a message, if there are no loop devices or no such file system.
    pub fn fresh(kind: &'static str, size: u64) -> Option<Self> {
        own_namespace();
        let image = Self {
            home: tempfile::tempdir().unwrap(),
            kind,
            cuts: 0,
        };
        fs::create_dir(image.mount_point()).unwrap();
        let file = fs::File::create(image.file()).unwrap();
        file.set_len(size).unwrap();
        let path = image.file().display().to_string();
        let force = if kind == "xfs" { "-f" } else { "-F" };
        tool(&format!("mkfs.{kind}"), &["-q", force, &path]);
        image.boot();
        let boot_id = image.boot_id().display().to_string();
        let real = "/proc/sys/kernel/random/boot_id";
        if !try_tool("mount", &["--bind", &boot_id, real]) || !image.mount() {
            println!("skipped: {kind}: no loop device, or the kernel has no {kind}");
            return None;
        }
        Some(image)
    }

    fn file(&self) -> PathBuf {
        self.home.path().join("image")
    }

    fn boot_id(&self) -> PathBuf {
        self.home.path().join("boot_id")
    }

    /// The directory where it is mounted.
    pub fn mount_point(&self) -> PathBuf {
        self.home.path().join("mnt")
    }

    /// A directory that the cut does not touch.
    pub fn beside(&self) -> &Path {
        self.home.path()
    }

    /// The number of cuts so far.
    pub fn cuts(&self) -> u64 {
        self.cuts
    }

    fn mount(&self) -> bool {
        let (file, mnt) = (self.file(), self.mount_point());
        let args = ["-o", "loop", file.to_str().unwrap(), mnt.to_str().unwrap()];
        try_tool("mount", &args)
    }

    /// After a power cut the machine has another boot id (the bind mount shows this file for it).
    fn boot(&self) {
        let id = format!("00000000-0000-4000-8000-{:012}\n", self.cuts);
        fs::write(self.boot_id(), id).unwrap();
    }

    /// Cuts the file system off: all data that is not on the disk is lost, and every further write fails.
    pub fn cut(&mut self) {
        let mnt = self.mount_point().display().to_string();
        tool("xfs_io", &["-x", "-c", "shutdown", &mnt]);
        self.cuts += 1;
    }

    /// Boots the machine again. No process may have the file system open any more.
    pub fn reboot(&self) {
        let mnt = self.mount_point().display().to_string();
        wait_for("umount", || try_tool("umount", &[&mnt]));
        self.boot();
        assert!(
            self.mount(),
            "the {} cannot be mounted after a cut",
            self.kind
        );
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let mnt = self.mount_point().display().to_string();
        if !try_tool("umount", &[&mnt]) {
            try_tool("umount", &["-l", &mnt]);
        }
        try_tool("umount", &["/proc/sys/kernel/random/boot_id"]);
        comes(|| !try_tool("mountpoint", &["-q", &mnt]));
    }
}

/// Gives this thread, and the processes that it starts, mounts of their own.
#[allow(unsafe_code)]
fn own_namespace() {
    // SAFETY: unshare takes flags only; the mounts of other threads and processes stay as they are.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0, "unshare");
    tool("mount", &["--make-rprivate", "/"]);
}
