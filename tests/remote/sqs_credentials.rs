//! Credentials: each source, their order, and that nothing of them is said.

use crate::replay::{Replay, Seen, Told};
use crate::spool::Spool;
use pirn::core::time::Wall;
use pirn::os::clock;
use pirn::remote::sqs::caller::{AwsAccess, AwsSettings, Patience};
use pirn::remote::sqs::client::SqsClient;
use pirn::remote::sqs::error::{SqsError, SqsFault};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// A home directory, and the variables of an environment.
struct Home {
    dir: TempDir,
    env: Vec<(String, String)>,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".aws")).unwrap();
        let home = dir.path().to_str().unwrap().to_owned();
        let env = vec![("HOME".to_owned(), home)];
        Self { dir, env }.set("AWS_EC2_METADATA_DISABLED", "true")
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    fn write(self, path: &str, text: &str) -> Self {
        fs::write(self.dir.path().join(path), text).unwrap();
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn access(&self) -> Arc<AwsAccess> {
        self.with_profile(None)
    }

    fn with_profile(&self, profile: Option<&str>) -> Arc<AwsAccess> {
        let settings = AwsSettings {
            profile: profile.map(str::to_owned),
            ..AwsSettings::default()
        };
        AwsAccess::new(&settings, &self.env.iter().cloned().collect())
    }

    /// Id, secret and token.
    fn keys(&self) -> Result<(String, String, Option<String>), SqsError> {
        let keys = self.access().keys()?;
        Ok((
            keys.access_key_id.clone(),
            keys.secret.clone(),
            keys.token.clone(),
        ))
    }

    fn id(&self) -> String {
        self.keys().unwrap().0
    }
}

fn owned(id: &str, secret: &str, token: Option<&str>) -> (String, String, Option<String>) {
    (id.to_owned(), secret.to_owned(), token.map(str::to_owned))
}

fn file(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Keys as JSON, good for so long.
fn keys_for(id: &str, span: Duration) -> String {
    let end = clock::wall().after(span);
    format!(
        "{{\"AccessKeyId\":\"{id}\",\"SecretAccessKey\":\"s\",\"Token\":\"t\",\"Expiration\":\"{end}\"}}"
    )
}

/// The captured exchanges with a machine's metadata service and STS: method and path, further lines, and the answer.
fn captured(at: usize) -> (String, String, String) {
    let all = include_str!("captures/credentials.txt");
    let block = all.split("== ").nth(at + 1).unwrap();
    let (head, answer) = block.split_once("\n\n").unwrap();
    let (line, fields) = head.split_once('\n').unwrap_or((head, ""));
    (line.to_owned(), fields.to_owned(), answer.trim().to_owned())
}

#[test]
fn the_captured_exchange_with_a_machine_is_read() {
    let server = Replay::start(|seen| {
        let exchange = (0..3).map(captured).find(|(line, ..)| *line == seen.line);
        exchange.map_or((404, String::new(), String::new()), |(_, _, body)| {
            (200, String::new(), body)
        })
    });
    let home = Home::new()
        .set(
            "AWS_EC2_METADATA_SERVICE_ENDPOINT",
            &format!("{}/", server.url()),
        )
        .set("AWS_EC2_METADATA_DISABLED", "false");
    let wanted = owned("test-key", "test-secret-key", Some("test-session-token"));
    assert_eq!(home.keys(), Ok(wanted));
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    for (seen, at) in seen.iter().zip(0..) {
        let (line, fields, _) = captured(at);
        let (name, value) = fields.split_once(": ").unwrap();
        assert_eq!(
            (seen.line.as_str(), seen.headers[name].as_str()),
            (line.as_str(), value)
        );
    }
}

#[test]
fn without_any_source_the_error_says_what_to_do() {
    let server = Replay::start(|_| (404, String::new(), String::new()));
    let home = Home::new();
    let error = home.keys().unwrap_err();
    assert_eq!(error.fault, SqsFault::Denied);
    assert!(
        error
            .to_string()
            .starts_with("credentials: there are none; give credentials by --profile,")
    );
    // A machine without a role, and no machine of EC2.
    let machine = |url: &str| {
        let home = Home::new().set("AWS_EC2_METADATA_DISABLED", "no");
        home.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
            .keys()
            .unwrap_err()
    };
    let no_role = Replay::start(|seen| match seen.line.as_str() {
        "PUT /latest/api/token" => (200, String::new(), "token".to_owned()),
        _ => (404, String::new(), String::new()),
    });
    assert_eq!(machine(&no_role.url()).message, "there are none");
    assert_eq!(machine("http://127.0.0.1:1").message, "there are none");
    drop(server);
}

#[test]
fn the_first_source_that_has_some_wins() {
    let container = Replay::start(|_| {
        (
            200,
            String::new(),
            keys_for("CONTAINER", Duration::from_secs(3600)),
        )
    });
    let mut home = Home::new().set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container.url());
    assert_eq!(home.id(), "CONTAINER");
    home = home.write(
        ".aws/config",
        "[default]\naws_access_key_id = CONFIG\naws_secret_access_key = s\n\
        [profile other]\naws_access_key_id = OTHER\naws_secret_access_key = s\n",
    );
    assert_eq!(home.id(), "CONFIG");
    home = home.write(
        ".aws/credentials",
        "[default]\naws_access_key_id = FILE\naws_secret_access_key = s\n",
    );
    assert_eq!(home.id(), "FILE");
    home = home.set("AWS_PROFILE", "other");
    assert_eq!(home.id(), "OTHER");
    let sts = Replay::start(|_| (200, String::new(), captured(3).2));
    fs::write(home.path("token"), "web-token\n").unwrap();
    let token = home.path("token");
    home = home
        .set("AWS_ENDPOINT_URL_STS", &sts.url())
        .set("AWS_WEB_IDENTITY_TOKEN_FILE", file(&token))
        .set("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r");
    assert_eq!(home.id(), "ASIAEXAMPLE");
    home = home
        .set("AWS_ACCESS_KEY_ID", "ENV")
        .set("AWS_SECRET_ACCESS_KEY", "s");
    assert_eq!(home.id(), "ENV");
    let profile = home.with_profile(Some("other"));
    assert_eq!(profile.keys().unwrap().access_key_id, "OTHER");
}

