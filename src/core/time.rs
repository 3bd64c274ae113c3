//! Times of the two clocks. Deadlines are on the clock that never jumps, dates on the one that a user may set.

use super::quote::quoted;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use std::time::Duration;

/// Nanoseconds on CLOCK_BOOTTIME, for deadlines. It never jumps, and goes on while the machine is suspended
/// (clock_getres(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Boot(pub u64);

/// Nanoseconds since the epoch on CLOCK_REALTIME, for dates that people write and read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub i64);

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For deadlines.
    pub boot: Boot,
    /// For dates.
    pub wall: Wall,
}

impl Boot {
    /// This instant plus `span`, at most the end of time.
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }

    /// The time since `earlier`; zero if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Wall {
    /// This instant plus `span`, at most the end of time.
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add_unsigned(nanos(span)))
    }

    /// The time since `earlier`; zero if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads an RFC 3339 date and time with an offset or `Z`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let stamp: Timestamp = text.parse().map_err(|_| {
            format!(
                "expected a time such as 2026-11-21T16:00:00Z (RFC 3339), got {}",
                quoted(text)
            )
        })?;
        let nanos = stamp.as_nanosecond().min(i128::from(i64::MAX));
        i64::try_from(nanos)
            .map(Self)
            .map_err(|_| format!("{} is out of range", quoted(text)))
    }

    /// The time of day, or the day if that is not today, in a zone that is so many seconds ahead of UTC: `16:00:00`,
    /// `Nov 21`, `2025-11-21`.
    pub fn brief(self, zone: i32, now: Self) -> String {
        let local = |wall: Self| {
            let ahead = i128::from(zone) * 1_000_000_000;
            Timestamp::from_nanosecond(i128::from(wall.0) + ahead).unwrap_or_default()
        };
        let (own, now) = (local(self), local(now));
        let is_same = |unit: &str| own.strftime(unit).to_string() == now.strftime(unit).to_string();
        let form = match (is_same("%F"), is_same("%Y")) {
            (true, _) => "%T",
            (false, true) => "%b %d",
            (false, false) => "%F",
        };
        own.strftime(form).to_string()
    }

    /// The date as HTTP writes it (RFC 9110 section 5.6.7): `Sat, 21 Nov 2026 16:00:00 GMT`.
    pub fn http_date(self) -> String {
        let stamp = Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or_default();
        stamp.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }
}

/// The first whole millisecond of the range. No earlier time is printed, so that [`Wall::parse`] reads all that is.
const FIRST: i64 = i64::MIN / 1_000_000 * 1_000_000;

/// RFC 3339 in UTC with milliseconds: `2026-11-21T16:00:00.000Z`.
impl std::fmt::Display for Wall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Timestamp::from_nanosecond(i128::from(self.0.max(FIRST))) {
            Ok(stamp) => write!(f, "{stamp:.3}"),
            Err(_) => f.write_str("9999-12-31T23:59:59.000Z"),
        }
    }
}

impl Serialize for Wall {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn wall_prints_what_it_reads() {
        let wall = Wall::parse("2026-11-21T18:00:00.25+02:00").unwrap();
        assert_eq!(wall.to_string(), "2026-11-21T16:00:00.250Z");
        assert_eq!(Wall::parse(&wall.to_string()).unwrap(), wall);
        assert!(Wall::parse("tomorrow").unwrap_err().contains("tomorrow"));
        assert_eq!(Wall(i64::MAX).to_string().len(), 24);
    }

    #[test]
    fn the_day_is_named_if_it_is_not_today() {
        let now = Wall::parse("2026-11-21T23:30:00Z").unwrap();
        for (text, zone, brief) in [
            ("2026-11-21T22:59:59.9Z", 0, "22:59:59"),
            ("2026-11-21T22:59:59.9Z", 3600, "Nov 21"),
            ("2026-11-21T23:00:00Z", 3600, "00:00:00"),
            ("2026-01-02T00:00:00Z", 0, "Jan 02"),
            ("2025-11-21T23:00:00Z", 0, "2025-11-21"),
        ] {
            assert_eq!(Wall::parse(text).unwrap().brief(zone, now), brief, "{text}");
        }
    }

    #[test]
    fn the_first_instant_is_read_as_printed() {
        for wall in [Wall(i64::MIN), Wall(FIRST - 1), Wall(FIRST)] {
            assert_eq!(Wall::parse(&wall.to_string()), Ok(Wall(FIRST)));
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Boot(5).since(Boot(9)), Duration::ZERO);
        assert_eq!(
            Boot(u64::MAX - 1).after(Duration::from_secs(1)),
            Boot(u64::MAX)
        );
        assert_eq!(Wall(i64::MAX).after(Duration::from_secs(1)), Wall(i64::MAX));
        assert_eq!(Wall(-5).since(Wall(5)), Duration::ZERO);
    }
}
