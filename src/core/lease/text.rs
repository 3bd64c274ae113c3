//! The text of a lease file, and of `x.lease` in a job's record.

use super::Lease;
use crate::core::json::{self, Object};
use crate::core::time::{Boot, Wall};
use serde_json::json;
use std::time::Duration;

impl Lease {
    /// The lease as JSON. `by`: the bridge, for the job's record.
    pub fn to_json(&self, by: Option<&str>) -> String {
        let mut value = json!({
            "engine": self.engine, "queue": self.queue, "url": self.url, "receipt": self.receipt,
            "count": self.count, "max": self.max, "group": self.group, "since": self.since, "until": self.until,
            "lease": self.length.as_secs_f64(), "fixed": self.fixed, "ends": self.ends.0, "boot": self.boot,
            "lost": self.lost, "back": self.back, "by": by,
        });
        if let Some(fields) = value.as_object_mut() {
            fields.retain(|_, value| !value.is_null() && *value != json!(false));
        }
        value.to_string()
    }

    /// Reads a lease. Unknown fields are ignored.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::read(text).map(|(lease, _)| lease)
    }

    /// Reads the lease in a job's record, and the name of the bridge that has written it.
    pub fn read(text: &str) -> Result<(Self, Option<String>), String> {
        let object = Object::parse(text).map_err(|e| e.to_string())?;
        let mut by = None;
        let mut has = [false; 4];
        let mut lease = Self {
            engine: String::new(),
            queue: String::new(),
            url: String::new(),
            receipt: String::new(),
            count: 1,
            max: None,
            group: None,
            since: Wall(0),
            until: Wall(0),
            ends: Boot(0),
            boot: String::new(),
            length: Duration::ZERO,
            fixed: false,
            lost: None,
            back: false,
        };
        let date = |raw| Wall::parse(&json::string(raw)?);
        for field in object.fields() {
            let read = || -> Result<(), json::JsonError> {
                match field.key {
                    "engine" => lease.engine = field.read(json::string)?,
                    "queue" => lease.queue = field.read(json::string)?,
                    "url" => lease.url = field.read(json::string)?,
                    "receipt" => lease.receipt = field.read(json::string)?,
                    "count" => lease.count = field.integer(0..=i64::from(u32::MAX))?,
                    "max" => {
                        lease.max = field.optional(|r| json::integer(r, 0..=i64::from(u32::MAX)))?
                    }
                    "group" => lease.group = field.optional(json::string)?,
                    "since" => lease.since = field.read(date)?,
                    "until" => lease.until = field.read(date)?,
                    "lease" => lease.length = field.read(json::span)?,
                    "fixed" => lease.fixed = field.read(json::boolean)?,
                    "ends" => lease.ends = Boot(field.integer(0..=i64::MAX)?),
                    "boot" => lease.boot = field.read(json::string)?,
                    "lost" => lease.lost = field.optional(json::string)?,
                    "back" => lease.back = field.read(json::boolean)?,
                    "by" => by = field.optional(json::string)?,
                    _ => {}
                }
                Ok(())
            };
            let mut read = read;
            read().map_err(|e| e.to_string())?;
            let required = ["engine", "queue", "url", "receipt"];
            for (has, key) in has.iter_mut().zip(required) {
                *has |= field.key == key;
            }
        }
        match has == [true; 4] {
            true => Ok((lease, by)),
            false => Err("one of engine, queue, url and receipt is missing".to_owned()),
        }
    }
}
