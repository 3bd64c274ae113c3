//! JSON objects, taken apart one level at a time.
//!
//! So every error can name the field and the line, the value of an unknown key keeps its text, and a key that is given
//! twice is an error. The record and the config are read with this.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::quote::{cut, cut_to};
use super::units;

/// The deepest nesting that is read. No job needs more, and readers of records (jq among them) have limits, too.
pub const MAX_DEPTH: usize = 100;

/// Most characters of a message that are shown. Only a message that quotes its input can be longer.
const MAX_WHAT: usize = 400;

/// A mistake in a JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// Line in the text, from 1; 0 where it is not known.
    pub line: usize,
    /// The field, with dots for nesting; empty if the mistake is in no field.
    pub field: String,
    /// The mistake, and the right way.
    pub what: String,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if !self.field.is_empty() {
            write_line(f, &cut(&self.field))?;
            f.write_str(": ")?;
        }
        write_line(f, &cut_to(&self.what, MAX_WHAT))
    }
}

/// Errors go to logs and terminals, and quote text from others: control characters are escaped.
fn write_line(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        if c.is_control() {
            write!(f, "{}", c.escape_default())?;
        } else {
            f.write_char(c)?;
        }
    }
    Ok(())
}

impl std::error::Error for JsonError {}

/// An object: its keys and the texts of their values, in the order of the text.
#[derive(Debug)]
pub struct Object<'a> {
    whole: &'a str,
    path: String,
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Takes `text` apart. Errors: it is not one object, is nested deeper than [`MAX_DEPTH`], or has a key twice.
    pub fn parse(text: &'a str) -> Result<Self, JsonError> {
        check_depth(text)?;
        Self::part(text, text, String::new())
    }

    fn part(whole: &'a str, text: &'a str, path: String) -> Result<Self, JsonError> {
        let pairs: Pairs<'a> = serde_json::from_str(text).map_err(|e| JsonError {
            line: line_of(whole, text) + e.line().max(1) - 1,
            field: path.clone(),
            what: without_position(&e),
        })?;
        let object = Self {
            whole,
            path,
            fields: pairs.0,
        };
        let mut sorted: Vec<_> = object.fields.iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        match sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => {
                let field = Field {
                    object: &object,
                    key: &pair[1].0,
                    raw: pair[1].1,
                };
                Err(field.error("given twice".to_owned()))
            }
            None => Ok(object),
        }
    }

    /// The fields in the order of the text.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_, 'a>> {
        self.fields.iter().map(|(key, raw)| Field {
            object: self,
            key: key.as_ref(),
            raw,
        })
    }

    /// The error about a missing field.
    pub fn missing(&self, key: &str, what: &str) -> JsonError {
        JsonError {
            line: 0,
            field: self.path_of(key),
            what: format!("is missing: {what}"),
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

/// A field of an object.
#[derive(Debug, Clone, Copy)]
pub struct Field<'o, 'a> {
    object: &'o Object<'a>,
    /// Its key.
    pub key: &'o str,
    /// The text of its value.
    pub raw: &'a RawValue,
}

impl<'o, 'a> Field<'o, 'a> {
    /// True for `null`: it means the same as a missing field, everywhere.
    pub fn is_null(self) -> bool {
        self.raw.get() == "null"
    }

    /// Reads the value. An error names the field.
    pub fn read<T>(
        self,
        read: impl FnOnce(&'a RawValue) -> Result<T, String>,
    ) -> Result<T, JsonError> {
        read(self.raw).map_err(|what| self.error(what))
    }

    /// Reads the value; `None` for `null`.
    pub fn optional<T>(
        self,
        read: impl FnOnce(&'a RawValue) -> Result<T, String>,
    ) -> Result<Option<T>, JsonError> {
        match self.is_null() {
            true => Ok(None),
            false => self.read(read).map(Some),
        }
    }

    /// Reads a whole number within `range`.
    pub fn integer<T: TryFrom<i64>>(self, range: RangeInclusive<i64>) -> Result<T, JsonError> {
        self.read(|raw| integer(raw, range))
    }

    /// The object that is the value.
    pub fn child(self) -> Result<Object<'a>, JsonError> {
        if !self.raw.get().starts_with('{') {
            return Err(self.error(expected("an object", self.raw)));
        }
        let path = self.object.path_of(self.key);
        Object::part(self.object.whole, self.raw.get(), path)
    }

    /// The entries of the list that is the value, as fields that errors call by the same name. `wanted` is the word for
    /// the list.
    pub fn entries(self, wanted: &str) -> Result<impl Iterator<Item = Self>, JsonError> {
        let entries: Vec<&'a RawValue> =
            self.read(|raw| serde_json::from_str(raw.get()).map_err(|_| expected(wanted, raw)))?;
        Ok(entries.into_iter().map(move |raw| Self { raw, ..self }))
    }

    /// The objects of the list that is the value. Errors call the first one `key[0]`.
    pub fn objects(self) -> Result<Vec<Object<'a>>, JsonError> {
        let entries = self.entries("a list of objects")?.enumerate();
        let object = |(at, entry): (usize, Self)| {
            let key = format!("{}[{at}]", self.key);
            Field { key: &key, ..entry }.child()
        };
        entries.map(object).collect()
    }

    /// An error about this field.
    pub fn error(self, what: String) -> JsonError {
        JsonError {
            line: line_of(self.object.whole, self.raw.get()),
            field: self.object.path_of(self.key),
            what,
        }
    }

    /// The error about an unknown field. It names the known field that is most like it.
    pub fn unknown(self, known: &[&str]) -> JsonError {
        self.error(format!(
            "unknown field; {}",
            hint(self.key, known, "fields")
        ))
    }
}

/// A hint for an unknown name: the known one that is most like it, or else all of them, which are `kind` in the plural.
pub fn hint(name: &str, known: &[&str], kind: &str) -> String {
    match (nearest(name, known), known) {
        (Some(right), _) => format!("did you mean {right:?}?"),
        (None, []) => "there are none here".to_owned(),
        (None, _) => format!("the {kind} here are {}", known.join(", ")),
    }
}

struct Pairs<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::with_capacity(16);
                while let Some(Key(key)) = map.next_key()? {
                    pairs.push((key, map.next_value()?));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}

/// A key. It is borrowed from the text unless it has escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(key)))
            }
            fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

fn check_depth(text: &str) -> Result<(), JsonError> {
    let (mut depth, mut in_string, mut escaped, mut line) = (0usize, false, false, 1usize);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'\n' => line += 1,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            let what = format!("nested deeper than {MAX_DEPTH} levels");
            return Err(JsonError {
                line,
                field: String::new(),
                what,
            });
        }
    }
    Ok(())
}

