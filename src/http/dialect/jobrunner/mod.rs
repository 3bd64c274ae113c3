//! jobrunner: one fixed command, run once for each payload; the answer is its result. Only with `pirn serve
//! --jobrunner`.
//!
//! Differences from the original, where that was wrong:
//! - As many as ten payloads for each worker wait, as its manual said, not thirty for any number of workers.
//! - A command that cannot be started has exit status 126 or 127 and says why, not 0 and `null`.
//! - The password is compared in a time that says nothing, is not in the log, and the command does not get it.
//! - An id may contain a slash, which is `_` in the names of files.
//! - A payload is durable when it is accepted. A daemon that is told to stop withdraws those that wait, and answers
//!   503;
//!   after a crash they are run by the next one.
//! - Where others than this machine can come, `/status` needs the password or a token too.
//! - A number of workers that is no number, and an address that is taken, end the program.

mod reply;
pub mod request;
mod settings;

pub use settings::Settings;

use crate::core::config::rights::{Caller, Rights};
use crate::core::id::JobId;
use crate::core::record::{Record, Scratch, Work};
use crate::http::guesses::GuessVerdict;
use crate::http::{
    Answer, Door, Ended, Handled, Handler, JobRefusal, Method, Request, Response, Right, Topic,
    Woken, look_for_end,
};
use crate::spool::{NewId, Where};
use request::Payload;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The handler.
pub struct Jobrunner {
    settings: Settings,
    /// Held from counting the payloads that wait until the next one is accepted: so no two callers find the same count.
    accepting: Mutex<()>,
}

/// The most payloads that wait for each worker.
const WAITING_FOR_EACH: usize = 10;

/// The payload in the scratch directory, until the worker's number is known.
const PAYLOAD: &str = "payload";

/// The most bytes of a client's id in a file name.
const MOST_LABEL: usize = 100;

/// Names the files as the original does, notes which worker this is, and becomes the command, which is `$0`. `$1` is
/// the client's id, as [`label`] has it.
const BECOME: &str = r#"JOBRUNNER_WORKER_ID=$((PIRN_QUEUE_SLOT + 1))
set -- "$PIRN_TMP/jobdata_w_${JOBRUNNER_WORKER_ID}_id_$1"
JOBRUNNER_REQUEST_DATA_FN=${1}_req_$PIRN_ID
JOBRUNNER_RESPONSE_DATA_FN=${1}_res_$PIRN_ID
export JOBRUNNER_WORKER_ID JOBRUNNER_REQUEST_DATA_FN JOBRUNNER_RESPONSE_DATA_FN
if ! [ -e "$PIRN_TMP/payload" ]; then
    echo 'pirn: the payload of a job that has ended is not kept; send it again' >&2
    exit 100
fi
mv -- "$PIRN_TMP/payload" "$JOBRUNNER_REQUEST_DATA_FN" || exit
(umask 077; : > "$JOBRUNNER_RESPONSE_DATA_FN")
echo "$JOBRUNNER_WORKER_ID" > "$PIRN_OUT"
exec "$0""#;

/// The client's id as a part of a file name. As in the original it has no `*`, nor a character that no file name can
/// have.
fn label(id: &str) -> String {
    let is_plain = |c: char| !c.is_control() && c != '/' && c != '*';
    let fits = |(at, c): &(usize, char)| at + c.len_utf8() <= MOST_LABEL;
    let chars = id.char_indices().take_while(fits);
    chars
        .map(|(_, c)| if is_plain(c) { c } else { '_' })
        .collect()
}

/// The response file of a worker's command, as `BECOME` names it.
fn response_file(worker: u64, record: &Record, id: &JobId) -> String {
    let label = label(record.name.as_deref().unwrap_or_default());
    format!("jobdata_w_{worker}_id_{label}_res_{id}")
}