#[test]
fn a_web_identity_is_changed_for_keys() {
    let sts = Replay::start(|_| (200, String::new(), captured(3).2));
    let home = Home::new().write("token", "header.body.end\n");
    let token = home.path("token");
    let home = home
        .set("AWS_ENDPOINT_URL", &sts.url())
        .set("AWS_WEB_IDENTITY_TOKEN_FILE", file(&token))
        .set("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r");
    let wanted = owned("ASIAEXAMPLE", "secret-of-sts", Some("token+of/sts=="));
    assert_eq!(home.keys(), Ok(wanted));
    let seen = &sts.seen()[0];
    assert_eq!(
        seen.body,
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&\
         RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fr&RoleSessionName=pirn&WebIdentityToken=header.body.end"
    );
    assert_eq!(seen.headers.get("authorization"), None);
    let keys = home.access().keys().unwrap();
    let end = Wall::parse("2026-11-27T08:37:24.786287Z").unwrap();
    assert_eq!(keys.expires, Some(end));
}

#[test]
fn a_profile_may_assume_roles() {
    let sts = Replay::start(|_| (200, String::new(), captured(3).2));
    let home = Home::new()
        .set("AWS_ENDPOINT_URL_STS", &sts.url())
        .write(".aws/credentials", "[base]\naws_access_key_id = BASE\naws_secret_access_key = s\n\
            [self]\naws_access_key_id = SELF\naws_secret_access_key = s\n")
        .write(".aws/config", "[profile jobs]\nrole_arn = arn:r1\nsource_profile = base\nexternal_id = E/1\n\
            role_session_name = nightly\nduration_seconds = 900\n\
            [profile chain]\nrole_arn = arn:r2\nsource_profile = jobs\n\
            [profile self]\nrole_arn = arn:r3\nsource_profile = self\n\
            [profile loop]\nrole_arn = arn:r4\nsource_profile = pool\n\
            [profile pool]\nrole_arn = arn:r5\nsource_profile = loop\n\
            [profile bare]\nrole_arn = arn:r6\n[profile nobody]\nrole_arn = arn:r7\nsource_profile = gone\n");
    let id = |profile: &str| {
        Ok(home
            .with_profile(Some(profile))
            .keys()?
            .access_key_id
            .clone())
    };
    assert_eq!(id("jobs"), Ok("ASIAEXAMPLE".to_owned()));
    let seen = sts.seen();
    assert_eq!(
        seen[0].body,
        "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Ar1&RoleSessionName=nightly&DurationSeconds=900&\
         ExternalId=E%2F1"
    );
    let signer = |seen: &Seen| {
        let signature = &seen.headers["authorization"];
        assert!(
            signature.contains("/us-east-1/sts/aws4_request"),
            "{signature}"
        );
        let credential = signature.split("Credential=").nth(1).unwrap();
        credential.split('/').next().unwrap().to_owned()
    };
    assert_eq!(signer(&seen[0]), "BASE");
    assert!(id("chain").is_ok() && id("self").is_ok());
    let signers: Vec<String> = sts.seen()[1..].iter().map(signer).collect();
    assert_eq!(signers, ["BASE", "ASIAEXAMPLE", "SELF"]);
    assert_eq!(
        sts.seen()[2].headers["x-amz-security-token"],
        "token+of/sts=="
    );
    for (profile, why) in [
        ("loop", "too many profiles"),
        ("bare", "profile \"bare\": role_arn needs source_profile"),
        ("nobody", "source_profile \"gone\" has no credentials"),
        (
            "none",
            "there is no profile \"none\"; there are bare, base, chain, jobs, loop, nobody, pool, self",
        ),
    ] {
        let error: SqsError = id(profile).unwrap_err();
        assert!(error.message.contains(why), "{error}");
    }
}

