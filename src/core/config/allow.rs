//! The operator's list of hosts that jobs may call. It is checked against the address that is connected to.
//!
//! A name can lead anywhere: its owner may point it at a machine of the internal network. So a name, and `*`, stand for
//! public addresses only; an address that is not public has to be in the list itself, or in a network of the list.

use super::network::IpNetwork;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;

/// The list. The default is this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow(Vec<Pattern>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    host: Host,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    /// All public addresses.
    Any,
    /// The public addresses of this name.
    Name(String),
    /// The addresses of this network.
    Net(IpNetwork),
}

impl Default for Allow {
    fn default() -> Self {
        Self(
            [
                Host::Net(IpNetwork::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8)),
                Host::Net(IpNetwork::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 128)),
            ]
            .map(|host| Pattern { host, port: None })
            .to_vec(),
        )
    }
}

impl Allow {
    /// Reads `example.com`, `10.0.0.0/8`, `::1`, `*`; each may be followed by `:PORT`, IPv6 then in brackets.
    pub fn parse(patterns: &[String]) -> Result<Self, String> {
        patterns
            .iter()
            .map(|text| {
                pattern(text).ok_or_else(|| {
                    format!(
                        "{text:?}: expected a name, an address, a network such as 10.0.0.0/8, or *, and perhaps :PORT"
                    )
                })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// True if `host`, which leads to `address`, may be called at this port.
    pub fn permits(&self, host: &str, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        let host = host.trim_end_matches('.');
        self.0.iter().any(|pattern| {
            pattern.port.is_none_or(|only| only == port)
                && match &pattern.host {
                    Host::Any => is_public(address),
                    Host::Name(name) => name.eq_ignore_ascii_case(host) && is_public(address),
                    Host::Net(net) => net.contains(address),
                }
        })
    }

    /// The error about an address that is not permitted.
    pub fn refusal(address: IpAddr, port: u16) -> String {
        format!(
            "calling {address} at port {port} is not allowed; see url_allow under http in the config"
        )
    }

    /// The patterns as texts that [`Self::parse`] reads.
    pub fn to_strings(&self) -> Vec<String> {
        self.0.iter().map(Pattern::to_string).collect()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port) {
            (Host::Any, _) => f.write_str("*")?,
            (Host::Name(name), _) => f.write_str(name)?,
            (Host::Net(net), Some(_)) if net.is_ipv6() => write!(f, "[{net}]")?,
            (Host::Net(net), _) => write!(f, "{net}")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

fn pattern(text: &str) -> Option<Pattern> {
    if let Some(net) = IpNetwork::parse(text) {
        let host = Host::Net(net);
        return Some(Pattern { host, port: None });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (text, None),
    };
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let host = match (inner, host) {
        (Some(inner), _) => Host::Net(IpNetwork::parse(inner)?),
        (None, "*") => Host::Any,
        (None, host) => match IpNetwork::parse(host) {
            Some(net) => Host::Net(net),
            None => name(host)?,
        },
    };
    Some(Pattern { host, port })
}

fn name(text: &str) -> Option<Host> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let is_name = !text.is_empty()
        && text.chars().all(is_plain)
        // Digits and dots alone are a mistyped address.
        && !text.chars().all(|c| c.is_ascii_digit() || c == '.');
    is_name.then(|| Host::Name(text.trim_end_matches('.').to_owned()))
}

/// False for addresses of this machine, of private networks, and of special purposes (the IANA registries of
/// special-purpose addresses).
fn is_public(address: IpAddr) -> bool {
    let special: &[(&str, u8)] = match address {
        IpAddr::V4(_) => &[
            ("0.0.0.0", 8),
            ("10.0.0.0", 8),
            ("100.64.0.0", 10),
            ("127.0.0.0", 8),
            ("169.254.0.0", 16),
            ("172.16.0.0", 12),
            ("192.0.0.0", 24),
            ("192.0.2.0", 24),
            ("192.88.99.0", 24),
            ("192.168.0.0", 16),
            ("198.18.0.0", 15),
            ("198.51.100.0", 24),
            ("203.0.113.0", 24),
            ("224.0.0.0", 3),
        ],
        // Within the part that is given out at all (2000::/3): Teredo, documentation and 6to4.
        IpAddr::V6(_) => &[
            ("2001::", 23),
            ("2001:db8::", 32),
            ("2002::", 16),
            ("3fff::", 20),
        ],
    };
    let is_in = |(net, bits): &(&str, u8)| {
        net.parse()
            .is_ok_and(|net| IpNetwork::new(net, *bits).contains(address))
    };
    let is_given_out = match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => address.to_bits() >> 125 == 1,
    };
    is_given_out && !special.iter().any(is_in)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn permits(patterns: &[&str], host: &str, address: &str, port: u16) -> bool {
        let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
        let list = Allow::parse(&patterns).unwrap();
        assert_eq!(Allow::parse(&list.to_strings()).unwrap(), list);
        list.permits(host, address.parse().unwrap(), port)
    }

    #[test]
    fn this_machine_unless_told_otherwise() {
        let list = Allow::default();
        for (address, wanted) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("::2", false),
            ("0.0.0.0", false),
            ("::", false),
            ("169.254.169.254", false),
            ("192.168.0.1", false),
            ("8.8.8.8", false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(list.permits("localhost", address, 80), wanted, "{address}");
        }
    }

    #[test]
    fn names_stand_for_public_addresses() {
        let list = ["hooks.example", "*:443"];
        for (host, address, port, wanted) in [
            ("hooks.example", "8.8.8.8", 80, true),
            ("HOOKS.example.", "8.8.8.8", 80, true),
            ("other.example", "8.8.8.8", 80, false),
            ("other.example", "8.8.8.8", 443, true),
            ("hooks.example", "127.0.0.1", 80, false),
            ("hooks.example", "10.1.2.3", 443, false),
            ("hooks.example", "169.254.169.254", 80, false),
            ("hooks.example", "::ffff:10.0.0.1", 80, false),
            ("hooks.example", "2606:4700::1111", 80, true),
            ("hooks.example", "fd00::1", 80, false),
            ("hooks.example", "fe80::1", 80, false),
            ("hooks.example", "64:ff9b::a00:1", 80, false),
            ("hooks.example", "2002:a00:1::", 80, false),
        ] {
            assert_eq!(
                permits(&list, host, address, port),
                wanted,
                "{host} {address}"
            );
        }
    }

    #[test]
    fn networks_stand_for_themselves() {
        for (pattern, address, port, wanted) in [
            ("10.0.0.0/8", "10.255.0.1", 80, true),
            ("10.0.0.0/8", "11.0.0.1", 80, false),
            ("10.0.0.7", "10.0.0.7", 80, true),
            ("10.0.0.7:81", "10.0.0.7", 80, false),
            ("10.0.0.7:81", "10.0.0.7", 81, true),
            ("[fd00::/8]:81", "fd12::1", 81, true),
            ("fd00::/8", "fd12::1", 82, true),
            ("0.0.0.0/0", "169.254.169.254", 80, true),
            ("0.0.0.0/0", "::1", 80, false),
            ("::1", "::1", 1, true),
            ("::ffff:10.0.0.0/104", "10.9.9.9", 80, true),
            ("::ffff:10.0.0.0/104", "11.0.0.1", 80, false),
            ("[::ffff:10.0.0.7]:81", "::ffff:10.0.0.7", 81, true),
            ("::/0", "10.0.0.7", 80, false),
        ] {
            assert_eq!(
                permits(&[pattern], "any", address, port),
                wanted,
                "{pattern} {address}"
            );
        }
    }

    #[test]
    fn mistakes_are_refused() {
        for bad in [
            "",
            "a b",
            "10.0.0",
            "10.0.0.0/33",
            "http://x/",
            "x:",
            "x:99999",
            "[x]:1",
            "*.x",
        ] {
            assert!(Allow::parse(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
