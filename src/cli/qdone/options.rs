//! The options of qdone. They may stand before the command and after it.

use crate::core::qdone_names::QueueNames;
use crate::core::units;
use crate::remote::sqs::caller::{AwsAccess, AwsSettings, Patience};
use crate::remote::sqs::client::SqsClient;
use crate::remote::sqs::env::AwsEnv;
use crate::remote::sqs::error::SqsError;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Commands in queues on SQS, as qdone keeps them
#[derive(Debug, Parser)]
#[command(name = "qdone", disable_help_subcommand = true)]
pub struct QdoneCli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Option<QdoneCommand>,
}

#[derive(Debug, Args)]
pub struct Common {
    /// Stands before the name of each queue
    #[arg(long, global = true, value_name = "S", default_value = "qdone_")]
    pub prefix: String,
    /// Makes the name of a queue that of its fail queue
    #[arg(long, global = true, value_name = "S", default_value = "_failed")]
    pub fail_suffix: String,
    /// Makes the name of a queue that of its dead queue
    #[arg(
        long,
        global = true,
        value_name = "S",
        default_value = "_dead",
        alias = "dql-suffix"
    )]
    pub dlq_suffix: String,
    /// The region of the queues [default: $AWS_REGION, else us-east-1]
    ///
    /// No other setting names it.
    #[arg(long, global = true, value_name = "S")]
    pub region: Option<String>,
    /// The server, if it is not that of AWS [default: $AWS_ENDPOINT_URL_SQS, else $AWS_ENDPOINT_URL]
    ///
    /// Without TLS it must be on this machine.
    #[arg(long, global = true, value_name = "URL")]
    pub endpoint: Option<String>,
    /// A profile of `~/.aws/credentials` and `~/.aws/config`
    ///
    /// Without it, credentials are those of the first of these that has some: the environment ($AWS_ACCESS_KEY_ID), a
    /// web identity ($AWS_WEB_IDENTITY_TOKEN_FILE), the files, with `credential_process` and roles, the container, and
    /// the machine. A source that is set up and fails is an error, as is a program of `credential_process` that has not
    /// ended after a minute, which is killed. Temporary credentials are replaced five minutes before their end. As with
    /// the tools of AWS, $AWS_SESSION_TOKEN goes with the environment's, $AWS_PROFILE names another profile than
    /// `default`, $AWS_SHARED_CREDENTIALS_FILE and $AWS_CONFIG_FILE name other files,
    /// $AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or $AWS_CONTAINER_CREDENTIALS_FULL_URI lead to the agent of a container,
    /// and $AWS_EC2_METADATA_DISABLED set to true keeps the machine from being asked. SSO is not read: use
    /// `credential_process`.
    #[arg(long, global = true, value_name = "P")]
    pub profile: Option<String>,
    /// Say only errors, and print jobs that fail as lines of JSON
    ///
    /// This is the default if standard error is no terminal.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Tell each step on standard error
    ///
    /// This is the default on a terminal.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Print the version, if there is no command
    #[arg(short = 'V', long, global = true)]
    pub version: bool,
    /// A Redis server that keeps for a while which queues had no messages: `redis://HOST:PORT`
    ///
    /// For `idle-queues`, and for `worker` with --active-only. If it is away, SQS is asked.
    #[arg(long, global = true, value_name = "U", alias = "cache-url")]
    pub cache_uri: Option<String>,
    /// Stands before the keys there
    #[arg(long, global = true, value_name = "S", default_value = "qdone:")]
    pub cache_prefix: String,
    /// Seconds for which they are kept
    #[arg(long, global = true, value_name = "N", default_value_t = 10)]
    pub cache_ttl_seconds: u32,
    /// The spool of the worker's jobs, if a daemon serves it [default: as for pirn]
    #[arg(short = 'S', long, global = true, value_name = "DIR")]
    pub spool: Option<PathBuf>,
}

impl Common {
    /// A client of SQS as the options and the environment say. It repeats calls that fail for a while.
    pub fn client(&self) -> Result<SqsClient, SqsError> {
        self.clients().map(|(sqs, _)| sqs)
    }

    /// The same, and what clients of other services are made of.
    pub fn clients(&self) -> Result<(SqsClient, Arc<AwsAccess>), SqsError> {
        let access = self.access();
        Ok((SqsClient::new(&access, Patience::COMMAND)?, access))
    }

    /// Connections and credentials.
    pub fn access(&self) -> Arc<AwsAccess> {
        let settings = AwsSettings {
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            profile: self.profile.clone(),
            allow_http: false,
        };
        AwsAccess::new(&settings, &AwsEnv::of_process())
    }

