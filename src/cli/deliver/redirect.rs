//! URLs as people write them, and the targets of redirects.

use ureq::http::Uri;

/// The URL with forbidden characters as `%XX`, its scheme in lower case, and without its fragment.
pub fn tidy(url: &str) -> String {
    let url = url.trim();
    let url = url.split('#').next().unwrap_or(url);
    let mut out = String::with_capacity(url.len());
    for byte in url.bytes() {
        match byte {
            0..=b' ' | 0x7f.. | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                out.push_str(&format!("%{byte:02X}"));
            }
            byte => out.push(char::from(byte)),
        }
    }
    let length = scheme(&out).map_or(0, |(name, _)| name.len());
    if let Some(name) = out.get_mut(..length) {
        name.make_ascii_lowercase();
    }
    out
}

/// True if both lead to the same port of the same host by the same scheme: another port may be another user's. From
/// http to https at their usual ports also counts.
pub fn is_same_site(from: &str, to: &str) -> bool {
    match (site(from), site(to)) {
        (Some(from), Some(to)) => {
            from == to
                || (from.host == to.host
                    && (from.is_safe, from.port) == (false, 80)
                    && (to.is_safe, to.port) == (true, 443))
        }
        (_, _) => false,
    }
}

#[derive(PartialEq)]
struct UrlOrigin {
    host: String,
    port: u16,
    is_safe: bool,
}

fn site(url: &str) -> Option<UrlOrigin> {
    let uri: Uri = url.parse().ok()?;
    let is_safe = uri.scheme_str()? == "https";
    Some(UrlOrigin {
        host: uri.host()?.to_ascii_lowercase(),
        port: uri.port_u16().unwrap_or(if is_safe { 443 } else { 80 }),
        is_safe,
    })
}

/// The scheme and what follows it.
pub fn scheme(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let mut chars = scheme.chars();
    let is_scheme = chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    is_scheme.then_some((scheme, rest))
}

/// The URL that `location` means relative to `base`, which is absolute (RFC 3986 section 5.2).
pub fn join(base: &str, location: &str) -> String {
    let location = tidy(location);
    let Some((name, rest)) = scheme(base) else {
        return location;
    };
    if scheme(&location).is_some() {
        return location;
    }
    if location.starts_with("//") {
        return format!("{name}:{location}");
    }
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = path.split('?').next().unwrap_or_default();
    let path = if location.is_empty() || location.starts_with('?') {
        format!("{path}{location}")
    } else if location.starts_with('/') {
        without_dots(&location)
    } else {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        without_dots(&format!("{folder}/{location}"))
    };
    format!("{name}://{authority}{path}")
}

/// The path with `.` and `..` resolved.
fn without_dots(path: &str) -> String {
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (path, String::new()),
    };
    let mut parts: Vec<&str> = Vec::new();
    let mut rest = path.split('/').skip(1).peekable();
    while let Some(part) = rest.next() {
        let is_last = rest.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    parts.pop();
                }
                if is_last {
                    parts.push("");
                }
            }
            part => parts.push(part),
        }
    }
    format!("/{}{query}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_redirects() {
        let base = "http://a:1/b/c/d?q";
        for (location, wanted) in [
            ("http://x/y", "http://x/y"),
            ("//x/y", "http://x/y"),
            ("/y?z", "http://a:1/y?z"),
            ("y", "http://a:1/b/c/y"),
            ("../y", "http://a:1/b/y"),
            ("../../../../y", "http://a:1/y"),
            ("./", "http://a:1/b/c/"),
            ("..", "http://a:1/b/"),
            ("?z", "http://a:1/b/c/d?z"),
            ("", "http://a:1/b/c/d"),
            ("y z", "http://a:1/b/c/y%20z"),
            ("ftp://x", "ftp://x"),
        ] {
            assert_eq!(join(base, location), wanted, "{location}");
        }
        assert_eq!(join("http://a", "y"), "http://a/y");
    }

    #[test]
    fn same_sites() {
        for (from, to, wanted) in [
            ("http://a/x", "http://A:80/y", true),
            ("http://a/", "https://a/", true),
            ("http://a:80/", "https://a:443/", true),
            ("http://u:p@a/", "http://a/", true),
            ("https://a/", "http://a/", false),
            ("http://a:8080/", "https://a:8443/", false),
            ("http://a:8080/", "https://a/", false),
            ("http://a:1/", "http://a:2/", false),
            ("http://a/", "http://b/", false),
            ("http://a/", "http://a@b/", false),
            ("http://127.0.0.1/", "http://localhost/", false),
            ("http://a/", "not a url", false),
        ] {
            assert_eq!(is_same_site(from, to), wanted, "{from} {to}");
        }
    }

    #[test]
    fn schemes() {
        assert_eq!(scheme("http://x"), Some(("http", "//x")));
        assert_eq!(scheme("not a url"), None);
        assert_eq!(scheme("/a:b"), None);
        assert_eq!(tidy(" http://x/a b#c "), "http://x/a%20b");
        assert_eq!(tidy("HTTP://X/A"), "http://X/A");
        assert_eq!(tidy("//X/A"), "//X/A");
    }
}
