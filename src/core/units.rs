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
        for bad in ["", "K", "-1", "1Q", "1.2.3", "99999999999999999999T"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
