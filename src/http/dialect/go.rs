//! JSON as Go's encoding/json reads it, for clients of servers written in Go.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// The fields of one object, in the order given.
#[derive(Debug, Default)]
pub struct GoFields(Vec<(String, Box<RawValue>)>);

/// An object's keys and values in the order given, a key as often as it is there.
pub struct GoPairs<V>(pub Vec<(String, V)>);

impl GoFields {
    /// Reads the first value of a body and ignores the rest. `null` is an object without fields.
    /// Bytes that are not UTF-8 are replaced. Errors are sentences; for an empty body `EOF`.
    pub fn first(body: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(body);
        let mut values = serde_json::Deserializer::from_str(&text).into_iter::<&RawValue>();
        let value = match values.next() {
            None => return Err("EOF".to_owned()),
            Some(Err(e)) if e.is_eof() => return Err("unexpected EOF".to_owned()),
            Some(Err(e)) => return Err(e.to_string()),
            Some(Ok(value)) => value.get(),
        };
        match value.as_bytes().first() {
            Some(b'{') => match serde_json::from_str(value) {
                Ok(GoPairs(pairs)) => Ok(Self(pairs)),
                Err(e) => Err(e.to_string()),
            },
            Some(b'n') => Ok(Self::default()),
            Some(_) | None => Err("expected a JSON object".to_owned()),
        }
    }

    /// The value of a key in whatever case; the last one, if it is given twice. `null` is no value.
    pub fn get(&self, key: &str) -> Option<&RawValue> {
        let mut values = self.0.iter().rev();
        let found =
            values.find(|(known, value)| known.eq_ignore_ascii_case(key) && value.get() != "null");
        found.map(|(_, value)| value.as_ref())
    }

    /// A string; empty if it is not there.
    pub fn string(&self, key: &str) -> Result<String, String> {
        let read = |value: &RawValue| serde_json::from_str(value.get());
        let value = self.get(key).map_or(Ok(String::new()), read);
        value.map_err(|_| format!("{key}: expected a string"))
    }

    /// A list of strings, those that are `null` empty.
    pub fn strings(&self, key: &str) -> Result<Vec<String>, String> {
        let read = |value: &RawValue| serde_json::from_str::<Vec<Option<String>>>(value.get());
        let list = self.get(key).map_or(Ok(Vec::new()), read);
        let list = list.map_err(|_| format!("{key}: expected a list of strings"))?;
        Ok(list.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// An object of strings, those that are `null` empty.
    pub fn texts(&self, key: &str) -> Result<BTreeMap<String, String>, String> {
        type Texts = BTreeMap<String, Option<String>>;
        let read = |value: &RawValue| serde_json::from_str::<Texts>(value.get());
        let texts = self.get(key).map_or(Ok(Texts::new()), read);
        let texts = texts.map_err(|_| format!("{key}: expected an object of strings"))?;
        let filled = texts.into_iter().map(|(k, v)| (k, v.unwrap_or_default()));
        Ok(filled.collect())
    }

    /// Bytes: base64 in a string, in which line ends do not count, or a list of numbers.
    pub fn bytes(&self, key: &str) -> Result<Vec<u8>, String> {
        let wrong = || format!("{key}: expected base64");
        let Some(value) = self.get(key) else {
            return Ok(Vec::new());
        };
        if value.get().starts_with('[') {
            let list: Vec<Option<u8>> = serde_json::from_str(value.get()).map_err(|_| wrong())?;
            return Ok(list.into_iter().map(Option::unwrap_or_default).collect());
        }
        let text: String = serde_json::from_str(value.get()).map_err(|_| wrong())?;
        BASE64
            .decode(text.replace(['\r', '\n'], ""))
            .map_err(|_| wrong())
    }
}

/// Base64 with padding; surplus bits of the last character are ignored.
pub const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for GoPairs<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for PairsVisitor<V> {
            type Value = GoPairs<V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<GoPairs<V>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(GoPairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bodies() {
        let read = |text: &str| GoFields::first(text.as_bytes());
        assert_eq!(read("").unwrap_err(), "EOF");
        assert_eq!(read(" \n").unwrap_err(), "EOF");
        assert_eq!(read("{\"a\"").unwrap_err(), "unexpected EOF");
        assert!(read("[]").is_err() && read("1").is_err() && read("x").is_err());
        assert_eq!(read("null").unwrap().string("a").unwrap(), "");
        let fields =
            read(r#"{"A": "one", "a": "two", "b": null, "c": ["x", null], "d": 1} rubbish"#)
                .unwrap();
        assert_eq!(fields.string("a").unwrap(), "two");
        assert_eq!(fields.string("b").unwrap(), "");
        assert_eq!(fields.strings("c").unwrap(), ["x", ""]);
        assert!(fields.string("d").is_err() && fields.strings("a").is_err());
    }

    #[test]
    fn bytes_in_base64() {
        for (text, wanted) in [
            (r#""aGk=""#, Some(&b"hi"[..])),
            (r#""aG\r\nk=""#, Some(b"hi")),
            (r#""aGl=""#, Some(b"hi")),
            ("[104, 105]", Some(b"hi")),
            ("null", Some(b"")),
            (r#""""#, Some(b"")),
            (r#""aG k=""#, None),
            (r#""aGk""#, None),
            (r#""_-==""#, None),
            ("[256]", None),
            ("1", None),
        ] {
            let fields = GoFields::first(format!("{{\"data\": {text}}}").as_bytes()).unwrap();
            assert_eq!(fields.bytes("data").ok().as_deref(), wanted, "{text}");
        }
    }
}
