//! Points in time in the words of at(1): a time of day and a day, in either order, and what is added to them.

use crate::core::time::Wall;
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, Timestamp, ToSpan};

/// `4pm`, `noon tomorrow`, `monday 9:00`, `now + 5 minutes`, `2026-11-21 16:00`; local times of this zone.
pub fn read(text: &str, now: Wall, zone: &TimeZone) -> Option<Timestamp> {
    let stamp = Timestamp::from_nanosecond(i128::from(now.0)).ok()?;
    let shown = zone.to_datetime(stamp);
    Spec::read(text)?.after(&Clock { stamp, shown, zone })
}

/// The present, and what clocks show.
struct Clock<'a> {
    stamp: Timestamp,
    shown: DateTime,
    zone: &'a TimeZone,
}

impl Clock<'_> {
    /// Of a time that clocks show twice, the first; one that they skip is counted from before the change, so that 02:30
    /// becomes 03:30 (RFC 5545).
    fn on(&self, day: Date, time: Time) -> Option<Timestamp> {
        self.zone.to_timestamp(day.to_datetime(time)).ok()
    }

    /// A day later clocks show the same time, even where they are changed in between; an hour later is an hour later.
    fn add(&self, stamp: Timestamp, span: Span) -> Option<Timestamp> {
        if is_of_clock(span) {
            return stamp.checked_add(span).ok();
        }
        let shown = self.zone.to_datetime(stamp).checked_add(span).ok()?;
        self.zone.to_timestamp(shown).ok()
    }
}

/// True for hours and minutes.
fn is_of_clock(span: Span) -> bool {
    span.get_hours() != 0 || span.get_minutes() != 0
}

/// The parts of a text. At least one of them is given.
#[derive(Default)]
struct Spec {
    is_now: bool,
    time: Option<Time>,
    day: Option<Day>,
    plus: Option<Span>,
}

#[derive(Clone, Copy)]
enum Day {
    Date(Date),
    /// A month and a day, of this year or the next.
    OfYear(i8, i8),
    /// The next one after today.
    Weekday(Weekday),
    /// This long after today.
    In(Span),
}

impl Spec {
    fn read(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let words = split(&lower)?;
        let mut words = words.as_slice();
        let mut spec = Self::default();
        while let Some((word, rest)) = words.split_first() {
            words = match *word {
                "now" if spec.is_empty() => {
                    spec.is_now = true;
                    rest
                }
                "+" | "-" if !spec.is_empty() => {
                    let [count, unit] = *rest else { return None };
                    let span = unit_span(unit, count.parse().ok()?)?;
                    spec.plus = Some(if *word == "-" { span.negate() } else { span });
                    &[]
                }
                _ if spec.is_now => return None,
                _ => match (time_of_day(words), day(words)) {
                    (Some((time, rest)), _) if spec.time.is_none() => {
                        spec.time = Some(time);
                        rest
                    }
                    (_, Some((day, rest))) if spec.day.is_none() => {
                        spec.day = Some(day);
                        rest
                    }
                    _ => return None,
                },
            };
        }
        (!spec.is_empty()).then_some(spec)
    }

    fn is_empty(&self) -> bool {
        !self.is_now && self.time.is_none() && self.day.is_none()
    }

    fn after(&self, now: &Clock<'_>) -> Option<Timestamp> {
        let today = now.shown.date();
        let moved = |base: Timestamp| match self.plus {
            Some(span) => now.add(base, span),
            None => Some(base),
        };
        match (self.day, self.time) {
            (None, None) => moved(now.stamp),
            (None, Some(time)) if self.plus.is_none() => next(time, now),
            (None, Some(time)) => {
                let first = moved(now.on(today, time)?)?;
                match first > now.stamp {
                    true => Some(first),
                    false => moved(now.on(today.tomorrow().ok()?, time)?),
                }
            }
            // No time of day is in an hour.
            (Some(Day::In(span)), time) if is_of_clock(span) => match time {
                Some(_) => None,
                None => moved(now.add(now.stamp, span)?),
            },
            (Some(day), time) => {
                let otherwise = match day {
                    Day::Date(_) => Time::midnight(),
                    Day::OfYear(..) | Day::Weekday(_) | Day::In(_) => now.shown.time(),
                };
                moved(now.on(day.after(today)?, time.unwrap_or(otherwise))?)
            }
        }
    }
}