#[test]
fn a_refused_role_names_itself() {
    let denied = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>";
    let sts = Replay::start(move |_| (403, String::new(), denied.to_owned()));
    let home = Home::new().set("AWS_ENDPOINT_URL_STS", &sts.url()).write(
        ".aws/config",
        "[default]\nrole_arn = arn:r\nsource_profile = default\n\
            aws_access_key_id = A\naws_secret_access_key = s\n",
    );
    let error = home.keys().unwrap_err();
    assert_eq!(error.fault, SqsFault::Denied);
    assert!(
        error
            .to_string()
            .starts_with("credentials: arn:r: no (AccessDenied)"),
        "{error}"
    );
}

#[test]
fn programs_print_keys() {
    let home = Home::new().write(
        "keys",
        "{\"Version\":1,\"AccessKeyId\":\"P\",\"SecretAccessKey\":\"s\",\"SessionToken\":\"t\"}",
    );
    let keys = file(&home.path("keys")).to_owned();
    let text = format!(
        "[default]\ncredential_process = cat '{keys}'\n[profile broken]\ncredential_process = echo '{{\"AccessKeyId\": 7, \
         \"SecretAccessKey\": \"hush-hush\"}}'\n[profile failing]\ncredential_process = echo hush-hush; exit 3\n\
         [profile sso]\nsso_session = x\n[profile half]\naws_access_key_id = A\n"
    );
    let home = home.write(".aws/config", &text);
    assert_eq!(home.keys(), Ok(owned("P", "s", Some("t"))));
    let error = |profile| {
        home.with_profile(Some(profile))
            .keys()
            .unwrap_err()
            .to_string()
    };
    for (profile, why) in [
        (
            "broken",
            "profile \"broken\": credential_process: expected a JSON object with AccessKeyId",
        ),
        (
            "failing",
            "profile \"failing\": credential_process: it failed with exit status: 3",
        ),
        ("sso", "aws configure export-credentials"),
        (
            "half",
            "aws_access_key_id is there, and aws_secret_access_key is not",
        ),
    ] {
        let error = error(profile);
        assert!(error.contains(why) && !error.contains("hush"), "{error}");
    }
}

#[test]
fn the_agent_of_a_container_is_shown_its_token() {
    let agent = Replay::start(|seen| match seen.headers.get("authorization") {
        Some(token) if token == "agent-token" => {
            (200, String::new(), keys_for("C", Duration::from_secs(3600)))
        }
        _ => (403, String::new(), "{\"message\": \"no\"}".to_owned()),
    });
    let url = format!("{}/v2/keys", agent.url());
    let home = || Home::new().set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url);
    assert_eq!(
        home()
            .set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "agent-token")
            .id(),
        "C"
    );
    assert_eq!(agent.seen()[0].line, "GET /v2/keys");
    let with_file = home().write("token", "agent-token\n");
    let token = with_file.path("token");
    assert_eq!(
        with_file
            .set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file(&token))
            .id(),
        "C"
    );
    assert_eq!(home().keys().unwrap_err().fault, SqsFault::Denied);
    for (name, value) in [
        (
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "http://example.com/keys",
        ),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "ftp://127.0.0.1/keys"),
        (
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            ".evil.example.com/",
        ),
    ] {
        let error = Home::new().set(name, value).keys().unwrap_err();
        assert!(error.message.contains(name), "{error}");
    }
}

/// An agent whose keys are good for so many seconds, each time others; after so many calls it fails.
fn agent(seconds: u64, most: usize) -> Replay {
    let calls = AtomicUsize::new(0);
    Replay::start(move |_| -> Told {
        let n = calls.fetch_add(1, Ordering::SeqCst) + 1;
        match n <= most {
            true => (
                200,
                String::new(),
                keys_for(&format!("K{n}"), Duration::from_secs(seconds)),
            ),
            false => (500, String::new(), String::new()),
        }
    })
}

