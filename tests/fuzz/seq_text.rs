//! The file `seq`, compiled into the fuzz targets from its source, over a file that is two strings.

#[path = "../../src/spool/seq.rs"]
mod seq;

use std::cell::RefCell;
use std::io;

/// What is to become of the text of `seq`.
pub struct NewSeq {
    pub synced: Option<String>,
    pub text: String,
}

/// The one operation that `seq.rs` needs.
pub trait Fs {
    fn edit_seq(&self, edit: &mut dyn FnMut(&str) -> io::Result<NewSeq>) -> io::Result<()>;
}

/// What `seq.rs` looks for above itself.
pub struct Spool<F> {
    fs: F,
    durable: bool,
}

/// What is in the file, and what of it a power cut leaves.
#[derive(Clone)]
pub struct File {
    pub text: String,
    pub on_disk: String,
    /// The next sync fails.
    pub broken: bool,
}

impl Fs for RefCell<File> {
    fn edit_seq(&self, edit: &mut dyn FnMut(&str) -> io::Result<NewSeq>) -> io::Result<()> {
        let mut file = self.borrow_mut();
        let new = edit(&file.text)?;
        if let Some(text) = new.synced {
            file.text.clone_from(&text);
            if std::mem::take(&mut file.broken) {
                return Err(io::Error::other("not synced"));
            }
            file.on_disk = text;
        }
        file.text = new.text;
        Ok(())
    }
}

impl<F> Spool<F> {
    /// The same for numbers that files have: there are none.
    fn highest_number(&self) -> io::Result<u64> {
        Ok(0)
    }
}

/// A spool with this `seq`.
pub fn spool(text: &str) -> Spool<RefCell<File>> {
    let file = File {
        text: text.to_owned(),
        on_disk: text.to_owned(),
        broken: false,
    };
    Spool {
        fs: RefCell::new(file),
        durable: true,
    }
}

impl Spool<RefCell<File>> {
    /// `count` numbers; gives the first, if there are so many.
    pub fn take(&self, count: u64, boot: &str) -> Option<u64> {
        self.take_numbers(1, count, boot).ok()
    }

    /// A clean shutdown.
    pub fn settle(&self, boot: &str) {
        let _ = self.settle_numbers(boot);
    }

    /// The disk is about to fail.
    pub fn fail_next_sync(&self) {
        self.fs.borrow_mut().broken = true;
    }

    /// The machine goes down.
    pub fn cut(&self) {
        let mut file = self.fs.borrow_mut();
        file.text = file.on_disk.clone();
    }
}
