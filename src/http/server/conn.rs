//! The thread of a connection: it reads a request, runs the handler, sends the answer, and begins anew.

use super::exchange::Exchange;
use super::reader::{RequestReader, Unanswered};
use crate::http::answer::{Answer, BodyWriter};
use crate::http::door::most_body;
use crate::http::message::body::Body;
use crate::http::message::head::Head;
use crate::http::message::problem::Refused;
use crate::http::message::response::Response;
use crate::http::message::send::{self, Extent, ReplyForm};
use crate::http::request::Request;
use crate::http::wire::link::{Activity, Link, Pending};
use crate::http::wire::outgoing::{Outgoing, Sender};
use crate::http::wire::shared::{BodyWeight, Wire};
use crate::http::wire::waiter::Waiter;
use crate::http::{Door, Router};
use crate::os::clock;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long a refused client may go on sending before the connection is closed.
const LINGER: Duration = Duration::from_secs(2);

/// The handlers, and the state that they need.
pub struct Answerer {
    /// The spool, the settings and the tokens.
    pub door: Arc<Door>,
    /// The handlers.
    pub router: Router,
}

/// Serves a connection until it ends.
pub fn serve(answerer: &Answerer, wire: &Arc<Wire>, link: Arc<Link>) {
    // Its `drop` runs also when a handler panics.
    let _end = EndOfThread {
        wire: Arc::clone(wire),
        key: link.key,
    };
    Conn::new(answerer, wire, link).run();
}

struct EndOfThread {
    wire: Arc<Wire>,
    key: u64,
}

impl Drop for EndOfThread {
    fn drop(&mut self) {
        self.wire.connections.remove(self.key);
    }
}

/// The state of a connection that only its thread needs.
struct Conn<'a> {
    answerer: &'a Answerer,
    wire: Arc<Wire>,
    link: Arc<Link>,
    waiter: Rc<Waiter>,
    reader: RequestReader,
    sender: Sender,
    /// The request that is being read or answered.
    exchange: Option<Exchange>,
}

impl<'a> Conn<'a> {
    fn new(answerer: &'a Answerer, wire: &Arc<Wire>, link: Arc<Link>) -> Self {
        let waiter = Rc::new(Waiter::new(Arc::clone(wire), Arc::clone(&link)));
        Self {
            answerer,
            wire: Arc::clone(wire),
            reader: RequestReader::new(Arc::clone(wire), Arc::clone(&link)),
            sender: Sender::new(Rc::clone(&waiter)),
            link,
            waiter,
            exchange: None,
        }
    }

    fn run(mut self) {
        loop {
            match self.exchange() {
                Ok(true) => {}
                Ok(false) => break,
                Err(Unanswered::Refused(refused)) => {
                    self.refuse(refused);
                    break;
                }
                Err(Unanswered::Over) => break,
            }
        }
        self.log();
    }

    /// Reads a request and answers it. True if another one may follow.
    fn exchange(&mut self) -> Result<bool, Unanswered> {
        let read = self.reader.head();
        let head = self.or_stopped(read)?;
        self.answer_to(head)
    }

    /// Answers a request whose head was read. Not inlined: idle threads need no frame for it.
    #[inline(never)]
    fn answer_to(&mut self, head: Head) -> Result<bool, Unanswered> {
        let (now, is_safe) = (clock::now().boot, head.method.is_safe());
        let exchange = self.exchange.insert(Exchange::of(&head, now));
        if !self.wire.stage().serves() {
            return Err(Refused::not_any_more().into());
        }
        let (Answerer { door, router }, peer) = (self.answerer, self.link.peer);
        let config = door.config();
        let caller = door.admit(&config, &head, peer)?;
        exchange.caller.clone_from(&caller.name);
        let mut weight = BodyWeight::new(&self.wire);
        let body = Body::new(head.framing, most_body(&config))?;
        let body = self.read_body(&head, body, &mut weight)?;
        self.link.standing().begin(Pending {
            began: now,
            has_token: caller.name.is_some(),
            is_safe,
        });
        let request = Request {
            method: head.method,
            raw_path: head.raw_path,
            path: head.path,
            raw_query: head.raw_query,
            query: head.query,
            headers: head.headers,
            body,
            peer,
            caller,
            waiter: Rc::clone(&self.waiter),
        };
        self.waiter.take_permit(match is_safe {
            true => &self.wire.looking,
            false => &self.wire.changing,
        });
        let answer = router.answer(&request, door, &config);
        drop(request);
        let sent = match answer {
            Answer::Full(response) => self.send(response),
            Answer::Stream { head, length, body } => self.stream(&head, length, body),
        };
        sent.map_err(|_| Unanswered::Over)?;
        Ok(self.finish())
    }

