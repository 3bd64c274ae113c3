//! Keys: what credentials are in the end.

use crate::core::time::Wall;
use serde::Deserialize;
use std::fmt;
use std::time::Duration;

/// Keys are replaced this long before they expire.
const RESERVE: Duration = Duration::from_secs(300);

/// A key pair, and until when it is good.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret: String,
    /// The token that goes with temporary keys.
    pub token: Option<String>,
    /// The end of temporary keys.
    pub expires: Option<Wall>,
}

/// The secrets do not show.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.access_key_id)
    }
}

/// Keys as programs and metadata servers write them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeysText {
    access_key_id: String,
    secret_access_key: String,
    #[serde(alias = "SessionToken")]
    token: Option<String>,
    expiration: Option<String>,
}

impl Keys {
    /// Reads the JSON object of a `credential_process`, a container or a machine. Errors do not quote it.
    pub fn read(json: &str) -> Result<Self, String> {
        let text: KeysText = serde_json::from_str(json).map_err(|_| {
            "expected a JSON object with AccessKeyId and SecretAccessKey".to_owned()
        })?;
        Self::new(
            text.access_key_id,
            text.secret_access_key,
            text.token,
            text.expiration.as_deref(),
        )
    }

    /// Keys of these texts. Errors: the expiration is no time.
    pub fn new(
        access_key_id: String,
        secret: String,
        token: Option<String>,
        expiration: Option<&str>,
    ) -> Result<Self, String> {
        let expires = expiration.map(Wall::parse).transpose();
        Ok(Self {
            access_key_id,
            secret,
            token: token.filter(|token| !token.is_empty()),
            expires: expires.map_err(|e| format!("Expiration: {e}"))?,
        })
    }

    /// True if it is time to get others.
    pub fn are_due(&self, now: Wall) -> bool {
        self.expires.is_some_and(|end| now.after(RESERVE) >= end)
    }

    /// True if the server does not take them any more.
    pub fn have_expired(&self, now: Wall) -> bool {
        self.expires.is_some_and(|end| now >= end)
    }
}
