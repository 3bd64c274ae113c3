//! The target of a request: the text between its method and its version.

use super::method::Method;
use super::problem::Refused;
use crate::core::percent::decode;

/// Longest request target in bytes.
pub const MAX_TARGET: usize = 8 * 1024;

/// The parts of a target.
pub struct RequestTarget {
    /// The part before the `?`.
    pub path: String,
    /// The part behind it.
    pub query: String,
    /// The host of the absolute form.
    pub authority: Option<String>,
}

/// Takes a target apart: origin form, absolute form, or `*` for OPTIONS (RFC 9112 section 3.2).
pub fn read(method: &Method, text: &str) -> Result<RequestTarget, Refused> {
    if text.len() > MAX_TARGET {
        return Err(Refused::new(414, "the request target is too long"));
    }
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'#')
    {
        return Err(Refused::new(400, "the request target is malformed"));
    }
    let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
    let (authority, rest) = if text.starts_with('/') || (text == "*" && *method == Method::Options)
    {
        (None, text)
    } else if lower.starts_with("http://") || lower.starts_with("https://") {
        let rest = text.split_once("://").map_or("", |(_, rest)| rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        (Some(rest[..end].to_owned()), &rest[end..])
    } else {
        return Err(Refused::new(400, "the request target is malformed"));
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    Ok(RequestTarget {
        path: if path.is_empty() { "/" } else { path }.to_owned(),
        query: query.to_owned(),
        authority,
    })
}

/// The path, decoded.
pub fn decoded(path: &str) -> Result<String, Refused> {
    let text =
        decode(path, false).ok_or_else(|| Refused::new(400, "the path is not UTF-8 in %xx"))?;
    if text.chars().any(char::is_control) {
        return Err(Refused::new(
            400,
            "there is a control character in the path",
        ));
    }
    Ok(text)
}
