//! HTTP from the client's side: connections that are kept, and deadlines.

use crate::os::trust;
use std::sync::OnceLock;
use std::time::Duration;
use ureq::http::{HeaderMap, Method, Request, Response};
use ureq::{Agent, AsSendBody, Body, Error};

/// The longest answer that is read: ten messages of 1 MiB, each byte of them escaped.
const MOST_BYTES: u64 = 96 << 20;

/// The longest that a write may take.
const WRITE: Duration = Duration::from_secs(10);

/// The most connections that are kept for later. A bridge has a thread for each poll, and one for all other calls.
const MOST_KEPT: usize = 32;

/// Makes requests. Threads share its connections.
pub struct Transport {
    plain: Agent,
    secure: OnceLock<Agent>,
}

/// How long parts of an exchange may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Until there is a connection, TLS included.
    pub connect: Duration,
    /// The longest silence of the server while an answer is awaited.
    pub silence: Duration,
    /// The whole exchange: a server that sends a byte now and then is never silent.
    pub whole: Duration,
}

impl Limits {
    /// The limits for a call that the server answers at once.
    pub const PROMPT: Self = Self {
        connect: Duration::from_secs(10),
        silence: Duration::from_secs(10),
        whole: Duration::from_secs(300),
    };
}

/// A complete answer.
#[derive(Debug, Clone, Default)]
pub struct HttpAnswer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: String,
}

impl HttpAnswer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// True for a status from 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            plain: agent(false),
            secure: OnceLock::new(),
        }
    }
}

impl Transport {
    /// Sends a request and reads the whole answer, whatever its status is. The error is for people and quotes nothing of
    /// the request.
    pub fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: &str,
        limits: Limits,
    ) -> Result<HttpAnswer, String> {
        let agent = match url.starts_with("https:") {
            true => self.secure.get_or_init(|| agent(true)),
            false => &self.plain,
        };
        let has_body = method != Method::GET;
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = match has_body {
            true => run(agent, request.body(body), limits),
            false => run(agent, request.body(()), limits),
        };
        let mut response = sent.map_err(|e| e.to_string())?;
        let body = response.body_mut().with_config().limit(MOST_BYTES);
        let body = body
            .read_to_string()
            .map_err(|e| format!("the answer was cut off: {e}"))?;
        let (head, _) = response.into_parts();
        Ok(HttpAnswer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        })
    }
}

fn run<S: AsSendBody>(
    agent: &Agent,
    request: Result<Request<S>, ureq::http::Error>,
    limits: Limits,
) -> Result<Response<Body>, Error> {
    let request = agent
        .configure_request(request?)
        .timeout_connect(Some(limits.connect))
        .timeout_per_read(Some(limits.silence))
        .timeout_global(Some(limits.whole))
        .build();
    agent.run(request)
}

/// Without a proxy, as AWS's own library for JavaScript: some of the addresses are on the machine itself.
fn agent(is_secure: bool) -> Agent {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .max_idle_connections(MOST_KEPT)
        .max_idle_connections_per_host(MOST_KEPT)
        .timeout_per_write(Some(WRITE))
        .user_agent(concat!("pirn/", env!("CARGO_PKG_VERSION")))
        .accept("");
    if is_secure {
        config = config.tls_config(trust::tls());
    }
    config.build().new_agent()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn a_server_that_goes_on_for_ever_is_left() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n";
            let mut sent = stream.write_all(head);
            while sent.is_ok() {
                thread::sleep(Duration::from_millis(20));
                sent = stream.write_all(b" ");
            }
        });
        let limits = Limits {
            whole: Duration::from_millis(500),
            ..Limits::PROMPT
        };
        let answer = Transport::default().send(Method::POST, &url, &[], "", limits);
        assert!(answer.is_err());
        server.join().unwrap();
    }
}
