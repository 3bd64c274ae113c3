//! The requests of hq's clients: JSON as Go reads it, or the fields of a form.

use super::Fail;
use crate::core::percent::decode_form;
use crate::http::Request;
use crate::http::dialect::go::GoPairs;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::num::{IntErrorKind, ParseIntError};

/// The text of a request, which [`Fields`] are read from.
pub enum Input {
    /// JSON, and whether bytes that are no UTF-8 were replaced.
    Json(String, bool),
    /// A form, or a query.
    Form(Vec<(String, String)>),
}

/// The fields of a request. The case of names does not matter; unknown fields are ignored.
pub enum Fields<'a> {
    /// Fields from JSON: the whole text, whether bytes of it were replaced, and its parts.
    Json(&'a str, bool, BTreeMap<String, &'a RawValue>),
    /// Fields from a form.
    Form(&'a [(String, String)]),
}

impl Input {
    /// The body, or the value of the parameter `payload` if there is one.
    pub fn of_body(request: &Request) -> Result<Self, Fail> {
        let kind = request.headers.get("content-type").unwrap_or_default();
        Self::new(&request.query, kind, &request.body)
    }

    /// As [`Self::of_body`], from its parts.
    pub fn new(query: &[(String, String)], kind: &str, body: &[u8]) -> Result<Self, Fail> {
        let text = String::from_utf8_lossy(body);
        let is_changed = matches!(text, Cow::Owned(_));
        let lower = kind.to_ascii_lowercase();
        let form = if lower.starts_with("application/x-www-form-urlencoded") {
            let wrong = || Fail(400, "the form is not UTF-8 in %xx".to_owned());
            Some(decode_form(&text).ok_or_else(wrong)?)
        } else if lower.starts_with("multipart/form-data") {
            Some(multipart(kind, &text))
        } else {
            None
        };
        let is_form = form.is_some();
        // A field of the body comes before the same one of the query.
        let pairs = form.into_iter().flatten().chain(query.iter().cloned());
        let pairs: Vec<_> = pairs.collect();
        if let Some(text) = whole(&pairs) {
            Ok(Self::Json(text, is_form && is_changed))
        } else if body.is_empty() {
            Ok(Self::Json("{}".to_owned(), false))
        } else if is_form {
            Ok(Self::Form(pairs))
        } else if lower.starts_with("application/json") {
            Ok(Self::Json(text.into_owned(), is_changed))
        } else {
            Err(Fail(415, "Unsupported Media Type".to_owned()))
        }
    }

    /// The query, or the value of its `payload` if there is one.
    pub fn of_query(request: &Request) -> Self {
        match whole(&request.query) {
            Some(text) => Self::Json(text, false),
            None => Self::Form(request.query.clone()),
        }
    }

    /// The fields.
    pub fn fields(&self) -> Result<Fields<'_>, Fail> {
        match self {
            Self::Form(pairs) => Ok(Fields::Form(pairs)),
            Self::Json(text, is_changed) => {
                // The text behind the first value is ignored.
                let mut reader = serde_json::Deserializer::from_str(text);
                let value = <&RawValue>::deserialize(&mut reader).map_err(|e| mistake(text, &e))?;
                if value.get() == "null" {
                    return Ok(Fields::Json(text, *is_changed, BTreeMap::new()));
                }
                if !value.get().starts_with('{') {
                    return Err(wrong_type(text, value, "object", ""));
                }
                let GoPairs::<&RawValue>(pairs) =
                    serde_json::from_str(value.get()).map_err(|e| mistake(text, &e))?;
                // Of a key that is given twice the last one counts, unless it is `null`.
                let said = pairs.into_iter().filter(|(_, raw)| raw.get() != "null");
                let lower = said.map(|(key, raw)| (key.to_lowercase(), raw));
                Ok(Fields::Json(text, *is_changed, lower.collect()))
            }
        }
    }
}

/// The parameter that holds a whole request.
fn whole(pairs: &[(String, String)]) -> Option<String> {
    let payload = pairs.iter().find(|(key, _)| key == "payload");
    payload
        .map(|(_, text)| text.clone())
        .filter(|text| !text.is_empty())
}

