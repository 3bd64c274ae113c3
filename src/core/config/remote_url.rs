//! URLs of queues on other servers:
//!
//! - `sqs:QUEUE`, perhaps with `*` at its end, and `?region=R&endpoint=URL`
//! - `redis://[USER:PASSWORD@]HOST[:PORT][/DB]#QUEUE`, and the same with `rediss` for TLS
//! - `redis+unix:///PATH#QUEUE`, perhaps with `?db=N&user=U&pass=P`
//!
//! A URL of Redis may have `list=KEY` in its query: a list that other programs put jobs into. `%xx` stands for a byte.
//! No text that is made here holds a password.

use crate::core::id::JobId;
use crate::core::percent::decode;
use std::fmt;

/// A queue on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteUrl {
    /// On SQS.
    Sqs(SqsUrl),
    /// On Redis.
    Redis(RedisUrl),
}

/// A queue on SQS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqsUrl {
    /// Its full name. A `*` at the end stands for any text.
    pub queue: String,
    /// The region, if the URL names it.
    pub region: Option<String>,
    /// The URL of the server, if it is not that of the region.
    pub endpoint: Option<String>,
}

/// A queue on Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// The server.
    pub server: RedisServer,
    /// The queue. A name that ends in `:failed` stands for the failed jobs of another one.
    pub queue: String,
    /// A list of jobs that is emptied into the queue.
    pub list: Option<String>,
}

/// A database of a Redis server, and who we are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisServer {
    /// The place where it listens.
    pub address: RedisAddress,
    /// The number of the database.
    pub db: u32,
    /// Our name; without it there may still be a password.
    pub user: Option<String>,
    /// Our password.
    pub password: Option<RedisPassword>,
}

/// A place where a Redis server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisAddress {
    /// A port.
    Tcp {
        /// A name or an address, IPv6 without brackets.
        host: String,
        /// The port.
        port: u16,
        /// True if the connection is encrypted.
        tls: bool,
    },
    /// The absolute path of a socket.
    Unix(String),
}

/// A password. No message shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisPassword(String);

impl RedisPassword {
    /// The password itself, for the server only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RedisPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

const REDIS_PORT: u16 = 6379;

impl RemoteUrl {
    /// Reads a URL. Errors say what was wrong, without the text of the URL.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(unknown(text));
        };
        match scheme {
            "sqs" => sqs(rest).map(Self::Sqs),
            "redis" => redis(rest, false).map(Self::Redis),
            "rediss" => redis(rest, true).map(Self::Redis),
            "redis+unix" => redis_unix(rest).map(Self::Redis),
            other => Err(unknown(other)),
        }
    }

    /// The queue's name on the server.
    pub fn queue(&self) -> &str {
        match self {
            Self::Sqs(url) => &url.queue,
            Self::Redis(url) => &url.queue,
        }
    }
}

fn unknown(scheme: &str) -> String {
    format!(
        "expected sqs:QUEUE, redis://HOST#QUEUE, rediss://HOST#QUEUE or redis+unix:///PATH#QUEUE, got one that begins with {scheme:?}"
    )
}

fn sqs(rest: &str) -> Result<SqsUrl, String> {
    let (queue, query) = split(rest, '?');
    let name = queue.strip_suffix('*').unwrap_or(queue);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if queue.is_empty() || name.len() > 80 || !name.chars().all(is_plain) {
        return Err(
            "expected the name of a queue after sqs:, of letters, digits, - and _, perhaps with * at its end"
                .to_owned(),
        );
    }
    let [region, endpoint] = pairs(query, ["region", "endpoint"])?;
    Ok(SqsUrl {
        queue: queue.to_owned(),
        region,
        endpoint,
    })
}

fn redis(rest: &str, tls: bool) -> Result<RedisUrl, String> {
    let (place, query, queue) = parts(rest)?;
    let (authority, db) = split(place, '/');
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = match user.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (user, None),
    };
    let (host, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':').unwrap_or(port)),
        None => split(host, ':'),
    };
    if host.is_empty() {
        return Err("the URL names no host".to_owned());
    }
    let port = match port {
        "" => REDIS_PORT,
        port => port
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or("the port is no number from 1 to 65535")?,
    };
    let [list] = pairs(query, ["list"])?;
    Ok(RedisUrl {
        server: RedisServer {
            address: RedisAddress::Tcp {
                host: plain(host)?,
                port,
                tls,
            },
            db: number(db)?,
            user: filled(plain(user)?),
            password: password.map(plain).transpose()?.map(RedisPassword),
        },
        queue,
        list,
    })
}

fn redis_unix(rest: &str) -> Result<RedisUrl, String> {
    let (path, query, queue) = parts(rest)?;
    if !path.starts_with('/') {
        return Err("expected an absolute path after redis+unix://".to_owned());
    }
    let [list, db, user, password] = pairs(query, ["list", "db", "user", "pass"])?;
    Ok(RedisUrl {
        server: RedisServer {
            address: RedisAddress::Unix(plain(path)?),
            db: number(&db.unwrap_or_default())?,
            user,
            password: password.map(RedisPassword),
        },
        queue,
        list,
    })
}

/// The place, the query and the queue of a URL of Redis.
fn parts(rest: &str) -> Result<(&str, &str, String), String> {
    let rest = rest
        .strip_prefix("//")
        .ok_or("expected // after the colon")?;
    let (rest, queue) = split(rest, '#');
    let (place, query) = split(rest, '?');
    Ok((place, query, queue_name(&plain(queue)?)?))
}

