//! Sandboxes and resource limits in the settings, and which of them hold for a job.

use super::Config;
use crate::core::id::QueueName;
use crate::core::json::{Field, JsonError};
use crate::core::record::{PARENT_QUEUE, Record, Work};
use crate::core::sandbox::{Resources, Sandbox};

/// The bounds that one place in the settings asks for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bounds {
    /// The sandbox of jobs.
    pub sandbox: Option<Sandbox>,
    /// How much of the machine each of them may take.
    pub resources: Option<Resources>,
}

impl Bounds {
    /// Reads a field. False if `key` is none of these.
    pub(super) fn read(&mut self, field: Field<'_, '_>) -> Result<bool, JsonError> {
        match field.key {
            "sandbox" if field.is_null() => {}
            "resources" if field.is_null() => {}
            "sandbox" => self.sandbox = Some(Sandbox::read(field)?),
            "resources" => self.resources = Some(Resources::read(field)?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A sandbox or limits that hold for a job, with the field that asks for them, for messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Level<'a, T> {
    /// The field: `queues.mail.sandbox`.
    pub field: String,
    /// Its value.
    pub value: &'a T,
}

impl Config {
    /// The sandboxes that hold for a job, the outermost first. The kernel permits only what all of them permit.
    pub fn sandboxes<'a>(
        &'a self,
        queue: &QueueName,
        record: &'a Record,
    ) -> Vec<Level<'a, Sandbox>> {
        let own = record.sandbox.as_deref();
        self.levels(queue, record, "sandbox", own, |bounds| {
            bounds.sandbox.as_ref()
        })
    }

    /// The same for limits: the strictest of each holds.
    pub fn resources<'a>(
        &'a self,
        queue: &QueueName,
        record: &'a Record,
    ) -> Vec<Level<'a, Resources>> {
        let own = record.resources.as_deref();
        self.levels(queue, record, "resources", own, |bounds| {
            bounds.resources.as_ref()
        })
    }

    /// The sandboxes that no job can get out of.
    pub fn enforced_sandboxes(&self) -> Vec<Level<'_, Sandbox>> {
        self.enforced("sandbox", |bounds| bounds.sandbox.as_ref())
    }

    /// The limits that no job can exceed.
    pub fn enforced_resources(&self) -> Vec<Level<'_, Resources>> {
        self.enforced("resources", |bounds| bounds.resources.as_ref())
    }

    fn enforced<'a, T>(
        &'a self,
        name: &str,
        part: fn(&'a Bounds) -> Option<&'a T>,
    ) -> Vec<Level<'a, T>> {
        let queues = self.queues.iter();
        let queues = queues.map(|(queue, own)| (of_queue(queue, name), &own.enforced));
        let places = std::iter::once((name.to_owned(), &self.enforced)).chain(queues);
        places
            .filter_map(|(field, bounds)| level(field, part(bounds)))
            .collect()
    }

    fn levels<'a, T>(
        &'a self,
        queue: &QueueName,
        record: &'a Record,
        name: &str,
        own: Option<&'a T>,
        part: fn(&'a Bounds) -> Option<&'a T>,
    ) -> Vec<Level<'a, T>> {
        if let Work::Url(_) = record.work {
            // pirn itself makes the call, and `http.url_allow` bounds it.
            return Vec::new();
        }
        // A command that a job asks for with `on_finish` waits in another queue: it does not leave its own by that.
        let parent = record.env.get(PARENT_QUEUE);
        let parent = parent.and_then(|name| QueueName::new(name).ok());
        let queues =
            std::iter::once(queue).chain(parent.as_ref().filter(|parent| *parent != queue));
        let enforced = queues.filter_map(|queue| {
            let bounds = &self.queues.get(queue)?.enforced;
            level(of_queue(queue, name), part(bounds))
        });
        let default = || {
            let of_all = || level(format!("defaults.{name}"), part(&self.defaults.bounds));
            let field = of_queue(queue, &format!("defaults.{name}"));
            level(field, part(&self.defaults_of(queue).bounds)).or_else(of_all)
        };
        let asked = level(name.to_owned(), own).or_else(default);
        level(name.to_owned(), part(&self.enforced))
            .into_iter()
            .chain(enforced)
            .chain(asked)
            .collect()
    }
}

fn level<T>(field: String, value: Option<&T>) -> Option<Level<'_, T>> {
    value.map(|value| Level { field, value })
}

