//! `Retry-After`: seconds, or one of the three forms of a date (RFC 9110, sections 10.2.3 and 5.6.7).

use jiff::civil::DateTime;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;

/// The form that servers send today: a date of RFC 2822 with the zone `GMT`.
static IMF_FIXDATE: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new().relaxed_weekday(true);

/// The forms of RFC 850 and asctime, which servers no longer send and clients must still read.
const OBSOLETE: [&str; 2] = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];

/// The seconds for which the server asks to wait. `date` is the time of the server, if it sent one; otherwise `now`, the
/// time here in seconds, is used.
pub fn seconds(value: &str, date: Option<&str>, now: i64) -> Option<u64> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(value.parse().unwrap_or(u64::MAX));
    }
    let now = date.and_then(http_date).unwrap_or(now);
    Some(u64::try_from(http_date(value)?.saturating_sub(now)).unwrap_or(0))
}

/// Seconds since 1970.
fn http_date(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(at) = IMF_FIXDATE.parse_timestamp(text) {
        return Some(at.as_second());
    }
    let parsed = OBSOLETE
        .iter()
        .find_map(|form| DateTime::strptime(form, text).ok())?;
    Some(TimeZone::UTC.to_timestamp(parsed).ok()?.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 9110.
    const SAME: [&str; 3] = [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ];
    const AT: i64 = 784_111_777;

    #[test]
    fn the_three_forms_of_a_date() {
        for text in SAME {
            assert_eq!(http_date(text), Some(AT), "{text}");
            assert_eq!(seconds(text, None, AT - 90), Some(90), "{text}");
            assert_eq!(seconds(text, None, AT + 90), Some(0), "{text} is over");
        }
        assert_eq!(
            http_date("Thu, 29 Feb 2024 23:59:59 GMT"),
            Some(1_709_251_199)
        );
        assert_eq!(http_date("Wed Feb 11 01:02:03 2026"), Some(1_770_771_723));
    }

    #[test]
    fn the_servers_clock_counts_first() {
        let later = "Sun, 06 Nov 1994 08:51:07 GMT";
        for date in SAME {
            assert_eq!(seconds(later, Some(date), 0), Some(90), "{date}");
        }
        assert_eq!(seconds(later, Some("noon"), AT), Some(90));
        assert_eq!(seconds("7", Some(later), AT), Some(7));
    }

    #[test]
    fn seconds_and_what_is_neither() {
        for (text, wanted) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1s", None),
            ("soon", None),
            ("Sun, 06 Nov 1994", None),
            ("Sun, 31 Feb 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 25:49:37 GMT", None),
            ("Sunday, 06-Nov-94 08:49:37 CET", None),
            ("Sun, 06 Nov 1994 08:49:37 GMT, 5", None),
            ("\u{661}", None),
        ] {
            assert_eq!(seconds(text, None, 0), wanted, "{text:?}");
        }
    }
}
