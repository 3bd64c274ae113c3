//! URLs as people give them, and where a redirect leads.

/// The URL with what may not stand in one as `%XX`, and without its fragment.
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
    out
}

/// The scheme and what follows it.
pub fn scheme(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let mut chars = scheme.chars();
    let is_scheme = chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    is_scheme.then_some((scheme, rest))
}

/// The URL that `location` means, seen from `base`, which is a whole one (RFC 3986 section 5.2).
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

/// The path with `.` and `..` carried out.
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
    fn where_redirects_lead() {
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
    fn what_has_a_scheme() {
        assert_eq!(scheme("http://x"), Some(("http", "//x")));
        assert_eq!(scheme("not a url"), None);
        assert_eq!(scheme("/a:b"), None);
        assert_eq!(tidy(" http://x/a b#c "), "http://x/a%20b");
    }
}
