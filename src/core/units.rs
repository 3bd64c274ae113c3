//! Durations, sizes and file modes as people write them.

use super::quote::quoted;
use std::time::Duration;

/// The longest duration that is accepted, a hundred years. Longer ones are typing errors, and sums must not overflow.
pub const MAX_SPAN: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Reads `90`, `1.5` (seconds), `90s`, `1h 30m`, `28d`.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let span = match text.parse::<f64>() {
        Ok(seconds) => return span_from_secs(seconds),
        Err(_) => humantime::parse_duration(text).map_err(|_| not_a_span(text))?,
    };
    if span > MAX_SPAN {
        Err(too_long())
    } else {
        Ok(span)
    }
}

/// Reads seconds from a JSON number. Errors: it is negative, not finite, or more than [`MAX_SPAN`].
pub fn span_from_secs(seconds: f64) -> Result<Duration, String> {
    if seconds.is_nan() || seconds < 0.0 {
        return Err(not_a_span(&seconds.to_string()));
    }
    if seconds > MAX_SPAN.as_secs_f64() {
        return Err(too_long());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// So many jobs that wait, in words: `1 job waits`, `2 jobs wait`.
pub fn jobs_wait(n: u64) -> String {
    match n {
        1 => "1 job waits".to_owned(),
        n => format!("{n} jobs wait"),
    }
}

fn not_a_span(got: &str) -> String {
    format!(
        "expected a duration such as \"90s\" or \"1h 30m\", or a number of seconds, got {}",
        quoted(got)
    )
}

fn too_long() -> String {
    "a duration is at most a hundred years".to_owned()
}

/// Prints a duration so that [`parse_span`] reads it back: `1h 30m`, `1s 500ms`.
pub fn show_span(span: Duration) -> String {
    humantime::format_duration(span).to_string()
}

/// Prints a duration for a line in a table or a log: `5ms`, `1.3s`, `2m 5s`, `3h 4m`, `2d 3h`.
pub fn brief_span(span: Duration) -> String {
    let secs = span.as_secs();
    match secs {
        0 => format!("{}ms", span.as_millis()),
        1..=59 => format!("{:.1}s", span.as_secs_f64()),
        60..=3599 => format!("{}m {}s", secs / 60, secs % 60),
        3600..=86_399 => format!("{}h {}m", secs / 3600, secs % 3600 / 60),
        _ => format!("{}d {}h", secs / 86_400, secs % 86_400 / 3600),
    }
}

/// Prints a duration in its largest unit, to the nearest: `45s`, `3m`, `2h`, `5d`, `3y`.
pub fn rough_span(span: Duration) -> String {
    let secs = span.as_secs() + u64::from(span.subsec_millis() >= 500);
    let rounded = |unit: u64| (secs + unit / 2) / unit;
    let (minutes, hours, days) = (rounded(60), rounded(3600), rounded(86_400));
    match (secs, minutes, hours, days) {
        (0..=59, _, _, _) => format!("{secs}s"),
        (_, 0..=59, _, _) => format!("{minutes}m"),
        (_, _, 0..=47, _) => format!("{hours}h"),
        (_, _, _, 0..=729) => format!("{days}d"),
        (_, _, _, days) => format!("{}y", days / 365),
    }
}

/// Prints how long ago something was: `3m ago`.
pub fn ago(span: Duration) -> String {
    match rough_span(span).as_str() {
        "0s" => "just now".to_owned(),
        text => format!("{text} ago"),
    }
}

/// Prints a size in the largest unit in which it is at least 1: `0 B`, `999 B`, `1.5 KiB`, `34 MiB`.
pub fn show_size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let power = (bytes.max(1).ilog2() / 10).min(4);
    let size = bytes as f64 / 1024_f64.powi(i32::try_from(power).unwrap_or(0));
    match power {
        0 => format!("{bytes} B"),
        power => {
            let digits = usize::from(size < 9.95);
            let unit = units[usize::try_from(power - 1).unwrap_or(0)];
            format!("{size:.digits$} {unit}")
        }
    }
}

/// Reads `4096`, `64K`, `1.5M`, `2GiB`; letters are powers of 1024 (as in systemd), `kB MB GB` powers of 1000.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let bad = || {
        format!(
            "expected a size such as 4096, 64K or 1.5GiB, got {}",
            quoted(text)
        )
    };
    let trimmed = text.trim();
    let split = trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(split);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "k" | "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "T" | "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(bad()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).ok_or_else(bad);
    }
    let size = number.parse::<f64>().map_err(|_| bad())? * factor as f64;
    if size.is_finite() && size < 1e18 {
        Ok(size as u64)
    } else {
        Err(bad())
    }
}

/// Reads a file mode creation mask in octal digits, as umask(1) prints it.
pub fn parse_umask(text: &str) -> Result<u32, String> {
    let octal =
        !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    match u32::from_str_radix(text, 8) {
        Ok(mask) if octal && mask <= 0o777 => Ok(mask),
        Ok(_) | Err(_) => Err(format!(
            "expected octal digits such as \"022\", got {}",
            quoted(text)
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, ms) in [
            ("90", 90_000),
            ("1.5", 1_500),
            ("90s", 90_000),
            ("1h 30m", 5_400_000),
            ("250ms", 250),
        ] {
            assert_eq!(
                parse_span(text).unwrap(),
                Duration::from_millis(ms),
                "{text}"
            );
        }
        for bad in ["", "soon", "-1", "NaN", "inf", "1e300", "300000y"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
        let span = Duration::from_millis(5_400_250);
        assert_eq!(parse_span(&show_span(span)).unwrap(), span);
        assert_eq!(brief_span(Duration::from_secs(125)), "2m 5s");
        assert_eq!(brief_span(Duration::from_millis(1_340)), "1.3s");
        for (secs, text) in [
            (0, "0s"),
            (59, "59s"),
            (89, "1m"),
            (90, "2m"),
            (3599, "1h"),
            (7199, "2h"),
            (47 * 3600, "47h"),
            (48 * 3600, "2d"),
            (800 * 86_400, "2y"),
        ] {
            assert_eq!(rough_span(Duration::from_secs(secs)), text, "{secs}");
        }
        assert_eq!(ago(Duration::from_millis(400)), "just now");
        assert_eq!(ago(Duration::from_secs(180)), "3m ago");
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("64K", 65_536),
            ("1.5M", 1_572_864),
            ("2GiB", 2 << 30),
            ("1kB", 1_000),
        ] {
            assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
        }
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_572_864, "1.5 MiB"),
            (35 << 20, "35 MiB"),
            (1023 << 20, "1023 MiB"),
            (1 << 50, "1024 TiB"),
        ] {
            assert_eq!(show_size(bytes), text, "{bytes}");
        }
        for bad in ["", "K", "-1", "1Q", "1.2.3", "99999999999999999999T"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
