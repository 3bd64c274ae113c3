//! The form of the ids that jobs get.

use crate::core::json::{JsonError, Object, string};
use crate::core::time::Wall;
use std::cmp::Ordering;

/// The form of the ids that jobs get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IdForm {
    /// 1, 2, 3 ...
    #[default]
    Number,
    /// As in hq: milliseconds, the number of the machine, and a sequence within the millisecond, in 64 bits. Such ids
    /// are unique over all machines with different numbers.
    Time {
        /// The number of the machine, at most [`MAX_SERVER`].
        server: u16,
    },
}

/// The highest number of a machine.
pub const MAX_SERVER: u16 = 1023;

const SERVER_BITS: u32 = 10;
const SEQUENCE_BITS: u32 = 12;

/// 2019-01-01T00:00:00Z in milliseconds since 1970, from which hq counts.
const EPOCH: u64 = 1_546_300_800_000;

const FIELDS: [&str; 2] = ["form", "server"];

impl IdForm {
    /// The first number of this form that is not below `least`, nor before `now`.
    pub fn first(self, least: u64, now: Wall) -> u64 {
        match self {
            Self::Number => least,
            Self::Time { server } => {
                let ms = u64::try_from(now.0 / 1_000_000).unwrap_or(0);
                let tick = ms.saturating_sub(EPOCH) << SEQUENCE_BITS;
                at_tick(tick.max(tick_of(least, server)), server)
            }
        }
    }

    /// The number of this form that is `n` places behind `number`.
    pub fn later(self, number: u64, n: u64) -> u64 {
        match self {
            Self::Number => number.saturating_add(n),
            Self::Time { server } => at_tick(tick_of(number, server).saturating_add(n), server),
        }
    }

    /// How many numbers are reserved with one sync: those of ten seconds, if they go with the time.
    pub fn block(self) -> u64 {
        match self {
            Self::Number => 100,
            Self::Time { .. } => 10_000 << SEQUENCE_BITS,
        }
    }
}

/// The number that a machine gives at a tick: milliseconds, and behind them the sequence. Saturates.
fn at_tick(tick: u64, server: u16) -> u64 {
    let ms = tick >> SEQUENCE_BITS;
    let sequence = tick & ((1 << SEQUENCE_BITS) - 1);
    let rest = u64::from(server) << SEQUENCE_BITS | sequence;
    ms.saturating_mul(1 << (SERVER_BITS + SEQUENCE_BITS))
        .saturating_add(rest)
}

/// The first tick at which a machine gives no number below this one.
fn tick_of(number: u64, server: u16) -> u64 {
    let ms = number >> (SERVER_BITS + SEQUENCE_BITS);
    let by = number >> SEQUENCE_BITS & u64::from(MAX_SERVER);
    let sequence = number & ((1 << SEQUENCE_BITS) - 1);
    match by.cmp(&u64::from(server)) {
        Ordering::Less => ms << SEQUENCE_BITS,
        Ordering::Equal => ms << SEQUENCE_BITS | sequence,
        Ordering::Greater => (ms + 1) << SEQUENCE_BITS,
    }
}

/// Reads `{"form": "time", "server": 7}`.
pub(super) fn read(o: &Object<'_>) -> Result<IdForm, JsonError> {
    let (mut is_time, mut server) = (false, None);
    for field in o.fields() {
        match field.key {
            "form" => match field.read(string)?.as_str() {
                "number" => is_time = false,
                "time" => is_time = true,
                other => {
                    let what = format!("expected \"number\" or \"time\", got {other:?}");
                    return Err(field.error(what));
                }
            },
            "server" => server = Some(field.integer(0..=i64::from(MAX_SERVER))?),
            _ => return Err(field.unknown(&FIELDS)),
        }
    }
    match (is_time, server) {
        (false, _) => Ok(IdForm::Number),
        (true, Some(server)) => Ok(IdForm::Time { server }),
        (true, None) => Err(o.missing(
            "server",
            "a number from 0 to 1023 that no other machine has",
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TIME: IdForm = IdForm::Time { server: 5 };

    /// So many milliseconds after the epoch, and a half.
    fn after(ms: i64) -> Wall {
        Wall((1_546_300_800_000 + ms) * 1_000_000 + 500_000)
    }

    #[test]
    fn a_number_has_time_server_and_sequence() {
        let id = TIME.first(1, after(1000));
        assert_eq!(id, 1000 << 22 | 5 << 12);
        assert_eq!(TIME.later(id, 1), id + 1);
        assert_eq!(TIME.later(id, 4095), id + 4095);
        assert_eq!(TIME.later(id, 4096), 1001 << 22 | 5 << 12);
        assert_eq!(TIME.later(id, 2 * 4096 + 7), 1002 << 22 | 5 << 12 | 7);
    }

    #[test]
    fn none_is_below_the_least() {
        for (least, first) in [
            (2000 << 22 | 5 << 12 | 9, 2000 << 22 | 5 << 12 | 9),
            (2000 << 22 | 4 << 12 | 9, 2000 << 22 | 5 << 12),
            (2000 << 22 | 6 << 12 | 9, 2001 << 22 | 5 << 12),
            (57, 1000 << 22 | 5 << 12),
        ] {
            assert_eq!(TIME.first(least, after(1000)), first, "{least}");
        }
        // Before the epoch there are no milliseconds.
        assert_eq!(TIME.first(1, Wall(0)), 5 << 12);
        assert_eq!(IdForm::Number.first(57, after(1000)), 57);
        assert_eq!(IdForm::Number.later(57, 3), 60);
    }

    #[test]
    fn the_end_of_the_numbers_is_no_overflow() {
        assert!(TIME.later(u64::MAX, u64::MAX) > 1 << 63);
        assert!(TIME.first(1, Wall(i64::MAX)) > 1 << 63);
    }

    #[test]
    fn settings() {
        let parse = |text| read(&Object::parse(text).unwrap());
        assert_eq!(parse("{}"), Ok(IdForm::Number));
        assert_eq!(
            parse("{\"form\": \"time\", \"server\": 1023}"),
            Ok(IdForm::Time { server: 1023 })
        );
        for (text, part) in [
            ("{\"form\": \"time\"}", "server"),
            ("{\"form\": \"uuid\"}", "expected \"number\" or \"time\""),
            ("{\"form\": \"time\", \"server\": 1024}", "from 0 to 1023"),
            ("{\"from\": \"time\"}", "did you mean \"form\"?"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
