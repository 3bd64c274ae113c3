//! A server that speaks the JSON protocol of SQS and misbehaves when it is told to.

use crate::ask::Asker;
use crate::sqs_model::{Queues, Refusal};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How one call goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Not carried out: a status, a code, and what it says, in JSON.
    Error(u16, &'static str, &'static str),
    /// Not carried out: the same in XML, as gateways in front of SQS answer.
    ErrorXml(u16, &'static str),
    /// Not carried out: a status without a body.
    Status(u16),
    /// Not carried out: each entry of a batch is refused with this code and this text; a call without entries as well.
    Refused(&'static str, &'static str),
    /// Not carried out: each entry of a batch fails for the server's fault.
    Busy,
    /// Not carried out: the connection ends.
    Reset,
    /// Carried out, and no answer.
    Lost,
    /// Carried out, and half of the answer.
    Cut,
    /// Carried out, with a wrong checksum in the answer.
    WrongMd5,
    /// Carried out, and the messages can be received again at once.
    Doubled,
    /// Carried out after this time.
    Late(Duration),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Call {
    pub operation: String,
    pub body: Value,
    /// Its header, in small letters.
    pub headers: BTreeMap<String, String>,
    pub at: Instant,
}

#[derive(Default)]
struct State {
    queues: Queues,
    orders: BTreeMap<String, VecDeque<Fault>>,
    calls: Vec<Call>,
    /// Seconds by which the clock of the server is ahead.
    clock: i64,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The server. It listens until the test process ends.
pub struct FaultySqs {
    pub port: u16,
    shared: Arc<Shared>,
}

impl FaultySqs {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        shared.lock().queues.port = port;
        let server = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = Arc::clone(&server);
                std::thread::spawn(move || server.serve(stream));
            }
        });
        Self { port, shared }
    }

    /// Its endpoint.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// To prepare queues and look at them. Such calls are counted, and meet faults, as all others do.
    pub fn asker(&self) -> Asker {
        Asker(self.port)
    }

    /// The next call of this operation goes wrong like this; the one after it as the next order says.
    pub fn order(&self, operation: &str, fault: Fault) {
        let mut state = self.shared.lock();
        state
            .orders
            .entry(operation.to_owned())
            .or_default()
            .push_back(fault);
    }

    /// True if all that was ordered has happened.
    pub fn is_done(&self) -> bool {
        self.shared.lock().orders.values().all(VecDeque::is_empty)
    }

    /// Sets the clock of the server ahead, or back.
    pub fn set_clock(&self, ahead: i64) {
        self.shared.lock().clock = ahead;
    }

    /// The calls so far, without those of [`Asker`].
    pub fn calls(&self) -> Vec<Call> {
        let calls = self.shared.lock().calls.clone();
        let is_ours = |call: &Call| call.headers.get("connection").is_some_and(|c| c == "close");
        calls.into_iter().filter(|call| !is_ours(call)).collect()
    }

    /// How many calls of this operation there were, those of [`Asker`] included.
    pub fn count(&self, operation: &str) -> usize {
        let state = self.shared.lock();
        let calls = state.calls.iter();
        calls.filter(|call| call.operation == operation).count()
    }

    /// The operations of [`Self::calls`].
    pub fn operations(&self) -> Vec<String> {
        self.calls()
            .into_iter()
            .map(|call| call.operation)
            .collect()
    }

    /// The texts in a queue, leased or not.
    pub fn bodies(&self, queue: &str) -> Vec<String> {
        self.shared.lock().queues.bodies(queue)
    }

    /// Delivers a message once more, though it is leased.
    pub fn show_again(&self, id: &str) {
        self.shared.lock().queues.show_again(id);
        self.shared.changed.notify_all();
    }
}

/// An answer before it is sent.
struct Reply {
    status: u16,
    headers: String,
    body: String,
}

