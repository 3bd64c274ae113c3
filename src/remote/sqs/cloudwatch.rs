//! Metrics of queues, in CloudWatch. It speaks AWS's Query protocol: forms are sent, XML comes back.

use super::caller::{AwsAccess, AwsCaller, Patience};
use super::endpoint::AwsService;
use super::error::SqsError;
use super::form::{self, form};
use super::signed::Unsigned;
use super::transport::Limits;
use super::xml;
use crate::core::time::Wall;
use jiff::Timestamp;
use std::sync::Arc;

/// The period of statistics, in seconds.
const PERIOD: &str = "3600";

/// The version of the API.
const VERSION: &str = "2010-08-01";

/// A client of CloudWatch. Threads share it.
pub struct CloudWatch {
    caller: AwsCaller,
}

/// A value to be kept as a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Datum<'a> {
    /// The name of the metric.
    pub name: &'a str,
    /// The name and the value of its dimension.
    pub dimension: (&'a str, &'a str),
    /// The time that it is for.
    pub at: Wall,
    /// The value, a count.
    pub value: f64,
}

impl CloudWatch {
    /// A client. Errors: the settings of the endpoint are wrong.
    pub fn new(access: &Arc<AwsAccess>, patience: Patience) -> Result<Self, SqsError> {
        let caller = AwsCaller::new(access, AwsService::CloudWatch, patience)?;
        Ok(Self { caller })
    }

    /// True if a metric that SQS keeps of a queue was other than 0 at some time from `start` to `end`.
    pub fn is_active(
        &self,
        queue: &str,
        metric: &str,
        start: Wall,
        end: Wall,
    ) -> Result<bool, SqsError> {
        let (start, end) = (date(start), date(end));
        let body = form(&[
            ("Action", "GetMetricStatistics"),
            ("Dimensions.member.1.Name", "QueueName"),
            ("Dimensions.member.1.Value", queue),
            ("EndTime", &end),
            ("MetricName", metric),
            ("Namespace", "AWS/SQS"),
            ("Period", PERIOD),
            ("StartTime", &start),
            ("Statistics.member.1", "Sum"),
            ("Version", VERSION),
        ]);
        self.call("GetMetricStatistics", &body, has_activity)
    }

    /// Keeps values in a namespace of ours. At most 1000 (CloudWatch API reference, PutMetricData).
    pub fn put(&self, namespace: &str, data: &[Datum<'_>]) -> Result<(), SqsError> {
        let mut pairs = vec![
            ("Action".to_owned(), "PutMetricData".to_owned()),
            ("Namespace".to_owned(), namespace.to_owned()),
            ("Version".to_owned(), VERSION.to_owned()),
        ];
        for (datum, number) in data.iter().zip(1..) {
            let mut push = |name: &str, value: String| {
                pairs.push((format!("MetricData.member.{number}.{name}"), value));
            };
            push("MetricName", datum.name.to_owned());
            push("Dimensions.member.1.Name", datum.dimension.0.to_owned());
            push("Dimensions.member.1.Value", datum.dimension.1.to_owned());
            push("Timestamp", date(datum.at));
            push("Value", datum.value.to_string());
            push("Unit", "Count".to_owned());
        }
        let pairs: Vec<(&str, &str)> = pairs
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        self.call("PutMetricData", &form(&pairs), |_| Ok(()))
    }

    fn call<T>(
        &self,
        operation: &str,
        body: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, SqsError> {
        let request = Unsigned {
            operation,
            content_type: form::CONTENT_TYPE,
            headers: &[],
            body,
            limits: Limits::PROMPT,
        };
        self.caller.call(&request, read)
    }
}

/// True if any sum of the answer is other than 0.
fn has_activity(xml: &str) -> Result<bool, String> {
    let mut is_active = false;
    for sum in xml::texts(xml, "Sum") {
        let sum: f64 = sum.parse().map_err(|_| format!("{sum:?} is no sum"))?;
        is_active |= sum != 0.0;
    }
    match is_active || xml.contains("GetMetricStatisticsResult") {
        true => Ok(is_active),
        false => Err("the answer has no statistics".to_owned()),
    }
}

/// The time to the second, as `2026-11-27T06:59:45Z`.
fn date(at: Wall) -> String {
    let stamp = Timestamp::from_nanosecond(i128::from(at.0)).unwrap_or_default();
    format!("{stamp:.0}")
}
