//! The signal by which a job is warned of its timeout.

use super::json;
use super::quote::quoted;
use super::units::{brief_span, parse_span, show_span};
use serde_json::value::RawValue;
use std::fmt::{self, Display};
use std::time::Duration;

/// A warning that comes before the timeout of each try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warning {
    /// How long before.
    pub before: Duration,
    /// The name of its signal.
    pub signal: &'static str,
}

/// The signals that may warn, by their names without SIG. The first is sent unless another is asked for. Those that no
/// program can handle are left out, and those that tell of an error in it.
const SIGNALS: [&str; 10] = [
    "USR1", "USR2", "HUP", "INT", "QUIT", "TERM", "ALRM", "CONT", "URG", "WINCH",
];

impl Warning {
    /// Reads `30s` or `30s=HUP`. `None` for `0`, which stands for no warning.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let (span, signal) = match text.split_once('=') {
            Some((span, name)) => (span, signal(name)?),
            None => (text, SIGNALS[0]),
        };
        Ok(Self::new(parse_span(span)?, signal))
    }

    /// Reads the same from a record, or a number of seconds.
    pub fn read(raw: &RawValue) -> Result<Option<Self>, String> {
        match json::string(raw) {
            Ok(text) => Self::parse(&text),
            Err(_) => Ok(Self::new(json::span(raw)?, SIGNALS[0])),
        }
    }

    fn new(before: Duration, signal: &'static str) -> Option<Self> {
        (!before.is_zero()).then_some(Self { before, signal })
    }

    /// Refuses a warning that would come before the start of a try with this timeout.
    pub fn check(self, timeout: Duration) -> Result<(), String> {
        match self.before < timeout {
            true => Ok(()),
            false => Err(format!(
                "{} is not less than the timeout, {}",
                brief_span(self.before),
                brief_span(timeout)
            )),
        }
    }
}

fn signal(name: &str) -> Result<&'static str, String> {
    let upper = name.trim().to_ascii_uppercase();
    let plain = upper.strip_prefix("SIG").unwrap_or(&upper);
    let known = SIGNALS.into_iter().find(|known| *known == plain);
    known.ok_or_else(|| {
        let all = SIGNALS.join(", ");
        format!("expected one of the signals {all}, got {}", quoted(name))
    })
}

/// As it is read.
impl Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_span(self.before))?;
        match self.signal == SIGNALS[0] {
            true => Ok(()),
            false => write!(f, "={}", self.signal),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Warning;
    use std::time::Duration;

    #[test]
    fn warnings_are_read_and_printed() {
        let shown = |text: &str| Warning::parse(text).map(|read| read.map(|w| w.to_string()));
        for (text, printed) in [
            ("30s", "30s"),
            ("90", "1m 30s"),
            ("30s=usr1", "30s"),
            ("1m = SIGHUP", "1m=HUP"),
            ("0.5=WINCH", "500ms=WINCH"),
        ] {
            assert_eq!(shown(text).unwrap().unwrap(), printed, "{text}");
            assert_eq!(shown(printed).unwrap().unwrap(), printed);
        }
        assert_eq!(shown("0"), Ok(None));
        assert_eq!(shown("0s=TERM"), Ok(None));
        for text in [
            "", "x", "-1", "30s=", "30s=KILL", "30s=STOP", "30s=9", "=HUP",
        ] {
            assert!(shown(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_warning_must_be_shorter_than_the_timeout() {
        let warning = Warning::parse("30s").unwrap().unwrap();
        assert!(warning.check(Duration::from_secs(31)).is_ok());
        let error = warning.check(Duration::from_secs(30)).unwrap_err();
        assert_eq!(error, "30.0s is not less than the timeout, 30.0s");
    }
}