impl Day {
    fn after(self, today: Date) -> Option<Date> {
        match self {
            Self::Date(date) => Some(date),
            Self::OfYear(month, day) => {
                // Eight years have a 29th of February.
                (0..=8)
                    .filter_map(|n| Date::new(today.year().checked_add(n)?, month, day).ok())
                    .find(|date| *date >= today)
            }
            Self::Weekday(weekday) => today.nth_weekday(1, weekday).ok(),
            Self::In(span) => today.checked_add(span).ok(),
        }
    }
}

/// Splits before each word, number and sign.
fn split(text: &str) -> Option<Vec<&str>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_same: fn(char) -> bool = match first {
            '0'..='9' => |c| c.is_ascii_digit() || matches!(c, ':' | '.' | '-'),
            'a'..='z' => |c| c.is_ascii_lowercase(),
            '+' | '-' | ',' => |_| false,
            _ => return None,
        };
        let end = rest[1..]
            .find(|c| !is_same(c))
            .map_or(rest.len(), |n| n + 1);
        let (word, more) = rest.split_at(end);
        words.push(word);
        rest = more.trim_start();
    }
    Some(words)
}

/// A part of the words, and those after it.
type Part<'a, T> = Option<(T, &'a [&'a str])>;

fn time_of_day<'a>(words: &'a [&'a str]) -> Part<'a, Time> {
    let (word, rest) = words.split_first()?;
    let hour = |hour| Time::new(hour, 0, 0, 0).ok();
    match (*word, rest.split_first()) {
        ("midnight", _) => Some((Time::midnight(), rest)),
        ("noon", _) => Some((hour(12)?, rest)),
        ("teatime", _) => Some((hour(16)?, rest)),
        (word, Some((half @ (&"am" | &"pm"), rest))) => {
            let of_twelve = match word.contains(':') {
                true => time(word)?,
                false => hour(number(word)?)?,
            };
            if !(1..=12).contains(&of_twelve.hour()) {
                return None;
            }
            let hour = of_twelve.hour() % 12 + if *half == "pm" { 12 } else { 0 };
            Some((of_twelve.with().hour(hour).build().ok()?, rest))
        }
        (word, _) => Some((time(word)?, rest)),
    }
}

fn day<'a>(words: &'a [&'a str]) -> Part<'a, Day> {
    let (word, rest) = words.split_first()?;
    match *word {
        "today" => Some((Day::In(Span::new()), rest)),
        "tomorrow" => Some((Day::In(1.day()), rest)),
        "next" => {
            let (word, rest) = rest.split_first()?;
            let next = weekday(word).map(Day::Weekday);
            Some((next.or_else(|| unit_span(word, 1).map(Day::In))?, rest))
        }
        word => {
            if let Some(weekday) = weekday(word) {
                return Some((Day::Weekday(weekday), rest));
            }
            if let Some(date) = date(word) {
                return Some((Day::Date(date), rest));
            }
            let (second, rest) = rest.split_first()?;
            let (month, day) = match month(word) {
                Some(month) => (month, number(second)?),
                None => (month(second)?, number(word)?),
            };
            // A year has four digits. No time has, so that there is no doubt about which is meant.
            let (year, after) = match *rest {
                [",", year, ..] => (Some(year_of(year)?), &rest[2..]),
                [year, ..] => match year_of(year) {
                    Some(year) => (Some(year), &rest[1..]),
                    None => (None, rest),
                },
                [] => (None, rest),
            };
            let day = match year {
                Some(year) => Day::Date(Date::new(year, month, day).ok()?),
                None => Day::OfYear(month, day),
            };
            Some((day, after))
        }
    }
}

fn year_of(word: &str) -> Option<i16> {
    let is_year = word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_digit());
    is_year.then(|| word.parse().ok())?
}

fn number(word: &str) -> Option<i8> {
    let is_number = (1..=2).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| word.parse().ok())?
}

/// The place of a word in a list of whole names. Three letters are enough.
fn place(word: &str, names: &[&str]) -> Option<i8> {
    let is_meant = |name: &&str| word == *name || word.len() == 3 && name.starts_with(word);
    i8::try_from(names.iter().position(is_meant)?).ok()
}

fn weekday(word: &str) -> Option<Weekday> {
    let names = [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ];
    Weekday::from_monday_one_offset(place(word, &names)? + 1).ok()
}

fn month(word: &str) -> Option<i8> {
    let names = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    Some(place(word, &names)? + 1)
}

fn unit_span(word: &str, count: i64) -> Option<Span> {
    let span = Span::new();
    match word.strip_suffix('s').unwrap_or(word) {
        "min" | "minute" => span.try_minutes(count),
        "hour" => span.try_hours(count),
        "day" => span.try_days(count),
        "week" => span.try_weeks(count),
        "month" => span.try_months(count),
        "year" => span.try_years(count),
        _ => return None,
    }
    .ok()
}

/// `2026-11-21`. jiff's own parser also takes longer texts and ignores the rest.
pub fn date(text: &str) -> Option<Date> {
    let is_date = |byte: u8| byte.is_ascii_digit() || byte == b'-';
    let is_whole = text.contains('-') && text.bytes().all(is_date);
    is_whole.then(|| text.parse().ok())?
}

/// `16:00`, `9:00`, `16:00:30` or `16:00:30.5`, and as for [`date`] nothing longer.
fn time(text: &str) -> Option<Time> {
    let is_time = |byte: u8| byte.is_ascii_digit() || byte == b':' || byte == b'.';
    if !text.bytes().all(is_time) {
        return None;
    }
    match text.find(':')? {
        1 => format!("0{text}").parse().ok(),
        _ => text.parse().ok(),
    }
}

/// The next instant at which clocks show this time, or would if they did not skip it.
fn next(time: Time, now: &Clock<'_>) -> Option<Timestamp> {
    let today = now.shown.date();
    // Where clocks are set back over midnight, they show the end of yesterday again.
    let days = [today.yesterday().ok()?, today, today.tomorrow().ok()?];
    days.into_iter()
        .map(|day| now.zone.to_ambiguous_timestamp(day.to_datetime(time)))
        .filter(|asked| {
            // A time that clocks skip has passed once they show a later one.
            let is_skipped = matches!(asked.offset(), AmbiguousOffset::Gap { .. });
            !is_skipped || asked.datetime() > now.shown
        })
        .flat_map(|asked| [asked.compatible(), asked.later()])
        .flatten()
        .filter(|stamp| *stamp > now.stamp)
        .min()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A Saturday.
    const NOW: &str = "2026-11-28T01:30:15Z";

    fn shown(text: &str, now: &str, zone: &str) -> Option<String> {
        let zone = TimeZone::posix(zone).unwrap();
        let now: Timestamp = now.parse().unwrap();
        let wall = Wall(i64::try_from(now.as_nanosecond()).unwrap());
        let stamp = read(text, wall, &zone)?;
        Some(zone.to_datetime(stamp).strftime("%a %F %T").to_string())
    }

    #[test]
    fn words_mean_what_they_mean_to_at() {
        for (text, expected) in [
            ("now", "Sat 2026-11-28 01:30:15"),
            ("noon", "Sat 2026-11-28 12:00:00"),
            ("midnight", "Sun 2026-11-29 00:00:00"),
            ("teatime", "Sat 2026-11-28 16:00:00"),
            ("4pm", "Sat 2026-11-28 16:00:00"),
            ("4:30 PM", "Sat 2026-11-28 16:30:00"),
            ("12am", "Sun 2026-11-29 00:00:00"),
            ("12pm", "Sat 2026-11-28 12:00:00"),
            ("1:30", "Sun 2026-11-29 01:30:00"),
            ("1am", "Sun 2026-11-29 01:00:00"),
            ("1am today", "Sat 2026-11-28 01:00:00"),
            ("tomorrow", "Sun 2026-11-29 01:30:15"),
            ("tomorrow 4pm", "Sun 2026-11-29 16:00:00"),
            ("4pm tomorrow", "Sun 2026-11-29 16:00:00"),
            ("Monday 9:00", "Mon 2026-11-30 09:00:00"),
            ("9:00 mon", "Mon 2026-11-30 09:00:00"),
            ("next monday", "Mon 2026-11-30 01:30:15"),
            ("4pm saturday", "Sat 2026-12-05 16:00:00"),
            ("next week", "Sat 2026-12-05 01:30:15"),
            ("4pm next week", "Sat 2026-12-05 16:00:00"),
            ("next hour", "Sat 2026-11-28 02:30:15"),
            ("next month", "Mon 2026-12-28 01:30:15"),
            ("next year", "Sun 2027-11-28 01:30:15"),
            ("now + 5 minutes", "Sat 2026-11-28 01:35:15"),
            ("now+5min", "Sat 2026-11-28 01:35:15"),
            ("now - 1 hour", "Sat 2026-11-28 00:30:15"),
            ("4pm + 3 days", "Tue 2026-12-01 16:00:00"),
            ("0:30 + 3 days", "Tue 2026-12-01 00:30:00"),
            ("0:30 + 30 minutes", "Sun 2026-11-29 01:00:00"),
            ("noon tomorrow + 1 week", "Sun 2026-12-06 12:00:00"),
            ("10am Jul 31", "Sat 2027-07-31 10:00:00"),
            ("31 july", "Sat 2027-07-31 01:30:15"),
            ("1:00 nov 28", "Sat 2026-11-28 01:00:00"),
            ("Jan 5, 2028 9:00", "Wed 2028-01-05 09:00:00"),
            ("noon feb 29", "Tue 2028-02-29 12:00:00"),
            ("2026-12-24", "Thu 2026-12-24 00:00:00"),
            ("2026-12-24 16:00", "Thu 2026-12-24 16:00:00"),
            ("16:00 2026-12-24", "Thu 2026-12-24 16:00:00"),
            ("2026-12-24 4pm - 1 day", "Wed 2026-12-23 16:00:00"),
        ] {
            assert_eq!(
                shown(text, NOW, "UTC0").as_deref(),
                Some(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn days_are_days_where_clocks_change() {
        let new_york = "EST5EDT,M3.2.0,M11.1.0";
        // A day before the clocks skip 02:00 to 03:00, and one before they show 01:00 to 02:00 twice.
        let (spring, autumn) = ("2026-03-07T17:00:00Z", "2026-10-31T16:00:00Z");
        for (text, now, expected) in [
            ("now + 1 day", spring, "Sun 2026-03-08 12:00:00"),
            ("now + 24 hours", spring, "Sun 2026-03-08 13:00:00"),
            ("2:30 tomorrow", spring, "Sun 2026-03-08 03:30:00"),
            ("1:30 tomorrow + 1 hour", spring, "Sun 2026-03-08 03:30:00"),
            ("now + 1 day", autumn, "Sun 2026-11-01 12:00:00"),
            ("now + 24 hours", autumn, "Sun 2026-11-01 11:00:00"),
            ("1:30 tomorrow + 1 hour", autumn, "Sun 2026-11-01 01:30:00"),
            ("1:30 tomorrow + 2 hours", autumn, "Sun 2026-11-01 02:30:00"),
        ] {
            assert_eq!(
                shown(text, now, new_york).as_deref(),
                Some(expected),
                "{text} {now}"
            );
        }
    }

    #[test]
    fn other_words_are_refused() {
        for text in [
            "",
            " ",
            "+ 5 minutes",
            "now 4pm",
            "now + 5",
            "now + minutes",
            "now + 5 m",
            "now + 1 day 4pm",
            "13pm",
            "0am",
            "4",
            "1600",
            "4 pm pm",
            "noon noon",
            "tomorrow today",
            "next",
            "next noon",
            "4pm next hour",
            "feb 30",
            "jul",
            "31",
            "mond",
            "july 31st",
            "yesterday",
            "now + 99999999999999999999 days",
            "now + 9999999 years",
            "nöon",
            "25:00 tomorrow",
            "now + -5 minutes",
            "4pm\0",
            "2026-11-31",
        ] {
            assert_eq!(shown(text, NOW, "UTC0"), None, "{text:?}");
        }
    }
}