    fn read_body(
        &mut self,
        head: &Head,
        body: Body,
        weight: &mut BodyWeight,
    ) -> Result<Vec<u8>, Unanswered> {
        if head.expects_continue && !body.is_done() && self.reader.bytes().is_empty() {
            let sent = self.sender.send(send::CONTINUE, Activity::Sending);
            sent.map_err(|_| Unanswered::Over)?;
        }
        let read = self.reader.body(body, weight);
        self.or_stopped(read)
    }

    /// Refuses a request that [`Link::come_to_an_end`] has cut short.
    fn or_stopped<T>(&self, read: Result<T, Unanswered>) -> Result<T, Unanswered> {
        match read {
            Err(Unanswered::Over) if !self.reader.bytes().is_empty() || self.exchange.is_some() => {
                match self.link.standing().read_ended {
                    true => Err(Refused::not_any_more().into()),
                    false => Err(Unanswered::Over),
                }
            }
            read => read,
        }
    }

    /// Notes the status of the answer. Gives the form in which it is written.
    fn manner(&mut self, status: u16) -> ReplyForm {
        let Some(exchange) = &mut self.exchange else {
            return ReplyForm::REFUSAL;
        };
        exchange.status = status;
        exchange.manner.keep &= self.wire.stage().is_open() && !self.link.standing().hung_up;
        exchange.manner
    }

    /// Sends a whole answer, after its delay.
    fn send(&mut self, response: Response) -> io::Result<()> {
        self.waiter.give_back_permit();
        if !response.delay.is_zero() {
            let until = clock::now().boot.after(response.delay);
            if !self.waiter.delay(until) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        let manner = self.manner(response.status);
        self.link.standing().is_long = false;
        let mut bytes = Vec::new();
        send::full(&mut bytes, &response, manner, clock::wall());
        // It may be large, and the client slow.
        drop(response);
        self.sender.send(&bytes, Activity::Sending)
    }

    /// Sends an answer whose body is made meanwhile.
    fn stream(&mut self, head: &Response, length: Option<u64>, body: BodyWriter) -> io::Result<()> {
        let mut manner = self.manner(head.status);
        let extent = match length {
            Some(length) => Extent::Length(length),
            None if manner.is_old => Extent::UntilClose,
            None => Extent::Chunks,
        };
        manner.keep &= extent != Extent::UntilClose;
        if let Some(exchange) = &mut self.exchange {
            exchange.manner = manner;
        }
        self.waiter.give_back_permit();
        let mut bytes = Vec::new();
        send::head(&mut bytes, head, extent, manner, clock::wall());
        if manner.head_only {
            return self.sender.send(&bytes, Activity::Sending);
        }
        {
            let mut standing = self.link.standing();
            standing.enter(Activity::Streaming);
            standing.is_long = length.is_none();
        }
        // Many streams without a known end may look at the same time: when something changes.
        if length.is_none() {
            self.wire.connections.leave_room();
            self.waiter.take_permit(&self.wire.later);
        }
        let mut outgoing = Outgoing::new(&mut self.sender, bytes, extent);
        body(&mut outgoing)?;
        outgoing.finish()
    }

    /// Ends an exchange. True if another request may follow.
    fn finish(&mut self) -> bool {
        self.waiter.finish();
        self.link.standing().finish();
        let keep = self.exchange.as_ref().is_some_and(|e| e.manner.keep);
        self.log();
        keep && !self.wire.stage().is_closing()
    }

    /// Refuses a request. The rest of it is not read, so that the connection ends.
    #[inline(never)]
    fn refuse(&mut self, refused: Refused) {
        let came = self.reader.bytes();
        let exchange = self
            .exchange
            .get_or_insert_with(|| Exchange::of_what_came(came, clock::now().boot));
        exchange.manner.keep = false;
        let request = exchange.request(self.link.peer, &self.waiter);
        let (router, door) = (&self.answerer.router, &self.answerer.door);
        let response = router.refuse(refused, request.as_ref(), door);
        if self.send(response).is_err() {
            return;
        }
        self.finish();
        if !self.wire.stage().is_closing() {
            let _ = self.link.stream.shutdown(Shutdown::Write);
            self.link.standing().enter(Activity::Lingering);
            self.reader.forget_all(clock::now().boot.after(LINGER));
        }
    }

    /// Writes the exchange to the access log.
    fn log(&mut self) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.sent = std::mem::take(&mut self.sender.sent);
            let line = exchange.line(self.link.peer, clock::now().boot);
            self.wire.access_log.write(line);
        }
    }
}

impl Refused {
    /// The refusal while the daemon stops or is replaced.
    fn not_any_more() -> Self {
        Self::new(503, "the daemon is stopping").header("Retry-After", 5)
    }
}
