//! Where keys come from: the first source that has some. They are replaced before they expire, and when AWS refuses them.

mod container;
mod files;
mod machine;
mod profile;
mod sts;

use super::env::AwsEnv;
use super::error::{SqsError, SqsFault};
use super::keys::Keys;
use super::signed::Wires;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The sources, and the keys that are in use. Threads share them.
pub struct CredentialChain {
    env: AwsEnv,
    /// The profile to use and no other source, if one was asked for.
    profile: Option<String>,
    /// The region whose STS is asked.
    region: String,
    held: Mutex<Option<Arc<Keys>>>,
}

impl CredentialChain {
    /// The sources in this environment.
    pub fn new(env: &AwsEnv, profile: Option<&str>, region: &str) -> Self {
        Self {
            env: env.clone(),
            profile: profile.map(str::to_owned),
            region: region.to_owned(),
            held: Mutex::default(),
        }
    }

    /// The keys to sign with now.
    pub fn keys(&self, wires: &Wires) -> Result<Arc<Keys>, SqsError> {
        let mut held = self.held();
        let now = wires.clock.now();
        let old = held.take_if(|keys| keys.are_due(now));
        if let Some(keys) = &*held {
            return Ok(Arc::clone(keys));
        }
        let keys = match (self.fetch(wires), old) {
            (Ok(keys), _) => Arc::new(keys),
            (Err(e), Some(old)) if !old.have_expired(now) => {
                log::warn!("{e}; the present credentials are used until they expire");
                old
            }
            (Err(e), _) => return Err(e),
        };
        *held = Some(Arc::clone(&keys));
        Ok(keys)
    }

    /// Other keys than these, which AWS has refused.
    pub fn renewed(&self, wires: &Wires, refused: &Keys) -> Result<Arc<Keys>, SqsError> {
        let mut held = self.held();
        if let Some(keys) = &*held
            && **keys != *refused
        {
            // Another thread was faster.
            return Ok(Arc::clone(keys));
        }
        let keys = Arc::new(self.fetch(wires)?);
        *held = Some(Arc::clone(&keys));
        Ok(keys)
    }

    fn held(&self) -> MutexGuard<'_, Option<Arc<Keys>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the sources in their order. A source that is set up and fails is an error: other keys than the ones that are
    /// meant would be used.
    fn fetch(&self, wires: &Wires) -> Result<Keys, SqsError> {
        let files = profile::Profiles::new(&self.env, wires, &self.region);
        if let Some(profile) = &self.profile {
            return files.named(profile);
        }
        if let Some(keys) = self.of_environment()? {
            return Ok(keys);
        }
        if let Some(keys) = self.of_web_identity(wires)? {
            return Ok(keys);
        }
        let found = match self.env.get("AWS_PROFILE") {
            Some(profile) => Some(files.named(profile)?),
            None => files.default()?,
        };
        if let Some(keys) = found {
            return Ok(keys);
        }
        if let Some(keys) = container::keys(&self.env, wires)? {
            return Ok(keys);
        }
        machine::keys(&self.env, wires)?.ok_or_else(|| refusal("there are none"))
    }

    fn of_environment(&self) -> Result<Option<Keys>, SqsError> {
        let Some(id) = self.env.get("AWS_ACCESS_KEY_ID") else {
            return Ok(None);
        };
        let Some(secret) = self.env.get("AWS_SECRET_ACCESS_KEY") else {
            let why = "AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not";
            return Err(refusal(why));
        };
        let token = self.env.get("AWS_SESSION_TOKEN");
        Ok(Some(Keys {
            access_key_id: id.to_owned(),
            secret: secret.to_owned(),
            token: token.map(str::to_owned),
            expires: None,
        }))
    }

    fn of_web_identity(&self, wires: &Wires) -> Result<Option<Keys>, SqsError> {
        let file = self.env.get("AWS_WEB_IDENTITY_TOKEN_FILE");
        let (Some(file), Some(role)) = (file, self.env.get("AWS_ROLE_ARN")) else {
            return Ok(None);
        };
        let session = self.env.get("AWS_ROLE_SESSION_NAME");
        let sts = sts::Sts::new(&self.env, wires, &self.region)?;
        sts.assume_with_web_identity(role, session, file).map(Some)
    }
}

/// The operation that errors of this module name.
const OPERATION: &str = "credentials";

/// A setting is missing or wrong: people have to mend it.
fn refusal(why: impl std::fmt::Display) -> SqsError {
    SqsError::own(SqsFault::Denied, OPERATION, why)
}

/// A source that does not answer now.
fn silence(why: impl std::fmt::Display) -> SqsError {
    SqsError::own(SqsFault::Temporary, OPERATION, why)
}
