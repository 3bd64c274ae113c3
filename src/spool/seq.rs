//! Job numbers: 1, 2, 3 ..., none of them twice.
//!
//! `seq` holds the next number, and behind it what makes that safe without a sync for each job: a bound that is
//! on the disk, and the boot during which the number itself can be believed. After a crash of the machine the
//! count goes on from the bound.

use super::{Fs, Spool};
use std::io;

/// How many numbers are reserved at a time: as many may be skipped after a power cut.
const BLOCK: u64 = 100;

impl<F: Fs> Spool<F> {
    /// Takes `count` consecutive numbers and gives the first.
    pub(super) fn take_numbers(&self, count: u64, boot: &str) -> io::Result<u64> {
        let mut first = 1;
        self.fs.edit_seq(&mut |text| {
            let (next, bound) = read(text, boot);
            first = next;
            let next = next + count;
            if next <= bound {
                (format!("{next} {bound} {boot}\n"), false)
            } else {
                (format!("{next} {} {boot}\n", next + BLOCK), self.durable)
            }
        })?;
        Ok(first)
    }

    /// Makes the next number durable, so that no numbers are skipped after a clean shutdown.
    pub fn settle_numbers(&self, boot: &str) -> io::Result<()> {
        self.fs.edit_seq(&mut |text| {
            let (next, _) = read(text, boot);
            (format!("{next} {next} {boot}\n"), self.durable)
        })
    }
}

/// The next number and the durable bound. A file that somebody edited to a plain number is taken at its word.
fn read(text: &str, boot: &str) -> (u64, u64) {
    let mut words = text.split_ascii_whitespace();
    let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
    let next = number().unwrap_or(1).max(1);
    let bound = number().unwrap_or(next);
    if words.next() == Some(boot) {
        (next, bound)
    } else {
        (next.max(bound), bound)
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn the_bound_counts_after_another_boot() {
        assert_eq!(read("", "b"), (1, 1));
        assert_eq!(read("7 100 b", "b"), (7, 100));
        assert_eq!(read("7 100 a", "b"), (100, 100));
        assert_eq!(read("42", "b"), (42, 42));
        assert_eq!(read("junk", "b"), (1, 1));
    }
}
