//! Connections to a server.

use crate::core::config::remote_url::{RedisAddress, RedisServer};
use crate::remote::engine::Trouble;
use redis::{
    Client, Connection, ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisConnectionInfo,
    RedisError, RedisResult,
};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The longest time to connect, and to wait for an answer that does not wait for anything itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers that mean that the server will not have us before somebody changes something.
const FINAL: &str = "WRONGTYPE WRONGPASS NOAUTH NOPERM CROSSSLOT MOVED";

/// A server, and connections to it that no thread uses at the moment.
pub(super) struct RedisLink {
    /// Its URL without a password.
    name: String,
    client: Client,
    idle: Mutex<Vec<Connection>>,
}

impl RedisLink {
    pub(super) fn new(server: &RedisServer) -> Result<Self, Trouble> {
        let address = match &server.address {
            RedisAddress::Tcp { host, port, tls } => match tls {
                false => ConnectionAddr::Tcp(host.clone(), *port),
                true => {
                    // An error says that there is a provider already.
                    let _ = rustls::crypto::ring::default_provider().install_default();
                    ConnectionAddr::TcpTls {
                        host: host.clone(),
                        port: *port,
                        insecure: false,
                        tls_params: None,
                    }
                }
            },
            RedisAddress::Unix(path) => ConnectionAddr::Unix(path.into()),
        };
        let mut us = RedisConnectionInfo::default()
            .set_db(server.db.into())
            .set_lib_name("pirn", env!("CARGO_PKG_VERSION"));
        if let Some(user) = &server.user {
            us = us.set_username(user);
        }
        if let Some(password) = &server.password {
            us = us.set_password(password.reveal());
        }
        let name = server.to_string();
        let info = address.into_connection_info();
        let client = info.and_then(|info| Client::open(info.set_redis_settings(us)));
        Ok(Self {
            client: client.map_err(|e| trouble(&name, &e))?,
            name,
            idle: Mutex::default(),
        })
    }

    /// Its URL without a password.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Makes a call whose answer comes at the latest after `wait` and the patience for any answer. A connection over
    /// which a call has failed is not used again, since the rest of an answer may still come.
    pub(super) fn call<T>(
        &self,
        wait: Duration,
        call: impl FnOnce(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, Trouble> {
        self.attempt(wait, call)
            .map_err(|e| trouble(&self.name, &e))
    }

    fn attempt<T>(
        &self,
        wait: Duration,
        call: impl FnOnce(&mut Connection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let idle = self.idle().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.client.get_connection_with_timeout(PATIENCE)?,
        };
        connection.set_write_timeout(Some(PATIENCE))?;
        connection.set_read_timeout(Some(wait.saturating_add(PATIENCE)))?;
        let answer = call(&mut connection);
        match &answer {
            Ok(_) => self.idle().push(connection),
            // The server has gone, and with it the other connections.
            Err(e) if e.is_io_error() => self.idle().clear(),
            Err(_) => {}
        }
        answer
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True if the stream has no consumer group, or there is no stream. Scripts of old servers hide the code in the text.
pub(super) fn is_no_group(e: &RedisError) -> bool {
    e.code() == Some("NOGROUP") || e.to_string().contains("NOGROUP")
}

fn trouble(server: &str, e: &RedisError) -> Trouble {
    let code = e.code().unwrap_or_default();
    let text = match e.detail() {
        Some(detail) if !code.is_empty() => format!("{server}: {code} {detail}"),
        Some(_) | None => format!("{server}: {e}"),
    };
    let asks_too_much = ["unknown command", "DB index"].map(|part| text.contains(part));
    let is_refusal = match e.kind() {
        ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig => true,
        _ => FINAL.split(' ').any(|last| text.contains(last)) || asks_too_much.contains(&true),
    };
    match is_refusal {
        true => Trouble::Refused(text),
        false => Trouble::Unreachable(text),
    }
}
