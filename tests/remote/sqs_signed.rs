//! A server that checks signatures and rights.

use crate::moto::Moto;
use crate::replay::access;
use pirn::remote::sqs::caller::Patience;
use pirn::remote::sqs::client::SqsClient;
use pirn::remote::sqs::cloudwatch::CloudWatch;
use pirn::remote::sqs::error::{SqsError, SqsFault};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

/// Calls IAM, unsigned; gives the answer.
fn iam(moto: &Moto, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", moto.port)).unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: iam.amazonaws.com\r\nconnection: close\r\ncontent-length: {}\r\n\
         content-type: application/x-www-form-urlencoded\r\nauthorization: AWS4-HMAC-SHA256 \
         Credential=test/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{body}: {answer}");
    answer
}

fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let after = xml.split(&format!("<{name}>")).nth(1).unwrap();
    after.split('<').next().unwrap()
}

#[test]
fn signatures_are_good_and_bad_ones_are_told_apart() {
    // The first three calls are not checked.
    let Some(moto) = Moto::start(&[("INITIAL_NO_AUTH_ACTION_COUNT", "3")]) else {
        return;
    };
    iam(&moto, "Action=CreateUser&Version=2010-05-08&UserName=u");
    // Allows sqs:GetQueueUrl and monitoring:*, for moto takes the signing name for the service.
    let policy = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C\
                  %22Action%22%3A%5B%22sqs%3AGetQueueUrl%22%2C%22monitoring%3A%2A%22%5D%2C\
                  %22Resource%22%3A%22%2A%22%7D%5D%7D";
    let put = "Action=PutUserPolicy&Version=2010-05-08&UserName=u&PolicyName=p&PolicyDocument=";
    iam(&moto, &format!("{put}{policy}"));
    let made = iam(
        &moto,
        "Action=CreateAccessKey&Version=2010-05-08&UserName=u",
    );
    let (id, secret) = (
        element(&made, "AccessKeyId"),
        element(&made, "SecretAccessKey"),
    );

    let access = |id: &str, secret: &str| {
        let keys = [("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret)];
        access(&moto.url(), &keys)
    };
    let fault = |id, secret, call: &dyn Fn(&SqsClient) -> Result<String, SqsError>| {
        let client = SqsClient::new(&access(id, secret), Patience::BRIDGE).unwrap();
        call(&client).unwrap_err().fault
    };
    let none = BTreeMap::new();
    let look = |client: &SqsClient| client.queue_url("q");
    let make = |client: &SqsClient| client.create_queue("q", &none, &none);
    assert_eq!(fault(id, secret, &look), SqsFault::NoQueue);
    assert_eq!(fault(id, secret, &make), SqsFault::Denied);
    assert_eq!(fault(id, "wrong", &look), SqsFault::BadSignature);
    assert_eq!(fault("AKIAUNKNOWN", secret, &look), SqsFault::StaleKeys);
    let metrics = CloudWatch::new(&access(id, secret), Patience::BRIDGE).unwrap();
    assert_eq!(metrics.put("n", &[]), Ok(()));
}
