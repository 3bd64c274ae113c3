//! Where a service is: its address, and the name that signatures call it by.

use super::env::AwsEnv;
use super::error::{SqsError, SqsFault};
use std::net::IpAddr;
use ureq::http::Uri;

/// The services that pirn calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AwsService {
    /// Queues.
    Sqs,
    /// Metrics of queues.
    CloudWatch,
    /// Temporary keys.
    Sts,
}

impl AwsService {
    /// Its name in host names and signatures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqs => "sqs",
            Self::CloudWatch => "monitoring",
            Self::Sts => "sts",
        }
    }

    fn variable(self) -> &'static str {
        match self {
            Self::Sqs => "AWS_ENDPOINT_URL_SQS",
            Self::CloudWatch => "AWS_ENDPOINT_URL_CLOUDWATCH",
            Self::Sts => "AWS_ENDPOINT_URL_STS",
        }
    }
}

/// The address of a service. All calls go to its path `/`, whatever host the URLs of queues name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// With a slash at the end.
    pub url: String,
    /// The value of the header `host`.
    pub host: String,
    /// The region that signatures are for.
    pub region: String,
    /// The service.
    pub service: AwsService,
}

impl Endpoint {
    /// The endpoint: `given`, else `$AWS_ENDPOINT_URL_SQS` or the like, else `$AWS_ENDPOINT_URL`, else AWS's own. Errors:
    /// it is no such URL, or is plain HTTP to another machine without `allow_http`.
    pub fn find(
        service: AwsService,
        given: Option<&str>,
        region: &str,
        allow_http: bool,
        env: &AwsEnv,
    ) -> Result<Self, SqsError> {
        let is_region = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if region.is_empty() || !region.chars().all(is_region) {
            let why = format!("{region:?} is no region; an example is eu-west-1");
            return Err(SqsError::own(SqsFault::Other, "region", why));
        }
        let set = [service.variable(), "AWS_ENDPOINT_URL"];
        let mut sources = vec![("endpoint", given)];
        sources.extend(set.iter().map(|name| (*name, env.get(name))));
        let found = sources
            .iter()
            .find_map(|(source, url)| Some((*source, (*url)?)));
        let (url, host) = match found {
            Some((source, url)) => {
                check(url, allow_http).map_err(|why| SqsError::own(SqsFault::Other, source, why))?
            }
            None => {
                let end = match region.starts_with("cn-") {
                    true => ".cn",
                    false => "",
                };
                let host = format!("{}.{region}.amazonaws.com{end}", service.name());
                (format!("https://{host}/"), host)
            }
        };
        Ok(Self {
            url,
            host,
            region: region.to_owned(),
            service,
        })
    }
}

/// Checks a URL that somebody has set. Gives it with a slash at the end, and its host with its port.
fn check(url: &str, allow_http: bool) -> Result<(String, String), String> {
    let uri: Uri = url.parse().map_err(|_| {
        format!("{url:?} is no URL; an example is https://sqs.eu-west-1.amazonaws.com")
    })?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(format!("{url:?} lacks the https:// at its beginning"));
    };
    if authority.as_str().contains('@') {
        return Err("a URL with a user in it; credentials are not given there".to_owned());
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(format!("{url:?} has a path; all calls go to /"));
    }
    match scheme {
        "https" => {}
        "http" if allow_http || is_loopback(authority.host()) => {}
        "http" => {
            return Err(format!(
                "{url:?} is not encrypted; use https, or set allow_http if the network is yours"
            ));
        }
        other => return Err(format!("{other}: unsupported; use https")),
    }
    Ok((format!("{scheme}://{authority}/"), authority.to_string()))
}

/// True for hosts that lead to this machine, judged without asking for the addresses of a name.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn find(given: Option<&str>, region: &str, env: &[(&str, &str)]) -> Result<Endpoint, String> {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Endpoint::find(AwsService::Sqs, given, region, false, &env.collect())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn the_nearest_setting_wins() {
        let general = ("AWS_ENDPOINT_URL", "https://a:1");
        let special = ("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:2/");
        let url = |given, env: &[_]| find(given, "eu-west-1", env).unwrap().url;
        assert_eq!(
            url(Some("http://[::1]:3"), &[general, special]),
            "http://[::1]:3/"
        );
        assert_eq!(url(None, &[general, special]), "http://127.0.0.1:2/");
        assert_eq!(
            url(None, &[general, ("AWS_ENDPOINT_URL_SQS", "")]),
            "https://a:1/"
        );
        assert_eq!(url(None, &[]), "https://sqs.eu-west-1.amazonaws.com/");
        let china = find(None, "cn-north-1", &[]).unwrap();
        assert_eq!(china.host, "sqs.cn-north-1.amazonaws.com.cn");
        let port = find(Some("http://localhost:24000"), "us-east-1", &[]);
        assert_eq!(port.unwrap().host, "localhost:24000");
    }

    #[test]
    fn refused_endpoints() {
        for (url, why) in [
            (
                "http://10.0.0.1:9324",
                "endpoint: \"http://10.0.0.1:9324\" is not encrypted",
            ),
            ("http://localhost.example.com", "is not encrypted"),
            ("https://a/queue", "has a path"),
            ("https://u:p@a", "endpoint: a URL with a user in it"),
            ("localhost:1", "lacks the https://"),
            ("ftp://a", "ftp: unsupported"),
        ] {
            let error = find(Some(url), "us-east-1", &[]).unwrap_err();
            assert!(error.contains(why), "{url}: {error}");
        }
        assert!(find(None, "evil.example.com/", &[]).is_err());
        let env = AwsEnv::default();
        let lan = Some("http://10.0.0.1:9324");
        assert!(Endpoint::find(AwsService::Sqs, lan, "us-east-1", true, &env).is_ok());
    }
}
