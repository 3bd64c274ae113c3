//! Bodies of AWS's Query protocol.

use std::fmt::Write as _;

/// The content type of such a body.
pub const CONTENT_TYPE: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// `a=1&b=2`, percent-encoded.
pub fn form(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        encode(name, &mut text);
        text.push('=');
        encode(value, &mut text);
    }
    text
}

/// All but the unreserved characters of RFC 3986, section 2.3.
fn encode(text: &str, to: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                to.push(char::from(byte));
            }
            // Writing to a string does not fail.
            _ => drop(write!(to, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::form;

    #[test]
    fn bodies_are_percent_encoded() {
        let pairs = [("Namespace", "AWS/SQS"), ("T", "2026-11-27T06:59:45Z é*~")];
        assert_eq!(
            form(&pairs),
            "Namespace=AWS%2FSQS&T=2026-11-27T06%3A59%3A45Z%20%C3%A9%2A~"
        );
    }
}
