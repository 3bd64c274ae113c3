//! The simulated file system as the spool sees it. It records its state at every step, also within a write, so that one
//! run of a life gives all moments at which the power could have failed.

use super::disk::{Disk, Entry, Ino, Node};
use super::ledger::Ledger;
use super::world::{PRIVATE, World};
use pirn::core::id::QueueName;
use pirn::os::dir::{FileType, How, Look};
use pirn::os::lease::Writers;
use pirn::os::ownership::Ownership;
use pirn::spool::{Ask, Fs, NewFile, NewSeq, Place, Taken};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Clone)]
pub struct SimFs(Arc<Mutex<World>>);

impl fmt::Debug for SimFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimFs")
    }
}

impl SimFs {
    pub fn over(disk: Disk) -> Self {
        Self(Arc::new(Mutex::new(World {
            disk,
            ..World::default()
        })))
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `deed` happen just before the operation that is `steps` from now.
    pub fn interject(&self, steps: usize, deed: impl FnOnce(&Self) + Send + 'static) {
        let mut world = self.world();
        let at = world.steps + steps;
        world.deed = Some((at, Box::new(deed)));
    }

    /// Forgets a deed whose time did not come. True if there was one.
    pub fn no_deed(&self) -> bool {
        self.world().deed.take().is_some()
    }

    /// Changes the knowledge outside of the spool.
    pub fn learn(&self, change: impl FnOnce(&mut Ledger)) {
        let mut world = self.world();
        let before = world.ledger.clone();
        change(&mut world.ledger);
        if world.ledger != before {
            world.picture();
        }
    }

    pub fn during(&self, what: &str) {
        let mut world = self.world();
        world.during = what.to_owned();
        world.story.push(format!("-- {what}"));
    }

    /// One operation: a user who interferes does so before it.
    fn step<T>(
        &self,
        story: impl FnOnce() -> String,
        work: impl FnOnce(&mut World) -> io::Result<T>,
    ) -> io::Result<T> {
        let deed = {
            let mut world = self.world();
            world.steps += 1;
            let now = world.steps;
            world.deed.take_if(|(at, _)| *at <= now)
        };
        if let Some((_, deed)) = deed {
            let during = self.world().during.clone();
            deed(self);
            self.world().during = during;
        }
        let mut world = self.world();
        let done = work(&mut world);
        let mut line = story();
        if let Err(e) = &done {
            line = format!("{line}: {}", e.kind());
        }
        world.story.push(line);
        if done.is_ok() {
            world.picture();
        }
        done
    }
}

fn entry(place: &Place, name: &[u8]) -> Entry {
    (place.clone(), name.to_vec())
}

fn show(place: &Place, name: &[u8]) -> String {
    format!(
        "{}/{}",
        place.relative().display(),
        String::from_utf8_lossy(name)
    )
}

impl Fs for SimFs {
    fn write(&self, place: &Place, file: &NewFile<'_>, durable: bool) -> io::Result<()> {
        let NewFile { name, bytes, .. } = *file;
        let shown = show(place, name);
        let ino = self.step(
            || format!("create {shown}"),
            |world| {
                if world.get(place, name)?.is_some() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                let ino = world.disk.file(b"");
                if let Some(ownership) = file.ownership {
                    world.owned.insert(ino, ownership.masked(0o666));
                }
                world.disk.change(vec![(entry(place, name), Some(ino))]);
                Ok(ino)
            },
        )?;
        for (end, how) in [(bytes.len() / 2, "half of "), (bytes.len(), "")] {
            self.step(
                || format!("write {how}{shown}"),
                |world| {
                    world.disk.write(ino, &bytes[..end]);
                    Ok(())
                },
            )?;
        }
        if durable {
            self.step(
                || format!("fdatasync {shown}"),
                |world| {
                    if world.may_sync(&format!("fdatasync {}", place.relative().display())) {
                        world.disk.sync_data(ino);
                    }
                    Ok(())
                },
            )?;
        }
        Ok(())
    }

    fn give(
        &self,
        place: &Place,
        name: &[u8],
        ownership: Ownership,
        before: Option<Ownership>,
    ) -> io::Result<()> {
        let mut world = self.world();
        let ino = world.get(place, name)?.ok_or(io::ErrorKind::NotFound)?;
        let now = world.owned.get(&ino).copied().zip(before);
        let wanted = now.map_or(ownership, |(now, before)| ownership.over(now, before));
        world.owned.insert(ino, wanted.masked(0o666));
        Ok(())
    }

