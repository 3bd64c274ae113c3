//! `check`: whether queues have the attributes that qdone gives them.

use super::options::{CheckArgs, Common};
use super::plan::{plan, tell};
use super::say::Say;
use super::trouble::{QdoneError, other};
use crate::core::qdone_names::{QueueNames, meant};
use crate::remote::sqs::client::{QueueAttributes, SqsClient};
use crate::remote::sqs::error::SqsFault;
use crate::remote::sqs::queues::{QueueNews, QueuePlan, QueueUrls, name_of};
use crate::remote::sqs::redrive;
use serde_json::Value;

pub fn check(common: &Common, args: &CheckArgs, say: Say) -> Result<(), QdoneError> {
    if args.queues.is_empty() {
        let what = "check requires one or more <queue> arguments";
        return Err(QdoneError::Usage(what.to_owned()));
    }
    let (sqs, names) = (common.client()?, common.names());
    let mut checked = Vec::new();
    for given in &args.queues {
        let meant = meant(given, args.fifo);
        match names.full(&meant).strip_suffix('*') {
            Some(prefix) => {
                let urls = sqs.list_queues(prefix)?;
                let found = urls.iter().map(|url| names.short(name_of(url)).to_owned());
                checked.extend(found.filter(|name| !names.is_failed(name)));
            }
            None => checked.push(meant),
        }
    }
    let mut check = Check {
        sqs: &sqs,
        urls: QueueUrls::new(&sqs),
        names: &names,
        args,
        say,
        wrong: 0,
    };
    for name in &checked {
        check.queue(&plan(&names, name, &args.making))?;
    }
    match check.wrong {
        0 => Ok(()),
        n => Err(other(format!(
            "{n} of the queues are not as they are to be"
        ))),
    }
}

struct Check<'a> {
    sqs: &'a SqsClient,
    urls: QueueUrls<'a>,
    names: &'a QueueNames,
    args: &'a CheckArgs,
    say: Say,
    wrong: usize,
}

impl Check<'_> {
    /// Checks the queues of a plan, those first to which others give up messages, and mends them if that is asked for.
    /// Gives the ARN of the last one, if it exists.
    fn queue(&mut self, plan: &QueuePlan) -> Result<Option<String>, QdoneError> {
        let mut wanted = plan.attributes.clone();
        if let Some((failed, after)) = &plan.failed
            && let Some(arn) = self.queue(failed)?
        {
            wanted.insert("RedrivePolicy".to_owned(), redrive::text(&arn, *after));
        }
        let name = self.names.short(&plan.name);
        let url = match self.sqs.queue_url(&plan.name) {
            Err(e) if e.fault == SqsFault::NoQueue && self.args.create => {
                let (names, say) = (self.names, self.say);
                let mut news = |news: QueueNews<'_>| tell(names, say, news);
                self.urls.create(plan, &mut news)?
            }
            Err(e) if e.fault == SqsFault::NoQueue => {
                self.say.error(&format!("{name} is missing"));
                self.wrong += 1;
                return Ok(None);
            }
            url => url?,
        };
        let keys: Vec<&str> = wanted.keys().map(String::as_str).collect();
        let present = self.sqs.attributes(&url, &keys)?;
        let differs = |(key, value): &(&String, &String)| !is_same(present.get(*key), value);
        let wrong: QueueAttributes = wanted
            .iter()
            .filter(differs)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        for (key, value) in &wrong {
            let has = present.get(key).map_or("nothing", String::as_str);
            self.say
                .error(&format!("{name}: {key} is {has}, not {value}"));
        }
        if wrong.is_empty() {
            self.say.step(&format!("{name}: as it is to be"));
        } else if self.args.overwrite {
            self.sqs.set_attributes(&url, &wrong)?;
            self.say.step(&format!("{name}: set"));
        } else {
            self.wrong += 1;
        }
        Ok(Some(self.urls.arn(&url)?))
    }
}

/// True if an attribute has this value. Policies are compared as JSON, and numbers in it as texts: qdone has written
/// both, and stray characters behind them.
fn is_same(present: Option<&String>, wanted: &str) -> bool {
    let Some(present) = present else { return false };
    let policy = |text: &str| {
        let end = text.rfind('}')? + 1;
        let text = text[..end].trim_end_matches("'}");
        let value: Value = serde_json::from_str(text).ok()?;
        let plain = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
        let mut fields: Vec<_> = value
            .as_object()?
            .iter()
            .map(|(k, v)| (k.clone(), plain(v)))
            .collect();
        fields.sort();
        Some(fields)
    };
    present == wanted || policy(present).is_some_and(|fields| policy(wanted) == Some(fields))
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn policies_are_compared_by_meaning() {
        let wanted = r#"{"deadLetterTargetArn":"a:b","maxReceiveCount":"1"}"#;
        for same in [
            wanted,
            r#"{"maxReceiveCount": 1, "deadLetterTargetArn": "a:b"}"#,
            r#"{"deadLetterTargetArn": "a:b", "maxReceiveCount": "1"}'}"#,
        ] {
            assert!(is_same(Some(&same.to_owned()), wanted), "{same}");
        }
        for other in [
            r#"{"deadLetterTargetArn":"a:b","maxReceiveCount":"3"}"#,
            "",
            "}",
            "1",
        ] {
            assert!(!is_same(Some(&other.to_owned()), wanted), "{other}");
        }
        assert!(is_same(Some(&"60".to_owned()), "60") && !is_same(None, "60"));
    }
}
