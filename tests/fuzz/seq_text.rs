//! The file `seq`, compiled into the fuzz targets from its source, over a file that is two strings.

#[path = "../../src/spool/seq.rs"]
mod seq;

use std::cell::RefCell;
use std::io;

/// The one operation that `seq.rs` needs.
pub trait Fs {
    fn edit_seq(&self, edit: &mut dyn FnMut(&str) -> (String, bool)) -> io::Result<()>;
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
}

impl Fs for RefCell<File> {
    fn edit_seq(&self, edit: &mut dyn FnMut(&str) -> (String, bool)) -> io::Result<()> {
        let mut file = self.borrow_mut();
        let (text, sync) = edit(&file.text);
        if sync {
            file.on_disk.clone_from(&text);
        }
        file.text = text;
        Ok(())
    }
}

/// A spool with this `seq`.
pub fn spool(text: &str) -> Spool<RefCell<File>> {
    let file = File {
        text: text.to_owned(),
        on_disk: text.to_owned(),
    };
    Spool {
        fs: RefCell::new(file),
        durable: true,
    }
}

impl Spool<RefCell<File>> {
    /// `count` numbers; gives the first.
    pub fn take(&self, count: u64, boot: &str) -> u64 {
        self.take_numbers(count, boot).unwrap()
    }

    /// A clean shutdown.
    pub fn settle(&self, boot: &str) {
        self.settle_numbers(boot).unwrap();
    }

    /// The machine goes down.
    pub fn cut(&self) {
        let mut file = self.fs.borrow_mut();
        file.text = file.on_disk.clone();
    }
}
