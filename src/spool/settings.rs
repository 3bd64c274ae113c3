//! Reading `config.json`, and editing it one value at a time.

use super::Spool;
use crate::core::config::Config;
use crate::core::config::rights::Who;
use crate::core::json::Object;
use crate::os::{clock, flock, user, written};
use crate::spool::RealFs;
use std::fmt;
use std::fs::File;
use std::io;
use std::time::Duration;

/// Parses settings, and looks up the users that they name. A user who is not known here, or who cannot be known by the
/// kernel's word, is an error.
pub fn read_config(text: &str) -> Result<Config, String> {
    let mut config = Config::parse(text).map_err(|e| e.to_string())?;
    for entry in &mut config.http.tokenless.trust {
        if let Who::Name(name) = &entry.who {
            let account = user::account_of(name)
                .map_err(|e| format!("http.trust: the user {name:?}: {e}"))?
                .ok_or_else(|| format!("http.trust: there is no user {name:?} on this machine"))?;
            entry.who = Who::User(account.uid);
        }
        if let Who::User(number) = entry.who
            && user::known(number).is_none()
        {
            return Err(format!(
                "http.trust: {number} is the number of all users whom the kernel has no number for, and gets no rights; \
                 name another user"
            ));
        }
    }
    Ok(config)
}

/// Why the settings were not changed.
#[derive(Debug)]
pub enum EditError {
    /// The text is not valid, or would not be after the change.
    Invalid(String),
    /// The file could not be read.
    Unreadable(io::Error),
    /// The file could not be written.
    Io(io::Error),
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(what) => f.write_str(what),
            Self::Unreadable(e) | Self::Io(e) => write!(f, "{e}"),
        }
    }
}

impl std::error::Error for EditError {}

/// One value: the keys that lead to it, and its JSON text; `None` removes it.
pub type Edit<'a> = (&'a [&'a str], Option<String>);

impl Spool<RealFs> {
    /// Sets these values in `config.json`, which is replaced whole (see [`written::replace`]). All other values keep
    /// their text and place.
    pub fn edit_settings(&self, edits: &[Edit<'_>]) -> Result<(), EditError> {
        // Another process that edits the settings waits until this change is made. The lock is on the directory,
        // since the file is replaced.
        let editing = File::open(self.path()).map_err(EditError::Io)?;
        lock_within(&editing, LOCKED_WITHIN).map_err(EditError::Io)?;
        let valid = |text: &str| read_config(text).map(|_| text.to_owned());
        let path = self.path().join("config.json");
        let mut text = match written::read_finished(&path, valid) {
            Ok(text) => text.map_err(EditError::Invalid)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => "{}".to_owned(),
            Err(e) => return Err(EditError::Unreadable(e)),
        };
        for (keys, value) in edits {
            text = set(&text, keys, value.as_deref(), 0)?;
        }
        check(&text)?;
        written::replace(&path, &format!("{text}\n")).map_err(EditError::Io)
    }
}

/// How long to wait for the lock: anybody who can read the directory can lock it, and keep it locked.
const LOCKED_WITHIN: Duration = Duration::from_secs(5);

fn lock_within(file: &File, longest: Duration) -> io::Result<()> {
    let began = clock::now().boot;
    while !flock::try_exclusive(file)? {
        if clock::now().boot.since(began) > longest {
            let what = "another process keeps the directory of the spool locked (flock)";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, what));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn check(text: &str) -> Result<(), EditError> {
    read_config(text).map(drop).map_err(EditError::Invalid)
}

/// The text with the value at `keys` replaced, or removed.
fn set(text: &str, keys: &[&str], value: Option<&str>, depth: usize) -> Result<String, EditError> {
    let Some((key, rest)) = keys.split_first() else {
        return Ok(value.unwrap_or(text).to_owned());
    };
    let object = Object::parse(text).map_err(|e| EditError::Invalid(e.to_string()))?;
    let mut fields: Vec<(String, String)> = object
        .fields()
        .map(|field| (field.key.to_owned(), field.raw.get().to_owned()))
        .collect();
    match fields.iter_mut().find(|(name, _)| name == key) {
        Some(_) if value.is_none() && rest.is_empty() => fields.retain(|(name, _)| name != key),
        Some((_, old)) => *old = set(old, rest, value, depth + 1)?,
        None if value.is_none() => return Ok(text.to_owned()),
        None => fields.push(((*key).to_owned(), set("{}", rest, value, depth + 1)?)),
    }
    if fields.is_empty() {
        return Ok("{}".to_owned());
    }
    let indent = "  ".repeat(depth + 1);
    let quoted = |name: &str| serde_json::to_string(name).unwrap_or_default();
    let lines: Vec<String> = fields
        .iter()
        .map(|(name, raw)| format!("{indent}{}: {raw}", quoted(name)))
        .collect();
    Ok(format!(
        "{{\n{}\n{}}}",
        lines.join(",\n"),
        "  ".repeat(depth)
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::set;

    #[test]
    fn edits_touch_one_value() {
        let text = r#"{"slots": 4, "queues": {"mail": {"slots": 1}}, "keep": "1d"}"#;
        let edited = set(text, &["queues", "mail", "paused"], Some("true"), 0).unwrap();
        assert_eq!(
            edited,
            "{\n  \"slots\": 4,\n  \"queues\": {\n    \"mail\": {\n      \"slots\": 1,\n      \"paused\": true\n    }\n  },\n  \"keep\": \"1d\"\n}"
        );
        assert_eq!(
            set("{}", &["paused"], Some("false"), 0).unwrap(),
            "{\n  \"paused\": false\n}"
        );
    }

    #[test]
    fn a_value_is_removed() {
        let text = r#"{"slots": 4, "queues": {"mail": {"slots": 1}}}"#;
        let remove = |keys: &[&str]| set(text, keys, None, 0).unwrap();
        assert_eq!(
            remove(&["queues", "mail", "slots"]),
            "{\n  \"slots\": 4,\n  \"queues\": {\n    \"mail\": {}\n  }\n}"
        );
        assert_eq!(
            remove(&["slots"]),
            "{\n  \"queues\": {\"mail\": {\"slots\": 1}}\n}"
        );
        assert_eq!(set("{\"slots\": 4}", &["slots"], None, 0).unwrap(), "{}");
        // Removing a value that is not there makes nothing.
        assert_eq!(
            set("{}", &["queues", "web", "slots"], None, 0).unwrap(),
            "{}"
        );
    }
}