impl Reply {
    fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            headers: "content-type: application/x-amz-json-1.0\r\n".to_owned(),
            body: body.to_string(),
        }
    }

    fn refusal(status: u16, code: &str, older: &str, what: &str) -> Self {
        let body = json!({"__type": format!("com.amazonaws.sqs#{code}"), "message": what});
        let mut reply = Self::json(status, &body);
        if !older.is_empty() {
            reply.headers += &format!("x-amzn-query-error: {older};Sender\r\n");
        }
        reply
    }

    fn xml(status: u16, code: &str) -> Self {
        let body = format!(
            "<?xml version=\"1.0\"?>\n<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>\
             <Message>{code} on order</Message></Error></ErrorResponse>"
        );
        Self {
            status,
            headers: "content-type: text/xml\r\n".to_owned(),
            body,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn serve(&self, stream: TcpStream) {
        let mut input = BufReader::new(stream.try_clone().unwrap());
        let mut output = stream;
        let _ = output.set_nodelay(true);
        while let Some(call) = read_call(&mut input) {
            let fault = {
                let mut state = self.lock();
                state.calls.push(call.clone());
                let ordered = state.orders.get_mut(&call.operation);
                ordered.and_then(VecDeque::pop_front)
            };
            let Some(mut reply) = self.answer(&call, fault.as_ref()) else {
                let _ = output.shutdown(Shutdown::Both);
                return;
            };
            if matches!(fault, Some(Fault::WrongMd5)) {
                reply.body = reply.body.replace("\":\"", "\": \"");
                for key in ["MD5OfMessageBody\": \"", "MD5OfBody\": \""] {
                    reply.body = reply.body.replace(key, &format!("{key}0"));
                }
            }
            let date = self.now();
            let date = httpdate(date);
            let mut bytes = format!(
                "HTTP/1.1 {} On Order\r\ndate: {date}\r\n{}content-length: {}\r\n\r\n{}",
                reply.status,
                reply.headers,
                reply.body.len(),
                reply.body
            )
            .into_bytes();
            let is_cut = matches!(fault, Some(Fault::Cut));
            if is_cut {
                bytes.truncate(bytes.len() - reply.body.len().div_ceil(2));
            }
            let closes = call.headers.get("connection").is_some_and(|c| c == "close");
            if output.write_all(&bytes).is_err() || is_cut || closes {
                let _ = output.shutdown(Shutdown::Both);
                return;
            }
        }
    }

    /// Seconds since 1970 on the clock of the server.
    fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        since.as_secs() as i64 + self.lock().clock
    }

    /// `None`: no answer.
    fn answer(&self, call: &Call, fault: Option<&Fault>) -> Option<Reply> {
        let entries = call.body["Entries"].as_array();
        let all_fail = |code: &str, what: &str, is_theirs: bool| {
            let failed = entries.into_iter().flatten().map(|entry| {
                json!({"Id": entry["Id"], "Code": code, "Message": what, "SenderFault": is_theirs})
            });
            let failed: Vec<Value> = failed.collect();
            Reply::json(200, &json!({"Successful": [], "Failed": failed}))
        };
        match fault {
            Some(Fault::Error(status, code, what)) => {
                return Some(Reply::refusal(*status, code, "", what));
            }
            Some(Fault::ErrorXml(status, code)) => return Some(Reply::xml(*status, code)),
            Some(Fault::Status(status)) => {
                return Some(Reply {
                    status: *status,
                    headers: String::new(),
                    body: String::new(),
                });
            }
            Some(Fault::Refused(code, what)) if entries.is_some() => {
                return Some(all_fail(code, what, true));
            }
            Some(Fault::Refused(code, what)) => return Some(Reply::refusal(400, code, "", what)),
            Some(Fault::Busy) => return Some(all_fail("InternalError", "try again", false)),
            Some(Fault::Reset) => return None,
            Some(Fault::Late(time)) => std::thread::sleep(*time),
            Some(Fault::Lost | Fault::Cut | Fault::WrongMd5 | Fault::Doubled) | None => {}
        }
        if let Some(refusal) = self.judge_date(call) {
            return Some(refusal);
        }
        let reply = match self.carry_out(call) {
            Ok(answer) => {
                if matches!(fault, Some(Fault::Doubled)) {
                    let messages = answer["Messages"].as_array();
                    for message in messages.into_iter().flatten() {
                        let id = message["MessageId"].as_str().unwrap();
                        self.lock().queues.show_again(id);
                    }
                }
                Reply::json(200, &answer)
            }
            Err(Refusal(code, older, what)) => Reply::refusal(400, code, older, &what),
        };
        (!matches!(fault, Some(Fault::Lost))).then_some(reply)
    }

    /// Carries out a call. A receive without a message waits for one, as long as it says.
    fn carry_out(&self, call: &Call) -> Result<Value, Refusal> {
        let wait = call.body["WaitTimeSeconds"].as_u64().unwrap_or(0);
        let end = call.at + Duration::from_secs(wait);
        let mut state = self.lock();
        loop {
            if let Some(answer) = state.queues.call(&call.operation, &call.body) {
                self.changed.notify_all();
                return answer;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(json!({}));
            }
            // A lease may lapse meanwhile.
            let left = left.min(Duration::from_millis(20));
            state = match self.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(e) => e.into_inner().0,
            };
        }
    }

    /// Refuses a signature that is more than five minutes off the clock of the server.
    fn judge_date(&self, call: &Call) -> Option<Reply> {
        let date = call.headers.get("x-amz-date")?;
        let number = |from: usize, to: usize| date[from..to].parse::<i64>().unwrap();
        let days = days(number(0, 4), number(4, 6), number(6, 8));
        let signed = days * 86_400 + number(9, 11) * 3600 + number(11, 13) * 60 + number(13, 15);
        let what = format!("Signature expired: {date} is now too far away");
        ((self.now() - signed).abs() > 300)
            .then(|| Reply::refusal(403, "SignatureDoesNotMatch", "", &what))
    }
}

/// Days from 1970 to this date of the Gregorian calendar, which repeats every 400 years.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469
}

fn httpdate(seconds: i64) -> String {
    // GNU date knows calendars well enough.
    let date = std::process::Command::new("date")
        .args([
            "-u",
            "-d",
            &format!("@{seconds}"),
            "+%a, %d %b %Y %H:%M:%S GMT",
        ])
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}

/// Reads one request; `None` at the end of the connection.
pub fn read_call(input: &mut impl BufRead) -> Option<Call> {
    let mut headers = BTreeMap::new();
    let mut line = String::new();
    input.read_line(&mut line).ok().filter(|n| *n > 0)?;
    loop {
        line.clear();
        input.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length")?.parse().ok()?;
    let mut body = vec![0; length];
    input.read_exact(&mut body).ok()?;
    let target = headers.get("x-amz-target").cloned().unwrap_or_default();
    Some(Call {
        operation: target.trim_start_matches("AmazonSQS.").to_owned(),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        headers,
        at: Instant::now(),
    })
}
