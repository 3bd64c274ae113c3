//! Points in time as people write them.

use crate::core::time::Wall;
use crate::core::units::parse_span;
use crate::os::clock;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

/// `16:00` (the next one), `2026-11-21`, `2026-11-21 16:00`, RFC 3339 with offset, `@1795190400`. Local time
/// unless an offset is given.
pub fn parse(text: &str) -> Result<Wall, String> {
    let text = text.trim();
    let bad = || {
        format!(
            "expected a time such as 16:00, \"2026-11-21 16:00\", 2026-11-21T16:00:00Z or @1795190400, got {text:?}"
        )
    };
    if let Some(seconds) = text.strip_prefix('@') {
        let stamp = seconds
            .parse::<i64>()
            .ok()
            .and_then(|s| Timestamp::from_second(s).ok())
            .ok_or_else(bad)?;
        return wall(stamp).ok_or_else(bad);
    }
    if let Ok(wall) = Wall::parse(text) {
        return Ok(wall);
    }
    let zone = TimeZone::system();
    if let Ok(time) = text.parse::<Time>() {
        let now = Zoned::now();
        let today = now
            .date()
            .to_datetime(time)
            .to_zoned(zone.clone())
            .map_err(|_| bad())?;
        let next = if today > now {
            Ok(today)
        } else {
            today.checked_add(1.day())
        };
        return next
            .ok()
            .and_then(|zoned| wall(zoned.timestamp()))
            .ok_or_else(bad);
    }
    let datetime: DateTime = text.parse().map_err(|_| bad())?;
    datetime
        .to_zoned(zone)
        .ok()
        .and_then(|zoned| wall(zoned.timestamp()))
        .ok_or_else(bad)
}

/// As [`parse`], or a duration from now.
pub fn parse_or_within(text: &str) -> Result<Wall, String> {
    match parse_span(text) {
        Ok(span) => Ok(clock::wall().after(span)),
        Err(_) => parse(text),
    }
}

fn wall(stamp: Timestamp) -> Option<Wall> {
    i64::try_from(stamp.as_nanosecond()).ok().map(Wall)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn forms() {
        assert_eq!(parse("@1").unwrap(), Wall(1_000_000_000));
        assert_eq!(parse("1970-01-01T00:00:02Z").unwrap(), Wall(2_000_000_000));
        let next = parse("16:00").unwrap();
        let ahead = next.since(clock::wall());
        assert!(ahead > Duration::ZERO && ahead <= Duration::from_secs(25 * 3600));
        assert!(parse("2026-11-21 16:00").is_ok());
        for bad in ["soon", "", "@x", "25:00", "2026-13-01"] {
            assert!(parse(bad).unwrap_err().contains("expected a time"), "{bad}");
        }
        assert!(parse_or_within("1h").unwrap().since(clock::wall()) > Duration::from_secs(3500));
    }
}
