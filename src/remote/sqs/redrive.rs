//! The attribute `RedrivePolicy`: after how many receives a message moves to which queue.

use super::error::{SqsError, SqsFault};
use serde_json::{Deserializer, Value};

/// The text, as qdone 2 writes it: the number is a string.
pub fn text(target_arn: &str, max_receives: u32) -> String {
    let target = Value::from(target_arn);
    format!("{{\"deadLetterTargetArn\":{target},\"maxReceiveCount\":\"{max_receives}\"}}")
}

/// `maxReceiveCount` of a text. It is a number or a string. qdone 1 writes `'}` behind the object, which is ignored.
/// Errors: there is no such object.
pub fn max_receives(text: &str) -> Result<u32, SqsError> {
    let value = Deserializer::from_str(text).into_iter::<Value>().next();
    let policy = value.and_then(Result::ok).unwrap_or_default();
    let count = match &policy["maxReceiveCount"] {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let count = count.and_then(|count| u32::try_from(count).ok());
    let why = || format!("RedrivePolicy {text:?}: expected an object with maxReceiveCount");
    count.ok_or_else(|| SqsError::own(SqsFault::Other, "GetQueueAttributes", why()))
}

/// The ARN of a queue, by its URL `.../ACCOUNT/NAME`. `None` if the URL has another form: the server has to be asked.
pub fn arn(url: &str, region: &str) -> Option<String> {
    let (_, path) = url.split_once("://")?.1.split_once('/')?;
    let (account, name) = path.split_once('/')?;
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !is_account || name.is_empty() || !name.bytes().all(is_name_byte) {
        return None;
    }
    let partition = match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    };
    Some(format!("arn:{partition}:sqs:{region}:{account}:{name}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn policies_of_all_qdones_are_read() {
        let arn = "arn:aws:sqs:us-east-1:123456789012:qdone_n2_failed";
        assert_eq!(
            text(arn, 1),
            r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:123456789012:qdone_n2_failed","maxReceiveCount":"1"}"#
        );
        let read = |text: &str| max_receives(text).ok();
        assert_eq!(read(&text(arn, 7)), Some(7));
        let malformed = r#"{"deadLetterTargetArn": "a", "maxReceiveCount": "1"}'}"#;
        assert_eq!(read(malformed), Some(1));
        assert_eq!(
            read(r#"{"maxReceiveCount":5,"deadLetterTargetArn":"a"}"#),
            Some(5)
        );
        for wrong in ["", "{", "[]", "{}", r#"{"maxReceiveCount":-1}"#] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn arns_are_made_of_urls() {
        let arn = |url, region| arn(url, region);
        assert_eq!(
            arn(
                "https://sqs.eu-west-1.amazonaws.com/123456789012/q.fifo",
                "eu-west-1"
            )
            .unwrap(),
            "arn:aws:sqs:eu-west-1:123456789012:q.fifo"
        );
        let local = "http://127.0.0.1:24000/123456789012/q";
        assert_eq!(
            arn(local, "cn-north-1").unwrap(),
            "arn:aws-cn:sqs:cn-north-1:123456789012:q"
        );
        let gov = arn(local, "us-gov-west-1").unwrap();
        assert_eq!(gov, "arn:aws-us-gov:sqs:us-gov-west-1:123456789012:q");
        for other in [
            "http://h/queue/123456789012/q",
            "http://h/000/q",
            "http://h",
            "q",
            "http://h/123456789012/q/",
        ] {
            assert_eq!(arn(other, "us-east-1"), None, "{other}");
        }
    }
}
