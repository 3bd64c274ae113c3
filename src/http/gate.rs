//! The checks of every request before its body is read: host, origin and token.
//!
//! A browser on this machine can reach a loopback address for any page that it shows. So a request must be *for* us
//! (Host: against DNS rebinding) and must not be *from* a page of somebody else's (Origin, Sec-Fetch-Site), whatever
//! it asks for.

use super::message::head::Head;
use super::message::problem::Refused;
use super::wire::peer::Peer;
use crate::core::config::http::HttpConfig;
use crate::core::config::rights::{Caller, Rights, Site, Way};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::net::IpAddr;

/// Judges host and origin. `local_ip`: the address that the client has connected to; `None` for a socket in the file
/// system, which no browser gets to.
pub fn check_site(
    head: &Head,
    local_ip: Option<IpAddr>,
    config: &HttpConfig,
) -> Result<(), Refused> {
    let named = head.headers.all("host").next();
    let host = match named.map(std::str::from_utf8) {
        None => None,
        Some(Ok(host)) => Some(host),
        Some(Err(_)) => return Err(Refused::new(400, "Host is not text")),
    };
    if let Some(ip) = local_ip {
        for host in host.iter().copied().chain(head.authority.as_deref()) {
            if !is_ours(host, ip, config) {
                let what = format!(
                    "this server is not {host:?}; add the name to \"hosts\" under \"http\" in the config if it is"
                );
                return Err(Refused::new(421, what));
            }
        }
    }
    let is_navigation = head.method.is_get()
        && head.headers.get("sec-fetch-mode") == Some("navigate")
        && head.headers.get("sec-fetch-dest") == Some("document");
    let foreign = || Refused::new(403, "requests from pages of other sites are refused");
    match head.headers.get("sec-fetch-site") {
        None if head.headers.has("sec-fetch-site") => return Err(foreign()),
        None | Some("same-origin" | "none") => {}
        // A link to the daemon may be followed: GET changes nothing, and the page with the link sees nothing.
        Some(_) if is_navigation => return Ok(()),
        Some(_) => return Err(foreign()),
    }
    match (head.headers.has("origin"), head.headers.get("origin"), host) {
        (false, _, _) => Ok(()),
        (true, Some(origin), Some(host)) if is_origin_of(origin, host) => Ok(()),
        (true, _, _) => Err(foreign()),
    }
}

/// True if the origin is the site that the request is for. Behind a proxy the scheme may be another one.
fn is_origin_of(origin: &str, host: &str) -> bool {
    let site = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    site.is_some_and(|site| site.eq_ignore_ascii_case(host))
}

/// True if a host is this server: the address that the client has connected to, `localhost` if that is a loopback
/// address, or a name in the config. Ports do not matter: they may be forwarded.
fn is_ours(host: &str, ip: IpAddr, config: &HttpConfig) -> bool {
    let Some(name) = without_port(host) else {
        return false;
    };
    let is_address = literal(name)
        .parse::<IpAddr>()
        .is_ok_and(|named| named.to_canonical() == ip);
    is_address
        || (ip.is_loopback() && name.eq_ignore_ascii_case("localhost"))
        || is_among(host, &config.hosts)
}

/// True if the host, with or without its port, is one of these names.
fn is_among(host: &str, names: &[String]) -> bool {
    let is = |known: &String, name: &str| known.eq_ignore_ascii_case(name);
    without_port(host)
        .is_some_and(|name| names.iter().any(|known| is(known, name) || is(known, host)))
}

/// An address as it is written outside of a URL: IPv6 without the brackets.
fn literal(name: &str) -> &str {
    name.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(name)
}

/// The host without its port. `None` if it is malformed.
fn without_port(host: &str) -> Option<&str> {
    let end = match host.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => host.find(':').unwrap_or(host.len()),
    };
    let (name, port) = host.split_at_checked(end)?;
    let is_port = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => port.is_empty(),
    };
    (is_port && !name.is_empty()).then_some(name)
}

/// The token that a client shows.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    /// The name that the token must have, if the client gives one.
    pub name: Option<String>,
    /// The token.
    pub token: String,
}

