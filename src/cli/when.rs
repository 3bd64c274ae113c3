//! Points in time as people write them.

use super::timespec;
use crate::core::record::Record;
use crate::core::time::Wall;
use crate::core::units::{parse_span, rough_span};
use crate::core::waiting::WaitReason;
use crate::os::clock;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A duration with units, from now; RFC 3339 with offset; `@1795190400`; or the words of at(1), such as `16:00` (the
/// next one), `2026-11-21 16:00`, `tomorrow 4pm`. Local time unless an offset is given.
pub fn parse(text: &str) -> Result<Wall, String> {
    parse_at(text, clock::wall(), &TimeZone::system())
}

/// Prints an instant in local time as ls(1) does: `12:03:09` today, `Nov 28 12:03` this year, else `2027-01-02 12:03`.
pub fn brief(at: Wall, now: Wall) -> String {
    brief_in(at, now, &TimeZone::system())
}

/// The reason for which a job waits, with its date as people read it: in local time, and how far it is.
pub fn in_local_time(reason: WaitReason, record: &Record, now: Wall) -> WaitReason {
    let Some(date) = record.start_date(now) else {
        return reason;
    };
    let local = format!("{}, in {}", brief(date, now), rough_span(date.since(now)));
    let text = reason.text.replace(&date.to_string(), &local);
    WaitReason { text, ..reason }
}

fn brief_in(at: Wall, now: Wall, zone: &TimeZone) -> String {
    let local = |at: Wall| {
        let stamp = Timestamp::from_nanosecond(i128::from(at.0)).unwrap_or_default();
        zone.to_datetime(stamp)
    };
    let (at, now) = (local(at), local(now));
    let form = match (at.date() == now.date(), at.year() == now.year()) {
        (true, _) => "%H:%M:%S",
        (false, true) => "%b %e %H:%M",
        (false, false) => "%Y-%m-%d %H:%M",
    };
    at.strftime(form).to_string()
}

/// As [`parse`], with the clock and the zone passed in.
fn parse_at(text: &str, now: Wall, zone: &TimeZone) -> Result<Wall, String> {
    let text = text.trim();
    // A number alone could be meant as an hour.
    if text.parse::<f64>().is_err()
        && let Ok(span) = parse_span(text)
    {
        return Ok(now.after(span));
    }
    let stamp = instant(text, now, zone).ok_or_else(|| {
        format!(
            "expected a time such as 16:00, \"tomorrow 4pm\", \"2026-11-21 16:00\", 2026-11-21T16:00:00Z, 90m or \
             @1795190400, got {text:?}"
        )
    })?;
    i64::try_from(stamp.as_nanosecond())
        .map(Wall)
        .map_err(|_| format!("expected a time from 1678 to 2261, got {text:?}"))
}

fn instant(text: &str, now: Wall, zone: &TimeZone) -> Option<Timestamp> {
    if let Some(seconds) = text.strip_prefix('@') {
        return Timestamp::from_second(seconds.parse().ok()?).ok();
    }
    if let Ok(stamp) = text.parse() {
        return Some(stamp);
    }
    match text.split_once(['T', 't']) {
        Some((day, time)) if timespec::date(day).is_some() => {
            timespec::read(&format!("{day} {time}"), now, zone)
        }
        Some(_) | None => timespec::read(text, now, zone),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use jiff::civil::{Date, DateTime, Time, date};
    use jiff::{SignedDuration, ToSpan};
    use proptest::prelude::*;

    /// Zones by their rules, so that the test needs no zone files: an hour at 02:00, one at 23:00 before and at 00:00
    /// after which clocks change, half an hour in the other half of the world, and one without changes.
    const ZONES: [&str; 4] = [
        "EST5EDT,M3.2.0,M11.1.0",
        "<-02>2<-01>,M3.5.0/-1,M10.5.0/0",
        "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
        "UTC0",
    ];

    fn zone(name: &str) -> TimeZone {
        TimeZone::posix(name).unwrap()
    }

    /// Days on which one of the zones changes its clocks, and the days beside them.
    fn day() -> impl Strategy<Value = Date> {
        let changes = [
            date(2026, 3, 8),
            date(2026, 3, 28),
            date(2026, 4, 5),
            date(2026, 10, 4),
            date(2026, 10, 24),
            date(2026, 11, 1),
        ];
        let near = (prop::sample::select(changes.to_vec()), -1..=2_i64)
            .prop_map(|(day, n)| day + n.days());
        let any = (-100_000..80_000_i64).prop_map(|n| date(1970, 1, 1) + n.days());
        prop_oneof![near, any]
    }

    fn zoned() -> impl Strategy<Value = (TimeZone, DateTime)> {
        (prop::sample::select(ZONES.to_vec()), day(), 0..86_400_i64).prop_map(
            |(name, day, second)| {
                (
                    zone(name),
                    day.to_datetime(Time::midnight()) + second.seconds(),
                )
            },
        )
    }

    fn at(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
        let now = Wall(i64::try_from(now.as_nanosecond()).unwrap());
        parse_at(text, now, zone).map(|wall| Timestamp::from_nanosecond(wall.0.into()).unwrap())
    }

    proptest! {
        #[test]
        fn every_date_is_read_as_it_is_printed((zone, shown) in zoned()) {
            let stamp = zone.to_timestamp(shown).unwrap();
            let now = Timestamp::UNIX_EPOCH;
            let zoned = stamp.to_zoned_datetime(zone.clone());
            for form in ["%Y-%m-%dT%H:%M:%S%:z", "%Y-%m-%d %H:%M:%S%:z", "@%s"] {
                let text = zoned.strftime(form).to_string();
                prop_assert_eq!(at(&text, now, &zone).unwrap(), stamp, "{}", text);
            }
            prop_assert_eq!(at(&stamp.to_string(), now, &zone).unwrap(), stamp);
            // Without an offset it is what clocks show, which may not be what was asked for where they skip it.
            for form in ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", " %Y-%m-%d %H:%M:%S "] {
                let text = shown.strftime(form).to_string();
                prop_assert_eq!(at(&text, now, &zone).unwrap(), stamp, "{}", text);
            }
            let (day, minute) = (shown.date(), shown.with().second(0).build().unwrap());
            for (text, shown) in [
                (day.to_string(), day.to_datetime(Time::midnight())),
                (minute.strftime("%Y-%m-%d %H:%M").to_string(), minute),
            ] {
                let stamp = zone.to_timestamp(shown).unwrap();
                prop_assert_eq!(at(&text, now, &zone).unwrap(), stamp, "{}", text);
            }
        }

        #[test]
        fn a_time_is_the_next_that_clocks_show((zone, shown) in zoned(), minute in 0..1440_i64) {
            let now = zone.to_timestamp(shown).unwrap();
            let time = Time::midnight() + minute.minutes();
            let text = time.strftime("%H:%M").to_string();
            prop_assert_eq!(at(&text, now, &zone).unwrap(), search(time, now, &zone), "{}", text);
        }
    }

    /// The next instant at which clocks show a whole minute, found by looking at each, or the one at which they would
    /// show it if they did not skip it.
    fn search(time: Time, now: Timestamp, zone: &TimeZone) -> Timestamp {
        let minute = SignedDuration::from_mins(1);
        let mut before = now - SignedDuration::from_secs(now.as_second().rem_euclid(60));
        loop {
            let (shown, next) = (zone.to_datetime(before), zone.to_datetime(before + minute));
            let asked = match shown.time() < time {
                true => shown.date().to_datetime(time),
                false => shown.date().tomorrow().unwrap().to_datetime(time),
            };
            if next.time() == time {
                return before + minute;
            }
            if shown < asked && asked < next {
                return before + asked.duration_since(shown);
            }
            before += minute;
        }
    }

    #[test]
    fn clocks_that_change() {
        let zone = zone(ZONES[0]);
        let now: Timestamp = "2026-03-08T06:00:00Z".parse().unwrap();
        let read = |text, now| at(text, now, &zone).unwrap().to_string();
        // Skipped, past once the clocks have skipped it, then shown twice.
        assert_eq!(read("2026-03-08 02:30", now), "2026-03-08T07:30:00Z");
        assert_eq!(read("02:30", now), "2026-03-08T07:30:00Z");
        let skipped = "2026-03-08T07:00:00Z".parse().unwrap();
        assert_eq!(read("02:30", skipped), "2026-03-09T06:30:00Z");
        assert_eq!(read("2026-11-01 01:30", now), "2026-11-01T05:30:00Z");
        let between = "2026-11-01T05:40:00Z".parse().unwrap();
        assert_eq!(read("01:30", between), "2026-11-01T06:30:00Z");
        let after = "2026-11-01T06:40:00Z".parse().unwrap();
        assert_eq!(read("01:30", after), "2026-11-02T06:30:00Z");
    }

    #[test]
    fn the_first_time_after_a_skip() {
        let zone = zone(ZONES[2]);
        let now = "2026-10-02T16:00:00Z".parse().unwrap();
        let read = at("02:30", now, &zone).unwrap();
        assert_eq!(read.to_string(), "2026-10-03T15:30:00Z");
    }

    #[test]
    fn a_time_is_printed_as_briefly_as_today_allows() {
        let zone = zone("<+02>-2");
        let now = Wall::parse("2026-11-28T21:59:00Z").unwrap();
        for (at, text) in [
            ("2026-11-28T10:03:00Z", "12:03:00"),
            ("2026-11-27T21:59:59Z", "Nov 27 23:59"),
            ("2026-11-28T22:00:00Z", "Nov 29 00:00"),
            ("2026-03-01T00:00:00Z", "Mar  1 02:00"),
            ("2026-12-31T22:00:00Z", "2027-01-01 00:00"),
        ] {
            assert_eq!(brief_in(Wall::parse(at).unwrap(), now, &zone), text);
        }
    }

    #[test]
    fn what_is_no_time() {
        let now = Timestamp::UNIX_EPOCH;
        for bad in [
            "",
            "soon",
            "@x",
            "25:00",
            "2026-13-01",
            "2026-02-30 16:00",
            "2026-11-21 16:00 Europe/Berlin",
            "2026-11-21 16:00[America/New_York]",
            "16:00+02:00",
            "16:00[America/New_York]",
            "2026-11-21+02:00",
            "16",
            "1.5",
            "-1h",
            "1600",
            "20261121",
        ] {
            let why = at(bad, now, &zone("UTC0")).unwrap_err();
            assert!(why.contains("expected a time such as"), "{bad}: {why}");
        }
        for far in [
            "2300-01-01",
            "2300-01-01T00:00:00Z",
            "@99999999999",
            "1600-01-01",
        ] {
            let why = at(far, now, &zone("UTC0")).unwrap_err();
            assert!(why.contains("from 1678 to 2261"), "{far}: {why}");
        }
        let now = Timestamp::from_second(100).unwrap();
        let within = at("1h 30m", now, &zone("UTC0")).unwrap();
        assert_eq!(within.as_second(), 100 + 5400);
    }
}
