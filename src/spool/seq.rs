//! Job numbers: 1, 2, 3 ..., each given once.
//!
//! `seq` holds the next number, a bound, and a boot id. The bound is on the disk: after a crash of the machine the
//! count goes on from it. The next number is not synced, and counts only during the boot that is named. The boot id
//! is written after the bound was synced: after a failed sync, or a kill during one, the bound is not trusted but
//! synced again.
//!
//! If `seq` holds another text, or was removed, the count goes on after the highest number that any file in the spool
//! has.
//!
//! Numbers that go with the time ([`IdForm::Time`]) are kept in the same way: the next one is never below that in `seq`,
//! so that a clock that is set back gives no number twice.

use super::{Fs, NewSeq, Spool};
use crate::core::config::ids::IdForm;
use crate::os::clock;
use std::io;

/// The highest number that is given.
pub(super) const MOST: u64 = 1 << 63;

/// The word in place of the boot id while the bound may not be on the disk.
const UNSYNCED: &str = "-";

/// Consecutive numbers of a form.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    /// The lowest.
    pub first: u64,
    form: IdForm,
}

impl Numbers {
    /// The number that is `n` places behind the first.
    pub fn nth(self, n: u64) -> u64 {
        self.form.later(self.first, n)
    }
}

impl<F: Fs> Spool<F> {
    /// Takes `count` consecutive numbers, none below `least`.
    pub(super) fn take_numbers(&self, least: u64, count: u64, boot: &str) -> io::Result<Numbers> {
        let form = self.id_form();
        let mut first = 1;
        self.fs.edit_seq(&mut |text| {
            let (number, bound) = self.next_number(text, boot)?;
            first = form.first(number.max(least), clock::wall());
            let next = form.later(first, count);
            // A block is reserved with one sync; so many numbers may be skipped after a power cut.
            let new_bound = form.later(next, form.block());
            if new_bound > MOST {
                return Err(io::Error::other(
                    "seq: the job numbers are used up; write a lower one that is free into it",
                ));
            }
            Ok(if next <= bound || !self.durable {
                NewSeq {
                    synced: None,
                    text: format!("{next} {bound} {boot}\n"),
                }
            } else {
                NewSeq {
                    synced: Some(format!("{next} {new_bound} {UNSYNCED}\n")),
                    text: format!("{next} {new_bound} {boot}\n"),
                }
            })
        })?;
        Ok(Numbers { first, form })
    }

    /// Makes the next number durable, so that none is skipped after a clean shutdown.
    pub fn settle_numbers(&self, boot: &str) -> io::Result<()> {
        self.fs.edit_seq(&mut |text| {
            let (next, _) = self.next_number(text, boot)?;
            let text = format!("{next} {next} {boot}\n");
            Ok(NewSeq {
                synced: self.durable.then(|| text.clone()),
                text,
            })
        })
    }

    /// The next number and the durable bound.
    fn next_number(&self, text: &str, boot: &str) -> io::Result<(u64, u64)> {
        if let Some(read) = read(text, boot) {
            return Ok(read);
        }
        let next = self.highest_number()? + 1;
        if !text.is_empty() {
            log::warn!("seq does not hold a job number; going on with {next}");
        }
        Ok((next, next))
    }
}

/// The next number and the durable bound, if the text has them. Somebody may have edited the file to a plain number:
/// that is the next one.
fn read(text: &str, boot: &str) -> Option<(u64, u64)> {
    let number = |word: &str| word.parse::<u64>().ok().filter(|number| *number <= MOST);
    let mut words = text.split_ascii_whitespace();
    let next = number(words.next()?)?.max(1);
    let bound = words.next().map_or(Some(next), number)?;
    let next_at_most = next.max(bound);
    Some(match words.next() == Some(boot) {
        true => (next, bound),
        false => (next_at_most, next_at_most),
    })
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn the_bound_counts_after_another_boot() {
        assert_eq!(read("7 100 b", "b"), Some((7, 100)));
        assert_eq!(read("7 100 a", "b"), Some((100, 100)));
        assert_eq!(read("7 100 -", "b"), Some((100, 100)));
        assert_eq!(read("42", "b"), Some((42, 42)));
    }

    #[test]
    fn what_is_no_number_says_nothing() {
        for junk in [
            "",
            "junk",
            "7 junk",
            "-1",
            "18446744073709551615",
            "9223372036854775809 1 b",
            "1 9223372036854775809",
        ] {
            assert_eq!(read(junk, "b"), None, "{junk:?}");
        }
    }
}