/// Reads `Authorization: Bearer TOKEN`, or `Basic` with name and token, since clients of qmd can send nothing else.
/// `None` unless there is exactly one such field.
pub fn shown_token(head: &Head) -> Option<Shown> {
    let mut shown = head.headers.all("authorization");
    let (scheme, token) = std::str::from_utf8(shown.next()?).ok()?.split_once(' ')?;
    let token = token.trim();
    if shown.next().is_some() {
        return None;
    }
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(Shown {
            name: None,
            token: token.to_owned(),
        }),
        "basic" => {
            let pair = String::from_utf8(STANDARD.decode(token).ok()?).ok()?;
            let (name, token) = pair.split_once(':')?;
            Some(Shown {
                name: Some(name.to_owned()),
                token: token.to_owned(),
            })
        }
        _ => None,
    }
}

/// The way of a request, which decides its rights without a token.
pub fn way(head: &Head, peer: Peer, config: &HttpConfig) -> Way {
    let named = head.headers.all("host").map(std::str::from_utf8);
    let named = named.chain(head.authority.as_deref().map(Ok));
    let sites =
        named.map(|host| host.map_or(Site::Foreign, |host| site_of(host, peer.reached, config)));
    let has = |name: &&str| head.headers.has(name);
    Way {
        user: peer.user,
        address: peer.address.map(|address| address.ip().to_canonical()),
        is_free: peer.is_free,
        is_local: peer.is_local,
        is_forwarded: ["forwarded", "via", "x-real-ip"].iter().any(has)
            || head.headers.has_prefix("x-forwarded"),
        is_call: ["x-pirn-job-id", "x-hq-job-id"].iter().any(has),
        site: sites.max().unwrap_or(Site::Loopback),
    }
}

/// Classifies a host. A socket in the file system has no address to compare it with.
fn site_of(host: &str, local_ip: Option<IpAddr>, config: &HttpConfig) -> Site {
    let is_loopback = host.is_empty()
        || without_port(host).is_some_and(|name| {
            let address = literal(name).parse::<IpAddr>();
            name.eq_ignore_ascii_case("localhost")
                || address.is_ok_and(|address| address.to_canonical().is_loopback())
        });
    let is_known = match local_ip {
        Some(ip) => is_ours(host, ip, config),
        None => is_loopback || is_among(host, &config.hosts),
    };
    match (is_known, is_loopback) {
        (true, true) => Site::Loopback,
        (true, false) => Site::Known,
        (false, _) => Site::Foreign,
    }
}