#[test]
fn keys_are_replaced_five_minutes_before_their_end() {
    let two_ids = |seconds, most| {
        let agent = agent(seconds, most);
        let home = Home::new().set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &agent.url());
        let access = home.access();
        let id = || access.keys().unwrap().access_key_id.clone();
        (id(), id())
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(two_ids(310, 9), pair("K1", "K1"));
    assert_eq!(two_ids(290, 9), pair("K1", "K2"));
    // Credentials that are still good serve while there are no others.
    assert_eq!(two_ids(290, 1), pair("K1", "K1"));
    let expired = agent(0, 1);
    let home = Home::new().set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &expired.url());
    let access = home.access();
    access.keys().unwrap();
    assert!(access.keys().unwrap_err().is_temporary());
}

#[test]
fn refused_keys_are_replaced_once() {
    for refusal in [
        "ExpiredToken",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
    ] {
        let agent = agent(3600, 9);
        let sqs = Replay::start(move |seen| {
            match seen.headers["authorization"].contains("Credential=K1/") {
                true => (
                    403,
                    String::new(),
                    format!("{{\"__type\": \"com.amazon.coral.service#{refusal}\"}}"),
                ),
                false => (200, String::new(), "{\"QueueUrl\": \"u\"}".to_owned()),
            }
        });
        let home = Home::new()
            .set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &agent.url())
            .set("AWS_ENDPOINT_URL_SQS", &sqs.url());
        let client = SqsClient::new(&home.access(), Patience::BRIDGE).unwrap();
        assert_eq!(client.queue_url("q").unwrap(), "u");
        assert_eq!(client.queue_url("q").unwrap(), "u");
        assert_eq!((agent.seen().len(), sqs.seen().len()), (2, 3));
        assert_eq!(sqs.seen()[0].headers["x-amz-security-token"], "t");
    }
    // Others that are refused as well are final.
    let sqs = Replay::start(|_| {
        (
            403,
            String::new(),
            "{\"__type\": \"a#ExpiredTokenException\"}".to_owned(),
        )
    });
    let home = Home::new()
        .set("AWS_ACCESS_KEY_ID", "A")
        .set("AWS_SECRET_ACCESS_KEY", "hush-hush")
        .set("AWS_SESSION_TOKEN", "hush-token")
        .set("AWS_ENDPOINT_URL_SQS", &sqs.url());
    let client = SqsClient::new(&home.access(), Patience::COMMAND).unwrap();
    let error = client.queue_url("q").unwrap_err();
    assert!(error.is_refusal() && sqs.seen().len() == 2, "{error}");
    let keys = client.access().keys().unwrap();
    for said in [error.to_string(), format!("{error:?}"), format!("{keys:?}")] {
        assert!(!said.contains("hush"), "{said}");
    }
}

#[test]
fn nothing_of_them_is_logged() {
    let sts = Replay::start(|_| {
        let keys = captured(3).2.replace("token+of/sts==", "hush-sts-token");
        (200, String::new(), keys)
    });
    let sqs = Replay::start(|_| {
        (
            403,
            String::new(),
            "{\"__type\": \"a#AccessDenied\"}".to_owned(),
        )
    });
    let spool = Spool::serving(&[]);
    let token = spool.beside("token");
    fs::write(&token, "hush-web-token").unwrap();
    let pull = |env: &[(&str, &str)]| {
        let mut command = spool.command(["pull", "--drain", "sqs:q"]);
        let command = command
            .env("PIRN_LOG", "trace")
            .env("AWS_ENDPOINT_URL_STS", sts.url())
            .env("AWS_ENDPOINT_URL_SQS", sqs.url())
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .envs(env.iter().copied());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(78));
        String::from_utf8(output.stderr).unwrap()
    };
    let web = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file(&token)),
        ("AWS_ROLE_ARN", "arn:r"),
    ];
    let own = [
        ("AWS_ACCESS_KEY_ID", "A"),
        ("AWS_SECRET_ACCESS_KEY", "hush-secret"),
        ("AWS_SESSION_TOKEN", "hush-token"),
    ];
    for said in [pull(&web), pull(&own)] {
        assert!(
            said.contains("TRACE") && said.contains("method: POST"),
            "{said}"
        );
        // The last one is POST as bytes.
        for secret in ["hush", "of-sts", "Signature=", "504f 5354"] {
            assert!(!said.contains(secret), "{said}");
        }
    }
    assert!(!sts.seen().is_empty() && !sqs.seen().is_empty());
}