fn of_queue(queue: &QueueName, name: &str) -> String {
    format!("queues.{}.{name}", super::key(queue))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::sandbox::Network;
    use proptest::prelude::*;

    fn fields<T>(levels: &[Level<'_, T>]) -> Vec<String> {
        levels.iter().map(|level| level.field.clone()).collect()
    }

    fn record(sandbox: &str) -> Record {
        Record::from_json(&format!(r#"{{"command": "true", "env": {{}}{sandbox}}}"#)).unwrap()
    }

    #[test]
    fn a_job_replaces_defaults_and_adds_to_what_is_enforced() {
        let config = Config::parse(
            r#"{"sandbox": {}, "defaults": {"sandbox": {"system": true}, "resources": {"tasks": 5}},
                "queues": {"a.b": {"sandbox": {"ro": ["/x"]}, "defaults": {"sandbox": {"ro": ["/y"]}}},
                           "c": {"sandbox": {"network": "none"}}}}"#,
        )
        .unwrap();
        let (ab, main) = (QueueName::new("a.b").unwrap(), QueueName::default());
        let (silent, own) = (record(""), record(r#", "sandbox": {}, "resources": {}"#));
        let of = |queue, record| fields(&config.sandboxes(queue, record));
        let enforced = "queues.\"a.b\".sandbox";
        let default = "queues.\"a.b\".defaults.sandbox";
        assert_eq!(of(&ab, &silent), ["sandbox", enforced, default]);
        assert_eq!(of(&ab, &own), ["sandbox", enforced, "sandbox"]);
        assert_eq!(of(&main, &silent), ["sandbox", "defaults.sandbox"]);
        assert_eq!(
            fields(&config.resources(&ab, &silent)),
            ["defaults.resources"]
        );
        assert_eq!(*config.resources(&ab, &own)[0].value, Resources::default());
        let mut after = record("");
        after.env.insert(PARENT_QUEUE.to_owned(), "c".to_owned());
        assert_eq!(
            of(&main, &after),
            ["sandbox", "queues.c.sandbox", "defaults.sandbox"]
        );
        let call = Record::from_json(r#"{"url": "http://[::1]/"}"#).unwrap();
        assert_eq!(of(&ab, &call), [""; 0]);
        assert_eq!(
            fields(&config.enforced_sandboxes()),
            ["sandbox", enforced, "queues.c.sandbox"]
        );
    }

    /// An attempt of a job, and whether a sandbox permits it.
    fn permits(sandbox: &Sandbox, path: &str, port: u16) -> bool {
        let is_listed =
            !sandbox.has_file_rules() || sandbox.paths.iter().any(|rule| rule.path == path);
        let may_connect = match &sandbox.network {
            Network::All => true,
            Network::Unix | Network::None => false,
            Network::Ports(ports) => ports.connect.contains(&port),
        };
        is_listed && may_connect
    }

    fn sandbox() -> impl Strategy<Value = String> {
        let path = prop::sample::subsequence(vec![r#""/a""#, r#""/b""#], 1..=2);
        let files = prop::option::of(path)
            .prop_map(|list| list.map(|l| format!(r#""ro": [{}]"#, l.join(","))));
        let ports = prop::sample::subsequence(vec!["1", "2"], 0..=2);
        let network = prop::option::of(ports).prop_map(|list| {
            list.map(|l| format!(r#""network": {{"connect": [{}]}}"#, l.join(",")))
        });
        (files, network).prop_map(|(a, b)| {
            let fields: Vec<String> = a.into_iter().chain(b).collect();
            format!("{{{}}}", fields.join(","))
        })
    }

    fn limit() -> impl Strategy<Value = Option<u64>> {
        prop::option::of(1u64..4)
    }

    proptest! {
        /// An enforced sandbox takes rights away and gives none, whatever the job and the defaults say.
        #[test]
        fn a_further_level_never_permits_more(
            added in sandbox(),
            whole in any::<bool>(),
            default in prop::option::of(sandbox()),
            own in prop::option::of(sandbox()),
        ) {
            let default = default.map_or("{}".to_owned(), |text| format!(r#"{{"sandbox": {text}}}"#));
            let with = match whole {
                true => format!(r#"{{"defaults": {default}, "sandbox": {added}}}"#),
                false => format!(r#"{{"defaults": {default}, "queues": {{"q": {{"sandbox": {added}}}}}}}"#),
            };
            let without = Config::parse(&format!(r#"{{"defaults": {default}}}"#)).unwrap();
            let with = Config::parse(&with).unwrap();
            let record = record(&own.map_or(String::new(), |text| format!(r#", "sandbox": {text}"#)));
            let queue = QueueName::new("q").unwrap();
            let added = with.enforced_sandboxes()[0].value;
            for (path, port) in [("/a", 1), ("/a", 2), ("/b", 1), ("/c", 1), ("/c", 3)] {
                let by = |config: &Config| {
                    let levels = config.sandboxes(&queue, &record);
                    levels.iter().all(|level| permits(level.value, path, port))
                };
                prop_assert!(!by(&with) || by(&without));
                prop_assert!(!by(&with) || permits(added, path, port));
            }
        }

        #[test]
        fn further_limits_are_never_larger(a in (limit(), limit()), b in (limit(), limit())) {
            let of = |(memory, tasks)| Resources { memory, tasks, ..Resources::default() };
            let (one, both) = (of(a), of(a).and(of(b)));
            prop_assert!(one.memory.is_none_or(|most| both.memory.is_some_and(|m| m <= most)));
            prop_assert!(one.tasks.is_none_or(|most| both.tasks.is_some_and(|m| m <= most)));
            prop_assert_eq!(of(b).and(of(a)), both);
        }
    }
}