/// A caller with those of its rights that this request may use.
pub fn with_rights(head: &Head, name: Option<String>, granted: Rights) -> Caller {
    let rights = match head.method.is_safe() {
        true => granted.only_read(),
        false => granted,
    };
    Caller {
        name,
        granted,
        rights,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::http::message::head;

    fn status(fields: &str, ip: &str, hosts: &[&str]) -> u16 {
        let head =
            head::parse(format!("POST /v1/jobs HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes()).unwrap();
        let config = HttpConfig {
            hosts: hosts.iter().map(|h| (*h).to_owned()).collect(),
            ..HttpConfig::default()
        };
        let ip = (!ip.is_empty()).then(|| ip.parse().unwrap());
        check_site(&head, ip, &config).map_or_else(|e| e.status, |()| 200)
    }

    #[test]
    fn hosts() {
        for (host, ip, hosts, wanted) in [
            ("localhost:8080", "127.0.0.1", &[][..], 200),
            ("LOCALHOST", "::1", &[], 200),
            ("127.0.0.1:9", "127.0.0.1", &[], 200),
            ("[::1]:8080", "::1", &[], 200),
            ("[0:0::1]", "::1", &[], 200),
            ("127.0.0.2", "127.0.0.1", &[], 421),
            ("localhost.evil.example", "127.0.0.1", &[], 421),
            ("evil.example:8080", "127.0.0.1", &[], 421),
            ("127.0.0.1.evil.example", "127.0.0.1", &[], 421),
            ("localhost", "192.0.2.1", &[], 421),
            ("192.0.2.1", "192.0.2.1", &[], 200),
            ("pirn.example:443", "192.0.2.1", &["Pirn.Example"], 200),
            ("pirn.example:443", "192.0.2.1", &["pirn.example:80"], 421),
            ("localhost:80a", "127.0.0.1", &[], 421),
            ("[::1", "::1", &[], 421),
            ("", "127.0.0.1", &[], 421),
            ("anything", "", &[], 200),
        ] {
            assert_eq!(
                status(&format!("Host: {host}"), ip, hosts),
                wanted,
                "{host}"
            );
        }
    }

    #[test]
    fn ways() {
        let config = HttpConfig {
            hosts: vec!["pirn".to_owned()],
            ..HttpConfig::default()
        };
        let way = |target: &str, fields: &str, ip: &str| {
            let text = format!("POST {target} HTTP/1.0\r\n{fields}\r\n\r\n");
            let peer = Peer {
                address: None,
                reached: (!ip.is_empty()).then(|| ip.parse().unwrap()),
                user: None,
                is_free: false,
                is_local: true,
            };
            super::way(&head::parse(text.as_bytes()).unwrap(), peer, &config)
        };
        for (target, fields, ip, wanted) in [
            ("/", "Host: localhost:1", "127.0.0.1", Site::Loopback),
            ("/", "Host: [::1]", "::1", Site::Loopback),
            ("/", "A: b", "127.0.0.1", Site::Loopback),
            ("/", "Host: 127.0.0.1", "", Site::Loopback),
            ("/", "Host:", "", Site::Loopback),
            ("/", "Host: pirn:80", "127.0.0.1", Site::Known),
            ("/", "Host: pirn", "", Site::Known),
            ("/", "Host: 192.0.2.1", "192.0.2.1", Site::Known),
            ("/", "Host: 192.0.2.1", "", Site::Foreign),
            ("/", "Host: localhost", "192.0.2.1", Site::Foreign),
            ("/", "Host: evil.example", "", Site::Foreign),
            ("/", "Host: evil.example", "127.0.0.1", Site::Foreign),
            ("/", "Host: \u{e9}\u{e9}", "", Site::Foreign),
            ("http://pirn/", "Host: localhost", "127.0.0.1", Site::Known),
            ("http://x/", "Host: localhost", "", Site::Foreign),
        ] {
            assert_eq!(
                way(target, fields, ip).site,
                wanted,
                "{target} {fields} {ip}"
            );
        }
        for (fields, is_forwarded) in [
            ("X-Forwarded-For: a", true),
            ("x-forwarded: a", true),
            ("Forwarded:", true),
            ("VIA: a", true),
            ("X-Real-Ip: a", true),
            ("X-Request-Id: a", false),
        ] {
            assert_eq!(way("/", fields, "").is_forwarded, is_forwarded, "{fields}");
        }
    }

    #[test]
    fn tokens() {
        let shown = |fields: &str| {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
            let shown = shown_token(&head::parse(text.as_bytes()).unwrap())?;
            Some((shown.name.unwrap_or_default(), shown.token))
        };
        let pair = |name: &str, token: &str| Some((name.to_owned(), token.to_owned()));
        for (fields, wanted) in [
            ("Authorization: Bearer abc", pair("", "abc")),
            ("Authorization: bearer  abc", pair("", "abc")),
            ("Authorization: Basic bmFtZTpwOnc=", pair("name", "p:w")),
            ("Authorization: Basic bmFtZQ==", None),
            ("Authorization: Basic !", None),
            ("Authorization: Digest abc", None),
            ("Authorization: Bearer", None),
            ("Authorization: Bearer a\r\nAuthorization: Bearer a", None),
            ("A: b", None),
        ] {
            assert_eq!(shown(fields), wanted, "{fields}");
        }
    }

    #[test]
    fn origins() {
        for (fields, wanted) in [
            ("Origin: http://localhost:8080", 200),
            ("Origin: https://LOCALHOST:8080", 200),
            ("Origin: http://localhost:9090", 403),
            ("Origin: http://evil.example", 403),
            ("Origin: null", 403),
            ("Origin: \u{fffd}", 403),
            ("Sec-Fetch-Site: same-origin", 200),
            ("Sec-Fetch-Site: none", 200),
            ("Sec-Fetch-Site: same-site", 403),
            ("Sec-Fetch-Site: cross-site", 403),
            (
                "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document",
                403,
            ),
        ] {
            let fields = format!("Host: localhost:8080\r\n{fields}");
            assert_eq!(status(&fields, "127.0.0.1", &[]), wanted, "{fields}");
        }
    }
}