/// The line of `part`, a slice of `whole`, from 1.
fn line_of(whole: &str, part: &str) -> usize {
    let offset = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    match whole.as_bytes().get(..offset) {
        Some(before) => 1 + before.iter().filter(|&&b| b == b'\n').count(),
        None => 0,
    }
}

fn without_position(e: &serde_json::Error) -> String {
    let text = e.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

/// False if no key and no text of this JSON can have these small letters, digits and underlines, even as capitals. It
/// saves reading records that cannot be wanted.
pub fn may_have(json: &[u8], word: &str) -> bool {
    std::str::from_utf8(json).map_or(true, |text| {
        let small = text.to_ascii_lowercase();
        // Only this escape stands for such a character.
        small.contains(word) || small.contains("\\u")
    })
}

/// The words `expected a string, got a number`.
pub fn expected(wanted: &str, got: &RawValue) -> String {
    let got = match got.get().as_bytes().first() {
        Some(b'"') if serde_json::from_str::<String>(got.get()).is_err() => {
            "a string with half a surrogate pair in it"
        }
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b't' | b'f' | b'n') | None => got.get(),
        Some(_) => "a number",
    };
    format!("expected {wanted}, got {got}")
}

/// Reads a string.
pub fn string(raw: &RawValue) -> Result<String, String> {
    serde_json::from_str(raw.get()).map_err(|_| expected("a string", raw))
}

/// Reads `true` or `false`.
pub fn boolean(raw: &RawValue) -> Result<bool, String> {
    serde_json::from_str(raw.get()).map_err(|_| expected("true or false", raw))
}

/// Reads a whole number within `range`.
pub fn integer<T: TryFrom<i64>>(raw: &RawValue, range: RangeInclusive<i64>) -> Result<T, String> {
    let wanted = || format!("a whole number from {} to {}", range.start(), range.end());
    let number = serde_json::from_str::<i64>(raw.get()).map_err(|_| expected(&wanted(), raw))?;
    match T::try_from(number) {
        Ok(value) if range.contains(&number) => Ok(value),
        Ok(_) | Err(_) => Err(format!("expected {}, got {number}", wanted())),
    }
}

