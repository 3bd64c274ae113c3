//! The server's clock: signatures are refused if ours differs by more than 5 minutes.

use crate::core::time::Wall;
use crate::os::clock;
use jiff::fmt::rfc2822::DateTimeParser;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// A difference that is not yet corrected.
const BEARABLE: Duration = Duration::from_secs(240);

/// Our clock, set right by the dates of answers.
#[derive(Debug, Default)]
pub struct ServerClock {
    /// By how many nanoseconds the server's clock is ahead.
    ahead: AtomicI64,
}

impl ServerClock {
    /// The time there.
    pub fn now(&self) -> Wall {
        let ahead = self.ahead.load(Ordering::Relaxed);
        Wall(clock::wall().0.saturating_add(ahead))
    }

    /// Learns the time from the header `date` of an answer that came just now. True if [`ServerClock::now`] was wrong by
    /// more than 4 minutes.
    pub fn learn(&self, date: &str) -> bool {
        let Ok(there) = DateTimeParser::new().parse_timestamp(date) else {
            return false;
        };
        let there = i64::try_from(there.as_nanosecond()).unwrap_or(i64::MAX);
        if Duration::from_nanos(self.now().0.abs_diff(there)) <= BEARABLE {
            return false;
        }
        let ahead = there.saturating_sub(clock::wall().0);
        self.ahead.store(ahead, Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_is_set_right_once() {
        let clock = ServerClock::default();
        let later = clock::wall().after(Duration::from_secs(600)).http_date();
        assert!(!clock.learn(&clock::wall().http_date()));
        assert!(!clock.learn("tomorrow"));
        assert!(clock.learn(&later));
        let ahead = clock.now().since(clock::wall()).as_secs();
        assert!((598..=600).contains(&ahead), "{ahead}");
        assert!(!clock.learn(&later));
    }
}
