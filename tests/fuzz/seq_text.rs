//! The file `seq`, compiled into the fuzz targets from its source, over a file that is two strings.

#[path = "../../src/spool/seq.rs"]
mod seq;

use pirn::core::config::ids::IdForm;
use std::cell::RefCell;
use std::io;

/// The new text of `seq`.
pub struct NewSeq {
    pub synced: Option<String>,
    pub text: String,
}

/// The one operation that `seq.rs` needs.
pub trait Fs {
    fn edit_seq(&self, edit: &mut dyn FnMut(&str) -> io::Result<NewSeq>) -> io::Result<()>;
}

/// The type that `seq.rs` imports from its parent.
pub struct Spool<F> {
    fs: F,
    durable: bool,
}

/// The content of the file, and the part of it that a power cut leaves.
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
    /// The form of the numbers.
    fn id_form(&self) -> IdForm {
        IdForm::Number
    }

    /// The highest number that a file has: there are no files.
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
    /// Takes `count` numbers; gives the first, if there are so many.
    pub fn take(&self, count: u64, boot: &str) -> Option<u64> {
        self.take_numbers(1, count, boot)
            .ok()
            .map(|numbers| numbers.first)
    }

    /// A clean shutdown.
    pub fn settle(&self, boot: &str) {
        let _ = self.settle_numbers(boot);
    }

    /// Makes the next sync fail.
    pub fn fail_next_sync(&self) {
        self.fs.borrow_mut().broken = true;
    }

    /// Cuts the power.
    pub fn cut(&self) {
        let mut file = self.fs.borrow_mut();
        file.text = file.on_disk.clone();
    }
}
