//! Calls that are repeated: while the server is away or busy, and with new keys when AWS refuses the old ones.

use super::credentials::CredentialChain;
use super::endpoint::{AwsService, Endpoint};
use super::env::AwsEnv;
use super::error::{SqsError, SqsFault};
use super::keys::Keys;
use super::signed::{Unsigned, Wires};
use super::transport::HttpAnswer;
use crate::os::random;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// The longest wait before the second try.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// The longest wait before any other.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// How people lead us to AWS.
#[derive(Debug, Clone, Default)]
pub struct AwsSettings {
    /// The region; `None`: `$AWS_REGION`, else `us-east-1`.
    pub region: Option<String>,
    /// The URL of the endpoint; `None`: by the environment, else AWS's own.
    pub endpoint: Option<String>,
    /// The profile whose credentials are used; `None`: the first source that has some.
    pub profile: Option<String>,
    /// Allows plain HTTP to other machines.
    pub allow_http: bool,
}

/// Connections, credentials and settings. Clients and threads share one.
pub struct AwsAccess {
    wires: Wires,
    chain: CredentialChain,
    settings: AwsSettings,
    env: AwsEnv,
}

impl AwsAccess {
    /// Access as the settings and the environment say. Nothing is called yet.
    pub fn new(settings: &AwsSettings, env: &AwsEnv) -> Arc<Self> {
        let region = env.region(settings.region.as_deref());
        let profile = settings.profile.as_deref();
        Arc::new(Self {
            wires: Wires::default(),
            chain: CredentialChain::new(env, profile, region),
            settings: settings.clone(),
            env: env.clone(),
        })
    }

    /// The environment.
    pub fn env(&self) -> &AwsEnv {
        &self.env
    }

    /// The keys that are in use.
    pub fn keys(&self) -> Result<Arc<Keys>, SqsError> {
        self.chain.keys(&self.wires)
    }

    fn endpoint(&self, service: AwsService) -> Result<Endpoint, SqsError> {
        let AwsSettings {
            region,
            endpoint,
            allow_http,
            ..
        } = &self.settings;
        let region = self.env.region(region.as_deref());
        Endpoint::find(service, endpoint.as_deref(), region, *allow_http, &self.env)
    }
}

/// How often a call is made before it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience(pub u32);

impl Patience {
    /// For commands.
    pub const COMMAND: Self = Self(6);
    /// For bridges, which repeat a call themselves.
    pub const BRIDGE: Self = Self(1);

    /// No try has been made yet.
    pub fn tries(self) -> TriesLeft {
        TriesLeft {
            made: 1,
            most: self.0,
        }
    }
}

/// Counts the tries of a call.
#[derive(Debug)]
pub struct TriesLeft {
    made: u32,
    most: u32,
}

impl TriesLeft {
    /// Waits before the next try. False, at once, if there is none. The wait is anything up to 0.2 s x 2^n and 20 s, so
    /// that clients that failed together do not come again together.
    pub fn wait(&mut self) -> bool {
        if self.made >= self.most {
            return false;
        }
        let factor = 2u32.saturating_pow(self.made - 1);
        let longest = FIRST_WAIT.saturating_mul(factor).min(LONGEST_WAIT);
        thread::sleep(longest.mul_f64(dice()));
        self.made += 1;
        true
    }
}

/// A number from 0 to 1. Without random bytes it is 1: the longest wait.
fn dice() -> f64 {
    let first = |bytes: [u8; 32]| u16::from_le_bytes([bytes[0], bytes[1]]);
    random::bytes().map_or(1.0, |bytes| f64::from(first(bytes)) / f64::from(u16::MAX))
}

/// Makes the calls of one service.
pub struct AwsCaller {
    access: Arc<AwsAccess>,
    endpoint: Endpoint,
    patience: Patience,
}

impl AwsCaller {
    /// A caller of this service. Errors: the settings of its endpoint are wrong.
    pub fn new(
        access: &Arc<AwsAccess>,
        service: AwsService,
        patience: Patience,
    ) -> Result<Self, SqsError> {
        Ok(Self {
            access: Arc::clone(access),
            endpoint: access.endpoint(service)?,
            patience,
        })
    }

    /// The access that it uses.
    pub fn access(&self) -> &Arc<AwsAccess> {
        &self.access
    }

    /// The service's address.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// How often it makes a call.
    pub fn patience(&self) -> Patience {
        self.patience
    }

    /// Makes a call. `read` reads the body of its answer; an answer that cannot be read counts as none.
    pub fn call<T>(
        &self,
        request: &Unsigned<'_>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, SqsError> {
        let mut tries = self.patience.tries();
        loop {
            let read = |answer: HttpAnswer| {
                read(&answer.body)
                    .map_err(|why| SqsError::own(SqsFault::Temporary, request.operation, why))
            };
            match self.with_good_keys(request).and_then(read) {
                Err(e) if e.is_temporary() && tries.wait() => log::debug!("again: {e}"),
                result => return result,
            }
        }
    }

    fn with_good_keys(&self, request: &Unsigned<'_>) -> Result<HttpAnswer, SqsError> {
        let AwsAccess { wires, chain, .. } = &*self.access;
        let keys = chain.keys(wires)?;
        match wires.exchange(&self.endpoint, &keys, request) {
            Err(e) if e.fault == SqsFault::StaleKeys => {
                log::debug!("new credentials: {e}");
                let keys = chain.renewed(wires, &keys)?;
                wires.exchange(&self.endpoint, &keys, request)
            }
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_bounded() {
        assert!(!Patience::BRIDGE.tries().wait());
        let mut tries = Patience(3).tries();
        assert!(tries.wait() && tries.wait() && !tries.wait());
        assert!((0.0..=1.0).contains(&dice()));
    }
}