    fn rename(
        &self,
        from: &Place,
        name: &[u8],
        to: &Place,
        new_name: &[u8],
        how: How,
    ) -> io::Result<()> {
        let story = || format!("rename {} {} {how:?}", show(from, name), show(to, new_name));
        self.step(story, |world| {
            let source = world.get(from, name)?;
            let target = world.get(to, new_name)?;
            let source = source.ok_or(io::ErrorKind::NotFound)?;
            let (left, right) = (entry(from, name), entry(to, new_name));
            if how == How::Replace && (*from != Place::Tmp || world.during == "submit") {
                world.let_go(&right);
            }
            let is_dir = |ino: &Ino| matches!(world.disk.nodes[ino], Node::Dir);
            let changes = match (how, target) {
                (How::NoReplace, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
                (How::Exchange, None) => return Err(io::ErrorKind::NotFound.into()),
                (How::Exchange, Some(target)) => vec![(left, Some(target)), (right, Some(source))],
                (How::Replace, Some(target)) if is_dir(&target) => {
                    return Err(io::ErrorKind::IsADirectory.into());
                }
                (How::Replace | How::NoReplace, _) => vec![(left, None), (right, Some(source))],
            };
            world.disk.change(changes);
            Ok(())
        })
    }

    fn unlink(&self, place: &Place, name: &[u8]) -> io::Result<bool> {
        if self.world().get(place, name)?.is_none() {
            return Ok(false);
        }
        self.step(
            || format!("unlink {}", show(place, name)),
            |world| {
                let was_there = world.get(place, name)?.is_some();
                if *place == Place::Held || world.during == "submit" {
                    // The file was removed or replaced on purpose.
                    world.let_go(&entry(place, name));
                }
                if was_there {
                    world.disk.change(vec![(entry(place, name), None)]);
                }
                Ok(was_there)
            },
        )
    }

    /// Only queues are directories here; no scratch directory is ever made.
    fn remove_tree(&self, place: &Place, name: &[u8]) -> io::Result<()> {
        self.unlink(place, name).map(drop)
    }

    fn sync(&self, place: &Place) -> io::Result<()> {
        let name = place.queue().filter(|queue| !queue.is_default());
        let shown = name.map_or_else(
            || place.relative().display().to_string(),
            |_| "a queue".to_owned(),
        );
        self.step(
            || format!("fsync {}", place.relative().display()),
            |world| {
                world.dir(place)?;
                if world.may_sync(&format!("fsync {shown}")) {
                    world.disk.sync(place);
                }
                Ok(())
            },
        )
    }

    fn look(&self, place: &Place, name: &[u8]) -> io::Result<Option<Look>> {
        let world = self.world();
        if *place == Place::Root && name == b"pending" {
            let is_queue = |ino: &&Ino| matches!(world.disk.nodes[ino], Node::Dir);
            let queues = world.disk.live.values().filter(is_queue).count();
            return Ok(Some(Look {
                kind: FileType::Directory,
                inode: 1,
                modified: 0,
                size: 0,
                links: 2 + queues as u64,
                ownership: PRIVATE,
            }));
        }
        Ok(world.get(place, name)?.map(|ino| world.look(ino)))
    }

    fn take(&self, place: &Place, name: &[u8], limit: u64, _: Ask) -> io::Result<Taken> {
        let world = self.world();
        let Some(ino) = world.get(place, name)? else {
            return Ok(Taken::Missing);
        };
        let look = world.look(ino);
        Ok(match &world.disk.nodes[&ino] {
            Node::Dir => Taken::Strange(look),
            Node::File { bytes, .. } if bytes.len() as u64 > limit => Taken::TooLarge(look),
            Node::File { bytes, .. } => Taken::File {
                look,
                writers: Writers::None,
                bytes: bytes.to_vec(),
            },
        })
    }

    fn names(&self, place: &Place, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let names: Vec<Vec<u8>> = {
            let world = self.world();
            world.dir(place)?;
            let here = world.disk.live.keys().filter(|(at, _)| at == place);
            here.map(|(_, name)| name.clone()).collect()
        };
        names.iter().for_each(|name| each(name));
        Ok(())
    }

    fn make_queue(&self, queue: &QueueName) -> io::Result<bool> {
        let name = queue.as_str().as_bytes();
        if self.world().get(&Place::Pending, name)?.is_some() {
            return Ok(false);
        }
        self.step(
            || format!("mkdir pending/{queue}"),
            |world| {
                let ino = world.disk.dir();
                world
                    .disk
                    .change(vec![(entry(&Place::Pending, name), Some(ino))]);
                Ok(true)
            },
        )
    }

    fn remove_queue(&self, queue: &QueueName) -> io::Result<()> {
        let place = Place::Queue(queue.clone());
        if self.world().disk.live.keys().any(|(at, _)| *at == place) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.unlink(&Place::Pending, queue.as_str().as_bytes())
            .map(drop)
    }

    fn renew(&self, place: &Place) -> io::Result<()> {
        match place {
            Place::Queue(queue) => self.make_queue(queue).map(drop),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The sync makes the file's own name durable too, as the trait demands.
    fn edit_seq(&self, edit: &mut dyn FnMut(&str) -> io::Result<NewSeq>) -> io::Result<()> {
        let text = self.world().disk.seq().to_owned();
        let new = edit(&text)?;
        let store = |text: &str| {
            self.step(
                || format!("write seq: {}", text.trim_end()),
                |world| {
                    world.disk.set_seq(text.to_owned());
                    Ok(())
                },
            )
        };
        if let Some(text) = &new.synced {
            store(text)?;
            self.step(
                || "fdatasync seq".to_owned(),
                |world| {
                    if world.may_sync("fdatasync seq") {
                        world.disk.sync_seq();
                    }
                    Ok(())
                },
            )?;
        }
        store(&new.text)
    }
}