    /// The parts of names.
    pub fn names(&self) -> QueueNames {
        QueueNames {
            prefix: self.prefix.clone(),
            fail_suffix: self.fail_suffix.clone(),
            dead_suffix: self.dlq_suffix.clone(),
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum QdoneCommand {
    /// Enqueue a single command
    Enqueue(EnqueueArgs),
    /// Enqueue a command for each line: QUEUE COMMAND
    EnqueueBatch(BatchArgs),
    /// Run the commands of queues
    Worker(WorkerArgs),
    /// Print the names of queues that nobody uses
    IdleQueues(IdleArgs),
    /// Print how many messages queues have
    Monitor(MonitorArgs),
    /// Compare the attributes of queues with those that they are to have
    Check(CheckArgs),
}

/// How a queue is made, and how messages are sent.
#[derive(Debug, Args)]
pub struct Sending {
    /// The queue is a FIFO queue
    #[arg(short, long)]
    pub fifo: bool,
    /// The group of the messages in a FIFO queue [default: one of their own for each invocation]
    #[arg(short, long, value_name = "S")]
    pub group_id: Option<String>,
    /// A group of its own for each message
    #[arg(long)]
    pub group_id_per_message: bool,
    /// Seconds before the messages can be received, at most 900
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=900))]
    pub delay: Option<u32>,
    #[command(flatten)]
    pub making: Making,
}

/// The attributes of queues that are made.
#[derive(Debug, Args)]
pub struct Making {
    /// Seconds for which a new queue keeps messages, at most 14 days
    #[arg(long, value_name = "N", default_value_t = 1_209_600, value_parser = clap::value_parser!(u32).range(60..=1_209_600))]
    pub message_retention_period: u32,
    /// Seconds for which a new fail queue keeps each message back, at most 900 [default: none]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=900))]
    pub fail_delay: Option<u32>,
    /// Give a new fail queue a dead queue
    #[arg(long, alias = "dql")]
    pub dlq: bool,
    /// Receives after which a message goes from the fail queue to the dead queue
    #[arg(long, value_name = "N", default_value_t = 3, alias = "dql-after", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub dlq_after: u32,
    /// A tag for new queues, `KEY=VALUE` (repeat)
    #[arg(long, value_name = "TAG", value_parser = tag)]
    pub tag: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub struct EnqueueArgs {
    #[command(flatten)]
    pub sending: Sending,
    /// Within five minutes a FIFO queue takes one message with this id [default: a new one]
    ///
    /// With an id of its own, a call which has to be repeated makes no second message. On other queues that may happen.
    #[arg(long, value_name = "S")]
    pub deduplication_id: Option<String>,
    /// The queue, and the command for the shell
    #[arg(value_name = "QUEUE COMMAND")]
    pub words: Vec<String>,
}

#[derive(Debug, Args)]
pub struct BatchArgs {
    #[command(flatten)]
    pub sending: Sending,
    /// Files, - is standard input
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Seconds after which a job gets SIGTERM, and SIGKILL a second later; at most 43200
    #[arg(short, long, value_name = "N", default_value_t = 30)]
    pub kill_after: u32,
    /// Seconds for which a queue is asked for a message, at most 20
    #[arg(short, long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=20))]
    pub wait_time: u32,
    /// Listen to fail queues too
    ///
    /// They are left out otherwise, also where they are named.
    #[arg(long)]
    pub include_failed: bool,
    /// Listen only to queues that have messages
    ///
    /// With --cache-uri several workers ask once.
    #[arg(long)]
    pub active_only: bool,
    /// Exit once a round has found no message
    #[arg(long)]
    pub drain: bool,
    /// The queues are FIFO queues, and patterns find only those
    #[arg(short, long)]
    pub fifo: bool,
    /// Print each command and remove it from its queue; run nothing
    ///
    /// The word nice stands before each command.
    #[arg(long)]
    pub archive: bool,
    /// Jobs at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub slots: u16,
    /// The longest lease that is asked for: so long do the jobs of a dead machine wait for another one
    ///
    /// That needs a queue that allows a second receive. The first lease is 2 minutes; it is doubled when half of it is
    /// gone.
    #[arg(long, value_name = "DUR", default_value = "12h", value_parser = units::parse_span)]
    pub lease_max: Duration,
    /// Queues, in the order in which they are asked; * at the end stands for any ending
    #[arg(value_name = "QUEUE")]
    pub queues: Vec<String>,
}

#[derive(Debug, Args)]
pub struct IdleArgs {
    /// Minutes without a message after which a queue is idle, at least 5
    #[arg(short = 'o', long, value_name = "MIN", default_value_t = 60)]
    pub idle_for: u32,
    /// Delete the idle queues and their fail queues, unless they have messages even then
    #[arg(long)]
    pub delete: bool,
    /// Judge queues and fail queues apart
    #[arg(long)]
    pub unpair: bool,
    /// With --unpair: judge the fail queues that patterns find, too
    #[arg(long)]
    pub include_failed: bool,
    /// Queues; * at the end stands for any ending
    #[arg(value_name = "QUEUE")]
    pub queues: Vec<String>,
}

#[derive(Debug, Args)]
pub struct MonitorArgs {
    /// Save the numbers in CloudWatch, in the namespace qmonitor
    #[arg(short, long)]
    pub save: bool,
    /// Full names of queues; * stands for any characters
    #[arg(value_name = "PATTERN")]
    pub patterns: Vec<String>,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Make queues that are missing
    #[arg(long)]
    pub create: bool,
    /// Set attributes that differ
    #[arg(long)]
    pub overwrite: bool,
    /// The queues are FIFO queues
    #[arg(short, long)]
    pub fifo: bool,
    #[command(flatten)]
    pub making: Making,
    /// Queues; * at the end stands for any ending
    #[arg(value_name = "QUEUE")]
    pub queues: Vec<String>,
}

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("expected KEY=VALUE".to_owned()),
    }
}