/// The text fields of a form in parts (RFC 7578); none if it is no form.
fn multipart(kind: &str, text: &str) -> Vec<(String, String)> {
    let boundary = kind.split(';').find_map(|part| {
        let value = part.trim().strip_prefix("boundary=")?;
        Some(format!("\r\n--{}", value.trim_matches('"')))
    });
    let Some(boundary) = boundary else {
        return Vec::new();
    };
    let text = format!("\r\n{text}");
    let parts = text.split(boundary.as_str()).skip(1);
    parts
        .filter_map(|part| {
            let (head, value) = part.split_once("\r\n\r\n")?;
            let (_, rest) = head.split_once("name=\"")?;
            let (name, _) = rest.split_once('"')?;
            Some((name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// The error as Go's decoder words it.
fn mistake(text: &str, e: &serde_json::Error) -> Fail {
    if e.is_eof() {
        return Fail(400, "unexpected EOF".to_owned());
    }
    let lines = text.split_inclusive('\n').take(e.line().saturating_sub(1));
    let offset = lines.map(str::len).sum::<usize>() + e.column();
    let bad = text
        .get(..offset)
        .and_then(|before| before.chars().next_back())
        .unwrap_or(' ');
    let error = format!("Syntax error: offset={offset}, error=invalid character '{bad}'");
    Fail(400, error)
}

fn wrong_type(text: &str, raw: &RawValue, expected: &str, field: &str) -> Fail {
    let value = raw.get();
    let start = (value.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let (got, end) = match value.as_bytes().first() {
        Some(b'{') => ("object".to_owned(), 1),
        Some(b'[') => ("array".to_owned(), 1),
        Some(b'"') => ("string".to_owned(), value.len()),
        Some(b't' | b'f') => ("bool".to_owned(), value.len()),
        // A number that does not fit is quoted.
        Some(_) | None if expected == "string" || expected == "bool" => {
            ("number".to_owned(), value.len())
        }
        Some(_) | None => (format!("number {value}"), value.len()),
    };
    let offset = start + end;
    if got == expected {
        // Half of a surrogate pair.
        let error = format!("Syntax error: offset={offset}, error=invalid \\u in string");
        return Fail(400, error);
    }
    let error = format!(
        "Unmarshal type error: expected={expected}, got={got}, field={field}, offset={offset}"
    );
    Fail(400, error)
}

fn not_a(kind: &str, text: &str, why: &str) -> Fail {
    let error = format!("strconv.Parse{kind}: parsing {text:?}: {why}");
    Fail(400, error)
}

fn why(e: &ParseIntError) -> &'static str {
    match e.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
        _ => "invalid syntax",
    }
}

impl Fields<'_> {
    fn raw(&self, key: &str) -> Option<(&str, &RawValue)> {
        match self {
            Self::Json(text, _, map) => map.get(key).map(|raw| (*text, *raw)),
            Self::Form(_) => None,
        }
    }

    fn form(&self, key: &str) -> Option<&str> {
        match self {
            Self::Json(..) => None,
            Self::Form(pairs) => {
                let pair = pairs.iter().find(|(name, _)| name == key);
                pair.map(|(_, value)| value.as_str())
                    .filter(|value| !value.is_empty())
            }
        }
    }

    fn of_json<T: for<'d> Deserialize<'d>>(
        &self,
        key: &str,
        expected: &str,
    ) -> Result<Option<T>, Fail> {
        self.raw(key)
            .map(|(text, raw)| {
                serde_json::from_str(raw.get()).map_err(|_| wrong_type(text, raw, expected, key))
            })
            .transpose()
    }

    /// A text; empty if there is none.
    pub fn string(&self, key: &str) -> Result<String, Fail> {
        let text = match self.form(key) {
            Some(text) => Some(text.to_owned()),
            None => self.of_json(key, "string")?,
        };
        Ok(text.unwrap_or_default())
    }

    /// A whole number; 0 if there is none.
    pub fn integer(&self, key: &str) -> Result<i64, Fail> {
        match self.form(key) {
            Some(text) => text.parse::<i64>().map_err(|e| not_a("Int", text, why(&e))),
            None => Ok(self.of_json(key, "int64")?.unwrap_or(0)),
        }
    }

    /// A number that is not negative.
    pub fn number(&self, key: &str) -> Result<Option<u64>, Fail> {
        match self.form(key) {
            // Rust would accept the sign.
            Some(text) if text.starts_with('+') => Err(not_a("Uint", text, "invalid syntax")),
            Some(text) => match text.parse::<u64>() {
                Ok(number) => Ok(Some(number)),
                Err(e) => Err(not_a("Uint", text, why(&e))),
            },
            None => self.of_json(key, "uint64"),
        }
    }

    /// A boolean; false if there is none.
    pub fn boolean(&self, key: &str) -> Result<bool, Fail> {
        match self.form(key) {
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(text) => Err(not_a("Bool", text, "invalid syntax")),
            None => Ok(self.of_json(key, "bool")?.unwrap_or(false)),
        }
    }

    /// Texts by name.
    pub fn map(&self, key: &str) -> Result<Option<BTreeMap<String, String>>, Fail> {
        let Some((text, raw)) = self.raw(key) else {
            return Ok(None);
        };
        let parts: BTreeMap<String, &RawValue> = serde_json::from_str(raw.get())
            .map_err(|_| wrong_type(text, raw, "map[string]string", key))?;
        let value = |raw: &RawValue| -> Result<String, Fail> {
            let value: Option<String> = serde_json::from_str(raw.get())
                .map_err(|_| wrong_type(text, raw, "string", key))?;
            Ok(value.unwrap_or_default())
        };
        let read = parts.into_iter().map(|(name, raw)| Ok((name, value(raw)?)));
        read.collect::<Result<_, Fail>>().map(Some)
    }

    /// Any value, as it was written. Errors: it is not UTF-8, and cannot be kept as it is.
    pub fn any(&self, key: &str) -> Result<Option<String>, Fail> {
        let Some((_, raw)) = self.raw(key) else {
            return Ok(None);
        };
        if matches!(self, Self::Json(_, true, _)) && raw.get().contains('\u{fffd}') {
            let error = format!("'{key}' is not UTF-8 and could not be delivered as it is");
            return Err(Fail(400, error));
        }
        Ok(Some(raw.get().to_owned()))
    }
}