/// A queue's name, from which ids of jobs are made.
fn queue_name(name: &str) -> Result<String, String> {
    if name.is_empty() {
        return Err("the URL names no queue; add #QUEUE to its end".to_owned());
    }
    if let Some(bad) = name.chars().find(|c| "*{}".contains(*c)) {
        return Err(format!("a queue on Redis has no {bad} in its name"));
    }
    if name.len() > 80 {
        return Err("a queue on Redis has at most 80 bytes in its name".to_owned());
    }
    let base = name.strip_suffix(":failed").unwrap_or(name);
    JobId::new(base).map_err(|e| format!("no queue can be called that: the name {e}"))?;
    Ok(name.to_owned())
}

fn number(db: &str) -> Result<u32, String> {
    match db {
        "" => Ok(0),
        db => db.parse().map_err(|_| {
            "the database is no number; the queue's name belongs behind a #".to_owned()
        }),
    }
}

/// The values of these keys in a query.
fn pairs<const N: usize>(query: &str, keys: [&str; N]) -> Result<[Option<String>; N], String> {
    let mut values = keys.map(|_| None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = split(pair, '=');
        let known = keys.iter().position(|known| *known == key);
        let place = known.and_then(|i| values.get_mut(i));
        let place = place
            .ok_or_else(|| format!("unknown {key:?} in the query; known: {}", keys.join(", ")))?;
        *place = filled(plain(value)?);
    }
    Ok(values)
}

fn filled(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn plain(text: &str) -> Result<String, String> {
    let text = decode(text, false).filter(|text| !text.contains('\0'));
    text.ok_or_else(|| "a % is not followed by two hex digits; write %25 for a %".to_owned())
}

fn split(text: &str, at: char) -> (&str, &str) {
    text.split_once(at).unwrap_or((text, ""))
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqs(url) => write!(f, "sqs:{}", url.queue),
            Self::Redis(url) => write!(f, "{}#{}", url.server, url.queue),
        }
    }
}

impl fmt::Display for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            RedisAddress::Tcp { host, port, tls } => {
                let s = if *tls { "s" } else { "" };
                match host.contains(':') {
                    true => write!(f, "redis{s}://[{host}]")?,
                    false => write!(f, "redis{s}://{host}")?,
                }
                if *port != REDIS_PORT {
                    write!(f, ":{port}")?;
                }
                match self.db {
                    0 => Ok(()),
                    db => write!(f, "/{db}"),
                }
            }
            RedisAddress::Unix(path) => {
                write!(f, "redis+unix://{path}")?;
                match self.db {
                    0 => Ok(()),
                    db => write!(f, "?db={db}"),
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn redis_url(text: &str) -> RedisUrl {
        match RemoteUrl::parse(text).unwrap() {
            RemoteUrl::Redis(url) => url,
            RemoteUrl::Sqs(_) => panic!("{text}"),
        }
    }

    fn tcp(host: &str, port: u16, tls: bool) -> RedisAddress {
        let host = host.to_owned();
        RedisAddress::Tcp { host, port, tls }
    }

    #[test]
    fn redis_urls() {
        let url = redis_url("redis://me:a%40b:c@db.example:7000/3?list=a%20b#work");
        assert_eq!(url.server.address, tcp("db.example", 7000, false));
        assert_eq!((url.server.db, url.queue.as_str()), (3, "work"));
        assert_eq!(url.server.user.as_deref(), Some("me"));
        assert_eq!(url.server.password.as_ref().unwrap().reveal(), "a@b:c");
        assert_eq!(url.list.as_deref(), Some("a b"));
        assert!(!format!("{url:?}").contains("a@b"));
        assert_eq!(
            RemoteUrl::Redis(url).to_string(),
            "redis://db.example:7000/3#work"
        );

        let url = redis_url("rediss://:pw@[::1]#a:failed");
        assert_eq!(url.server.address, tcp("::1", 6379, true));
        assert_eq!((url.server.user, url.server.db), (None, 0));
        assert_eq!(url.queue, "a:failed");

        let url = redis_url("redis+unix:///run/redis.sock?db=2&pass=p#q");
        let path = RedisAddress::Unix("/run/redis.sock".to_owned());
        assert_eq!((url.server.address, url.server.db), (path, 2));
        assert_eq!(url.server.password.unwrap().reveal(), "p");
    }

    #[test]
    fn sqs_urls() {
        let url =
            RemoteUrl::parse("sqs:qdone_*?region=eu-west-1&endpoint=http://localhost:1").unwrap();
        assert_eq!(
            url,
            RemoteUrl::Sqs(SqsUrl {
                queue: "qdone_*".to_owned(),
                region: Some("eu-west-1".to_owned()),
                endpoint: Some("http://localhost:1".to_owned()),
            })
        );
        assert!(RemoteUrl::parse("sqs:a.fifo").is_ok());
        for bad in ["sqs:", "sqs:a*b", "sqs:a b", "sqs:a?zone=x"] {
            assert!(RemoteUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn errors_say_what_is_missing_and_no_password() {
        for (text, part) in [
            ("work", "expected sqs:QUEUE"),
            ("amqp://h", "begins with \"amqp\""),
            ("redis:h#q", "expected //"),
            ("redis://#q", "names no host"),
            ("redis://h", "add #QUEUE"),
            ("redis://u:secret@h/work", "add #QUEUE"),
            ("redis://u:secret@h/work#q", "behind a #"),
            ("redis://u:secret@h:x#q", "from 1 to 65535"),
            ("redis://h#q*", "no * in its name"),
            ("redis://h#a/b", "a slash"),
            ("redis://h#:failed", "is empty"),
            ("redis://h?lsit=k#q", "known: list"),
            ("redis://u:50%@h#q", "%25"),
            ("redis+unix://run/x#q", "absolute"),
        ] {
            let error = RemoteUrl::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
