//! Signature Version 4 of AWS, for `POST /` without a query.
//!
//! Rules: AWS, "Create a signed AWS API request". The tests compare with headers that AWS's own libraries have made.

use crate::core::hex::hex;
use crate::core::time::Wall;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// The secret half of a key, and the scope in which it signs.
#[derive(Clone, Copy)]
pub struct Signer<'a> {
    /// The public half of the key.
    pub access_key_id: &'a str,
    /// The secret half.
    pub secret: &'a str,
    /// The region, as `eu-west-1`.
    pub region: &'a str,
    /// The signing name of the service, as `sqs`.
    pub service: &'a str,
}

impl Signer<'_> {
    /// The value of the header `authorization` for a request that is sent at `date`, a [`stamp`]. It covers `headers`,
    /// whose names are in lower case; the stamp must be among them.
    pub fn authorization(&self, date: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
        let mut headers: Vec<(&str, String)> = headers
            .iter()
            .map(|(name, value)| (*name, single_spaced(value)))
            .collect();
        headers.sort();
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines: String = headers
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let payload = hex(&Sha256::digest(body));
        let canonical = format!("POST\n/\n\n{lines}\n{names}\n{payload}");
        let day = date.split('T').next().unwrap_or_default();
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let digest = hex(&Sha256::digest(canonical));
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}");
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for part in [day, self.region, self.service, "aws4_request", &text] {
            key = keyed_hash(&key, part);
        }
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
            self.access_key_id,
            hex(&key)
        )
    }
}

/// The value of `x-amz-date`: `20261127T065814Z`.
pub fn stamp(at: Wall) -> String {
    let stamp = Timestamp::from_nanosecond(i128::from(at.0)).unwrap_or_default();
    stamp.strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn keyed_hash(key: &[u8], text: &str) -> Vec<u8> {
    // HMAC takes keys of any length (RFC 2104), so there is always a hash.
    Hmac::<Sha256>::new_from_slice(key).map_or_else(
        |_| Vec::new(),
        |mac| {
            mac.chain_update(text.as_bytes())
                .finalize()
                .into_bytes()
                .to_vec()
        },
    )
}

fn single_spaced(value: &str) -> String {
    let words: Vec<&str> = value.split(' ').filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Requests that the libraries of AWS for JavaScript (2 and 3) and Python have signed.
    const CAPTURED: &str = include_str!("../../../tests/remote/captures/signed.txt");
    /// The secret of all of them, from AWS's documentation.
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    /// The body, in which `{x*9}` stands for nine times x.
    fn expanded(body: &str) -> String {
        let mut parts = body.split("{x*");
        let mut text = parts.next().unwrap().to_owned();
        for part in parts {
            let (count, rest) = part.split_once('}').unwrap();
            text += &"x".repeat(count.parse().unwrap());
            text += rest;
        }
        text
    }

    #[test]
    fn captured_signatures_are_reproduced() {
        let mut lines = CAPTURED.lines();
        let mut count = 0;
        while let Some(first) = lines.next() {
            let head = std::iter::once(first).chain(lines.by_ref().take_while(|l| !l.is_empty()));
            let mut headers: Vec<(&str, &str)> =
                head.map(|line| line.split_once(": ").unwrap()).collect();
            let body = expanded(lines.next().unwrap());
            lines.next();
            let (name, wanted) = headers.pop().unwrap();
            assert_eq!(name, "authorization");
            let scope: Vec<&str> = wanted.split('/').collect();
            let date = headers.iter().find(|(name, _)| *name == "x-amz-date");
            let date = date.unwrap().1;
            let signer = Signer {
                access_key_id: "AKIDEXAMPLE",
                secret: SECRET,
                region: scope[2],
                service: scope[3],
            };
            // The signer sorts them itself.
            headers.reverse();
            let signed = signer.authorization(date, &headers, body.as_bytes());
            assert_eq!(signed, wanted, "{headers:?} {body:.400}");
            count += 1;
        }
        assert_eq!(count, 496);
    }

    #[test]
    fn stamps() {
        let at = Wall::parse("2026-11-27T06:58:14.999Z").unwrap();
        assert_eq!(stamp(at), "20261127T065814Z");
    }
}