/// Reads a number to the last bit, so that printing it gives the same text again. (serde_json may be one bit off.)
pub fn number(raw: &RawValue) -> Result<f64, String> {
    let number = raw.get().parse::<f64>().ok();
    number
        .filter(|number| number.is_finite())
        .ok_or_else(|| expected("a finite number", raw))
}

/// Reads a list of strings.
pub fn strings(raw: &RawValue) -> Result<Vec<String>, String> {
    serde_json::from_str(raw.get()).map_err(|_| expected("a list of strings", raw))
}

/// Reads a duration: a number of seconds or a text such as "1h 30m".
pub fn span(raw: &RawValue) -> Result<Duration, String> {
    if let Ok(seconds) = serde_json::from_str::<f64>(raw.get()) {
        return units::span_from_secs(seconds);
    }
    match serde_json::from_str::<Cow<'_, str>>(raw.get()) {
        Ok(text) => units::parse_span(&text),
        Err(_) => Err(expected(
            "a duration such as \"90s\", or a number of seconds",
            raw,
        )),
    }
}

/// Reads a size in bytes: a number or a text such as "64K".
pub fn size(raw: &RawValue) -> Result<u64, String> {
    if let Ok(bytes) = serde_json::from_str::<u64>(raw.get()) {
        return Ok(bytes);
    }
    match serde_json::from_str::<Cow<'_, str>>(raw.get()) {
        Ok(text) => units::parse_size(&text),
        Err(_) => Err(expected(
            "a size such as \"64K\", or a number of bytes",
            raw,
        )),
    }
}

/// The known word that `word` is a likely misspelling of.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let length = word.chars().count();
    let limit = 1 + length / 4;
    known
        .iter()
        // The distance is at least the difference in length. So no table is made for a key of a megabyte.
        .filter(|k| k.chars().count().abs_diff(length) <= limit)
        .map(|k| (distance(word, k), *k))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, k)| k)
}

/// The edit distance; a swap of two neighbours counts as one change.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.to_lowercase().chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                let by_swap = if swap {
                    rows[i - 2][j - 2] + 1
                } else {
                    usize::MAX
                };
                let by_change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                by_change
                    .min(rows[i - 1][j] + 1)
                    .min(rows[i][j - 1] + 1)
                    .min(by_swap)
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_line_and_field() {
        let text = "{\n \"a\": 1,\n \"b\": {\n  \"c\": true\n }\n}";
        let object = Object::parse(text).unwrap();
        let child = object.fields().nth(1).unwrap().child().unwrap();
        let error = child.fields().next().unwrap().read(string).unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 4: b.c: expected a string, got true"
        );
        assert_eq!(
            Object::parse("{\n\"a\":1,\n\"a\":2}")
                .unwrap_err()
                .to_string(),
            "line 3: a: given twice"
        );
        assert_eq!(Object::parse("{\"a\":1}\n x").unwrap_err().line, 2);
        assert!(
            Object::parse("[1]")
                .unwrap_err()
                .to_string()
                .contains("expected a JSON object")
        );
    }

    #[test]
    fn errors_are_one_line() {
        let error = Object::parse("{\"a\\n\\u009b\": 1,\n\"a\\n\\u009b\": 2}").unwrap_err();
        assert_eq!(error.to_string(), "line 2: a\\n\\u{9b}: given twice");
    }

    #[test]
    fn what_is_quoted_is_plain_text() {
        let error = JsonError {
            line: 0,
            field: String::new(),
            what: "got \"\u{7f}\u{9b}1m\"".to_owned(),
        };
        assert_eq!(error.to_string(), "got \"\\u{7f}\\u{9b}1m\"");
    }

    #[test]
    fn half_a_surrogate_pair_is_named() {
        let object = Object::parse("{\"a\": \"\\ud83d\"}").unwrap();
        let error = object.fields().next().unwrap().read(string).unwrap_err();
        assert_eq!(
            error.what,
            "expected a string, got a string with half a surrogate pair in it"
        );
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(
            Object::parse(&deep)
                .unwrap_err()
                .to_string()
                .contains("nested deeper")
        );
        assert!(Object::parse(&format!("{{\"x\":\"{}\"}}", "[".repeat(100_000))).is_ok());
    }

    #[test]
    fn nearest_name() {
        assert_eq!(
            nearest("prioriy", &["priority", "timeout"]),
            Some("priority")
        );
        assert_eq!(
            nearest("tiemout", &["priority", "timeout"]),
            Some("timeout")
        );
        assert_eq!(nearest("frobnicate", &["priority", "timeout"]), None);
    }
}