impl Jobrunner {
    /// The handler with these settings.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            accepting: Mutex::new(()),
        }
    }

    fn payload(&self, request: &Request, door: &Arc<Door>) -> Handled {
        if request.method != Method::Post {
            return Err(Response::new(405).header("Allow", "POST"));
        }
        let payload = Payload::read(&request.body).map_err(|_| Response::new(400))?;
        self.check_password(request, door)?;
        payload.check().map_err(|what| line(400, what))?;
        let mut record = self.record(payload);
        record.tries = Some(door.config().tries_of_dialect(&self.settings.queue));
        // The command is the operator's choice; the caller's right to run it is the password.
        let run = Rights::of(&[Right::Run]);
        let operator = Caller {
            name: request.caller.name.clone(),
            granted: run,
            rights: run,
        };
        let accepting = self.accepting.lock();
        let accepting = accepting.unwrap_or_else(PoisonError::into_inner);
        let waiting = self.waiting(door).map_err(failed)?;
        if waiting >= self.most_waiting(door) {
            let what = format!("job queue too large ({waiting})");
            return Err(line(503, what).header("Retry-After", 1));
        }
        let id = door
            .submit(&operator, record, NewId::Next)
            .map_err(|e| refused(&e))?;
        drop(accepting);
        Ok(answer(request, door, &id))
    }

    fn waiting(&self, door: &Door) -> io::Result<usize> {
        match door
            .spool()
            .ids(&Where::Pending(self.settings.queue.clone()))
        {
            // The queue was not used yet.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
            ids => Ok(ids?.len()),
        }
    }

    /// The most payloads that wait, by the queue's slots now, or else by the workers.
    fn most_waiting(&self, door: &Door) -> usize {
        let of_queue = door.config().queues.get(&self.settings.queue).cloned();
        let slots = of_queue.and_then(|of_queue| of_queue.slots);
        slots.unwrap_or(self.settings.workers) * WAITING_FOR_EACH
    }

    /// Refuses callers without the password. If there is none, callers without the right to push.
    fn check_password(&self, request: &Request, door: &Door) -> Result<(), Response> {
        let shown = request.headers.all("x-jr-password").next();
        let shown = shown.unwrap_or_default();
        if let Some(left) = door.shut_out(request.peer).filter(|_| !shown.is_empty()) {
            return Err(shut_out(left));
        }
        let is_known = self.settings.opens(shown);
        if is_known && (self.settings.has_password() || request.caller.may(Right::Push)) {
            return Ok(());
        }
        let refused = line(401, "Invalid password supplied in X-JR-PASSWORD header");
        if is_known || shown.is_empty() {
            return Err(refused);
        }
        Err(match door.count_guess(request.peer) {
            GuessVerdict::Told(delay) => refused.after(delay),
            GuessVerdict::ShutOut(left) => shut_out(left),
        })
    }

    fn record(&self, payload: Payload) -> Record {
        let program = self.settings.program.clone();
        let argv = ["/bin/sh", "-c", BECOME].map(str::to_owned);
        let argv = argv
            .into_iter()
            .chain([program, label(&payload.id)])
            .collect();
        let mut record = Record::new(Work::Argv(argv));
        record.queue = Some(self.settings.queue.clone());
        record.name = Some(payload.id.clone());
        record.env = self.settings.env.clone();
        record
            .env
            .insert("JOBRUNNER_REQUEST_ID".to_owned(), payload.id);
        record.cwd = Some(self.settings.cwd.clone());
        record.files.insert(PAYLOAD.to_owned(), payload.data);
        record.split = true;
        // When the daemon ends, the caller gets no answer and may ask elsewhere.
        record.max_interruptions = Some(0);
        // The response is read when the job has ended, and the directory removed then.
        record.tmp = Scratch::Answer;
        record
    }

    /// Shows how many payloads wait, and how many were started since the start of the daemon.
    fn status(&self, request: &Request, door: &Arc<Door>) -> Handled {
        if !request.caller.may(Right::Read) {
            self.check_password(request, door)?;
        }
        let queue = &self.settings.queue;
        let waiting = self.waiting(door).map_err(failed)?;
        let spool = door.spool();
        let is_ours = |id: &JobId| match spool.load(id, &Where::Active) {
            Ok(Some(record)) => record.queue.as_ref() == Some(queue),
            // It has just ended.
            Ok(None) | Err(_) => false,
        };
        let active = spool.ids(&Where::Active).map_err(failed)?;
        let running = active.iter().filter(|id| is_ours(id)).count() as u64;
        let tally = door.tally().read();
        let ended: u64 = tally
            .get(queue)
            .map_or(0, |of_queue| of_queue.attempts.values().sum());
        let total = ended + running;
        let text = format!("{{\"queued_jobs\":{waiting},\"total_jobs\":{total}}}\n");
        Ok(Response::json(200, text).into())
    }
}

