//! The messages of pirn itself while it serves: lines with a date on standard error.

use crate::core::quote::without_codes;
use crate::os::clock;
use crate::spool::DaemonLog;
use std::io::Write;
use std::path::Path;

/// Logs to stderr, which may be the log of this spool. `PIRN_LOG` sets the level (`debug`, `warn` and so on).
pub fn start_logging(default: &str, spool: Option<&Path>) {
    let mut builder =
        env_logger::Builder::from_env(env_logger::Env::new().filter_or("PIRN_LOG", default));
    builder.format(|out, record| {
        // This module dumps the bytes of requests and answers. There are credentials in them.
        if record.target().starts_with("ureq_proto::util") {
            return Ok(());
        }
        let now = clock::wall();
        let text = without_codes(&record.args().to_string());
        writeln!(out, "{now} {:5} {text}", record.level())
    });
    if let Some(log) = spool.and_then(DaemonLog::of_stderr) {
        builder.target(env_logger::Target::Pipe(Box::new(log)));
    }
    let _ = builder.try_init();
}
