//! The places of measurements: a directory on the present file system, and one on a journaled ext4 image.
//!
//! Directories are fresh for each repetition and are removed at the end only: ext4 without a journal skips recently
//! deleted inodes at every create, which would make each repetition slower than the one before.

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A place to measure in.
pub struct Ground {
    pub name: String,
    pub dir: PathBuf,
    /// The name of the file system.
    pub kind: String,
    next: Cell<u32>,
}

impl Ground {
    fn new(name: &str, dir: PathBuf) -> Self {
        let kind = kind_of(&dir);
        Self {
            name: name.to_owned(),
            dir,
            kind,
            next: Cell::new(0),
        }
    }

    /// A new directory.
    pub fn fresh(&self, what: &str) -> io::Result<PathBuf> {
        self.next.set(self.next.get() + 1);
        let dir = self.dir.join(format!("{what}.{}", self.next.get()));
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }
}

/// All grounds; removed again at the end.
pub struct Grounds {
    pub list: Vec<Ground>,
    base: PathBuf,
    mounted: Option<PathBuf>,
}

/// Enough for 100,000 jobs and their records, several times.
const IMAGE_BYTES: u64 = 8 << 30;
const IMAGE_INODES: u32 = 1_500_000;

impl Grounds {
    pub fn prepare(base: &Path, with_image: bool) -> io::Result<Self> {
        let base = base.join(format!("pirn-bench.{}", std::process::id()));
        fs::create_dir_all(&base)?;
        let here = base.join("plain");
        fs::create_dir_all(&here)?;
        let mut grounds = Self {
            list: vec![Ground::new("as it is", here)],
            base,
            mounted: None,
        };
        if with_image {
            match grounds.mount() {
                Ok(dir) => grounds.list.push(Ground::new("ext4 image", dir)),
                Err(e) => eprintln!("skipped: the journaled ext4 image: {e}"),
            }
        }
        Ok(grounds)
    }

    fn mount(&mut self) -> io::Result<PathBuf> {
        if !crate::sys::is_root() {
            return Err(io::Error::other("mounting needs root"));
        }
        if crate::sys::free_bytes(&self.base) < 2 * IMAGE_BYTES {
            return Err(io::Error::other("too little room on the disk"));
        }
        let image = self.base.join("image");
        fs::File::create(&image)?.set_len(IMAGE_BYTES)?;
        let inodes = IMAGE_INODES.to_string();
        run(
            "mkfs.ext4",
            &[
                "-q",
                "-F",
                "-N",
                &inodes,
                "-E",
                "lazy_itable_init=0,lazy_journal_init=0",
            ],
            &image,
        )?;
        let dir = self.base.join("mounted");
        fs::create_dir_all(&dir)?;
        let done = Command::new("mount")
            .args(["-o", "loop"])
            .args([&image, &dir])
            .stderr(Stdio::null())
            .status()?;
        if !done.success() {
            return Err(io::Error::other("mount -o loop failed"));
        }
        self.mounted = Some(dir.clone());
        Ok(dir)
    }
}

fn run(program: &str, words: &[&str], path: &Path) -> io::Result<()> {
    let done = Command::new(program)
        .args(words)
        .arg(path)
        .stdout(Stdio::null())
        .status()?;
    match done.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("{program} failed"))),
    }
}

impl Drop for Grounds {
    fn drop(&mut self) {
        if let Some(dir) = &self.mounted {
            let _ = Command::new("umount").arg("-l").arg(dir).status();
        }
        crate::progress("removing the directories");
        let _ = fs::remove_dir_all(&self.base);
    }
}

/// The type of the file system with the options that matter for durability, from the mount table.
fn kind_of(dir: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let entry = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?, words.next()?, words.next()?))
        })
        .filter(|(_, point, _, _)| dir.starts_with(point))
        .max_by_key(|(_, point, _, _)| point.len());
    let Some((device, _, kind, options)) = entry else {
        return "unknown".to_owned();
    };
    let name = device.rsplit('/').next().unwrap_or(device);
    let name = if name == "root" {
        root_device()
    } else {
        name.to_owned()
    };
    let journal = match fs::read_to_string(format!("/sys/fs/ext4/{name}/journal_task")) {
        Ok(task) if task.trim() == "<none>" => ", no journal",
        Ok(_) => ", journaled",
        Err(_) => "",
    };
    format!("{kind}{journal} ({device}, {options})")
}

/// The device that `/dev/root` stands for.
fn root_device() -> String {
    fs::read_dir("/sys/fs/ext4")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .find(|name| name != "features")
        .unwrap_or_default()
}