impl Handler for Jobrunner {
    fn answer(&self, request: &Request, door: &Arc<Door>) -> Option<Answer> {
        let outcome = match request.path.as_str() {
            "/payload" => self.payload(request, door),
            "/status" => self.status(request, door),
            _ => return None,
        };
        Some(outcome.unwrap_or_else(Answer::Full))
    }

    fn refusal(&self, request: &Request, status: u16, why: &str) -> Option<Response> {
        matches!(request.path.as_str(), "/payload" | "/status").then(|| line(status, why))
    }
}

/// Answers with the result of the payload, once it is known. A payload is withdrawn when its caller must be answered
/// before it was started. Only then the status is 503, with which the caller goes elsewhere.
fn answer(request: &Request, door: &Arc<Door>, id: &JobId) -> Answer {
    let on = [Topic::Job(id.clone())];
    let mut may_wait = true;
    let ended = loop {
        if let Some(ended) = look_for_end(door, id, may_wait) {
            break ended;
        }
        let must_answer = match request.waiter.wait(&on, None) {
            // A client that sends nothing more may still read, and the scratch directory is to be removed at the end.
            Woken::Changed | Woken::HungUp => continue,
            Woken::Draining => false,
            Woken::Leaving | Woken::Late => true,
            Woken::Gone => return lost(&io::ErrorKind::BrokenPipe.into()),
        };
        match withdraw(door, id) {
            Ok(true) => return line(503, "Service Unavailable").into(),
            Ok(false) => may_wait = !must_answer,
            Err(e) => return line(500, e).into(),
        }
    };
    match ended {
        Ended::Over(found) => reply::reply(door, &found).unwrap_or_else(|e| lost(&e)),
        Ended::Late(_) => line(500, "the payload was accepted and had not ended by now").into(),
        Ended::Gone => line(500, "the job was removed").into(),
        Ended::Failed(e) => lost(&e),
    }
}

/// Removes a payload that waits for its first try. False if it does not wait.
fn withdraw(door: &Door, id: &JobId) -> io::Result<bool> {
    let spool = door.spool();
    let place = match spool.get(id)? {
        Some(found) if found.record.attempt > 0 => return Ok(false),
        Some(found) => match found.at {
            at @ (Where::Pending(_) | Where::Held) => at.place(),
            Where::Active | Where::Complete | Where::Failed => return Ok(false),
        },
        None => return Ok(false),
    };
    let removed = spool.remove_finished(id, &place)?;
    if removed {
        spool.sync_all(&[place].into())?;
    }
    Ok(removed)
}

/// The answer for an accepted payload whose result cannot be read. It is never 503, whatever the error.
fn lost(e: &io::Error) -> Answer {
    line(
        500,
        format!("the payload was accepted; its answer is lost: {e}"),
    )
    .into()
}

/// Plain text, one line.
fn line(status: u16, what: impl std::fmt::Display) -> Response {
    Response::text(status, format!("{what}\n"))
}

fn shut_out(left: Duration) -> Response {
    let what = "Too many wrong passwords came from your address";
    line(429, what).header("Retry-After", left.as_secs() + 1)
}

fn refused(e: &JobRefusal) -> Response {
    let response = line(e.status(), e);
    match e.status() {
        503 | 507 => response.header("Retry-After", 10),
        _ => response,
    }
}

fn failed(e: io::Error) -> Response {
    refused(&JobRefusal::Io(e))
}
