//! Named tokens: what the settings have of each, what a job asks for, and the units that it gets.

use super::json::{self, Field, JsonError, Object, expected};
use super::quote::quoted;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The name of a token: `[a-z][a-z0-9_]*`, at most 64 bytes, and in capitals no other variable of pirn.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenName(Box<str>);

/// The rest of the names of pirn's variables, in lower case. `PIRN_PARENT_` begins some more.
const RESERVED: [&str; 16] = [
    "active_fd",
    "attempt",
    "faults",
    "http_fds",
    "id",
    "lock_fd",
    "log",
    "out",
    "pid",
    "progress",
    "queue",
    "queue_slot",
    "slot",
    "spool",
    "store",
    "tmp",
];

impl TokenName {
    /// The token of this name. An error completes the sentence "the name ...".
    pub fn new(name: &str) -> Result<Self, &'static str> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(is_plain) {
            return Err("has to begin with one of a to z and go on with these, digits and _");
        }
        if name.len() > 64 {
            return Err("is longer than 64 bytes");
        }
        let is_reserved = RESERVED.contains(&name)
            || ["parent", "qdone"]
                .iter()
                .any(|word| name.starts_with(word));
        match is_reserved {
            true => Err("is that of a variable of pirn; choose another"),
            false => Ok(Self(name.into())),
        }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The variable that tells a job its units.
    pub fn variable(&self) -> String {
        format!("PIRN_{}", self.0.to_ascii_uppercase())
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How many of each token a job needs while it runs: at least one.
pub type Uses = BTreeMap<TokenName, u32>;

/// The units of each token that a job was given.
pub type Units = BTreeMap<TokenName, Vec<Box<str>>>;

/// The units of a token, as the settings have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Supply {
    /// This many, which need no names.
    Count(usize),
    /// These units.
    Listed(Vec<Box<str>>),
}

impl Supply {
    /// How many there are.
    pub fn total(&self) -> usize {
        match self {
            Self::Count(n) => *n,
            Self::Listed(units) => units.len(),
        }
    }
}

/// The most slots or tokens of a name, as for `slots` in the settings.
pub const MOST: i64 = 10_000;

/// Reads `use` of a record.
pub fn uses(object: &Object<'_>) -> Result<Uses, JsonError> {
    let fields = object.fields().filter(|field| !field.is_null());
    fields
        .map(|field| Ok((name(field)?, field.integer(1..=MOST)?)))
        .collect()
}

/// Reads `tokens` of the settings.
pub fn supplies(object: &Object<'_>) -> Result<BTreeMap<TokenName, Supply>, JsonError> {
    let fields = object.fields().filter(|field| !field.is_null());
    fields
        .map(|field| Ok((name(field)?, field.read(supply)?)))
        .collect()
}

/// Reads `units` of a record.
pub fn units(object: &Object<'_>) -> Result<Units, JsonError> {
    object
        .fields()
        .map(|field| Ok((name(field)?, field.read(unit_list)?)))
        .collect()
}

/// Reads `NAME` or `NAME=N`, several of them separated by commas, as the command line has them.
pub fn parse_uses(text: &str) -> Result<Uses, String> {
    let mut uses = Uses::new();
    for part in text.split(',') {
        let (name, count) = part.split_once('=').unwrap_or((part, "1"));
        let token = TokenName::new(name).map_err(|e| format!("the name {} {e}", quoted(name)))?;
        let count = count.parse().ok().filter(|n| (1..=MOST).contains(n));
        let count = count.and_then(|n| u32::try_from(n).ok());
        let count =
            count.ok_or_else(|| format!("{part}: expected a whole number from 1 to {MOST}"))?;
        if uses.insert(token, count).is_some() {
            return Err(format!("{name} is given twice"));
        }
    }
    Ok(uses)
}

fn name(field: Field<'_, '_>) -> Result<TokenName, JsonError> {
    TokenName::new(field.key)
        .map_err(|e| field.error(format!("no token can be called that: the name {e}")))
}

fn supply(raw: &RawValue) -> Result<Supply, String> {
    match raw.get().as_bytes().first() {
        Some(b'[') => unit_list(raw).map(Supply::Listed),
        Some(b'0'..=b'9' | b'-') => json::integer(raw, 0..=MOST).map(Supply::Count),
        Some(_) | None => Err(expected("a number or a list of names", raw)),
    }
}

/// Reads names of units: a job gets them in one variable, with commas between them.
fn unit_list(raw: &RawValue) -> Result<Vec<Box<str>>, String> {
    let units = json::strings(raw)?;
    let is_plain = |unit: &String| {
        let is_bad = |c: char| c == ',' || c.is_whitespace() || c.is_control();
        !unit.is_empty() && unit.len() <= 255 && !unit.contains(is_bad)
    };
    if let Some(unit) = units.iter().find(|unit| !is_plain(unit)) {
        let what = "a unit's name has 1 to 255 bytes, no comma, no space and no control character";
        return Err(format!("{}: {what}", quoted(unit)));
    }
    let mut seen = BTreeSet::new();
    match units.iter().find(|unit| !seen.insert(unit.as_str())) {
        Some(unit) => Err(format!("{} is listed twice", quoted(unit))),
        None if units.len() > 1024 => Err(format!(
            "{} units are listed; 1024 is the most",
            units.len()
        )),
        None => Ok(units.into_iter().map(Into::into).collect()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule() {
        for name in ["gpu", "a", "big_disk2"] {
            assert_eq!(
                TokenName::new(name).map(|n| n.to_string()),
                Ok(name.to_owned())
            );
        }
        let long = "a".repeat(65);
        for name in [
            "",
            "Gpu",
            "2gpu",
            "_a",
            "a-b",
            "slot",
            "id",
            "parent_id",
            "queue_slot",
            &long,
        ] {
            assert!(TokenName::new(name).is_err(), "{name}");
        }
        assert_eq!(TokenName::new("gpu").unwrap().variable(), "PIRN_GPU");
    }

    #[test]
    fn options_are_read() {
        let uses = parse_uses("gpu=2,licence").unwrap();
        let uses: Vec<_> = uses.iter().map(|(name, n)| (name.as_str(), *n)).collect();
        assert_eq!(uses, [("gpu", 2), ("licence", 1)]);
        for wrong in [
            "",
            "gpu=0",
            "gpu=x",
            "gpu=10001",
            "gpu,gpu",
            "Gpu",
            "gpu=1,",
        ] {
            assert!(parse_uses(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn supplies_are_read() {
        let read = |text| supplies(&Object::parse(text).unwrap()).map_err(|e| e.to_string());
        let found = read(r#"{"gpu": ["0", "1"], "licence": 5}"#).unwrap();
        let totals: Vec<_> = found.values().map(Supply::total).collect();
        assert_eq!(totals, [2, 5]);
        for (wrong, why) in [
            (
                r#"{"gpu": ["0", "0"]}"#,
                "line 1: gpu: \"0\" is listed twice",
            ),
            (
                r#"{"gpu": -1}"#,
                "line 1: gpu: expected a whole number from 0 to 10000, got -1",
            ),
            (
                r#"{"gpu": "2"}"#,
                "line 1: gpu: expected a number or a list of names, got a string",
            ),
        ] {
            assert_eq!(read(wrong).unwrap_err(), why);
        }
        for wrong in [r#"{"gpu": ["a,b"]}"#, r#"{"gpu": [""]}"#, r#"{"slot": 1}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
