//! What happens on one connection: from its bytes to a request, and from an answer to its bytes.

use super::Limits;
use super::body::Body;
use super::conn::{Conn, Exchange, Phase};
use super::head::{self, Head, Refused};
use super::reactor::{Mode, Reactor};
use super::send::{self, Manner};
use super::table::Key;
use super::work::Work;
use crate::core::time::Boot;
use crate::http::answer::{Answer, Next, Response, Source, Woken};
use crate::http::problem;
use crate::http::request::Request;
use crate::http::wake::Topic;
use crate::os::clock;
use std::time::Duration;

/// Bytes that all connections together may hold before those with large bodies are refused.
const MOST_WEIGHT: usize = 32 << 20;

/// A body that is never too large.
const SMALL_BODY: usize = 64 * 1024;

/// How long a refused client may go on sending before the connection is closed under it.
const LINGER: Duration = Duration::from_secs(2);

impl Reactor {
    /// Goes on with what has come in, for as long as that completes something.
    pub(super) fn advance(&mut self, key: Key) {
        loop {
            let Some(conn) = self.table.get(key) else {
                return;
            };
            let step = match &mut conn.phase {
                Phase::Head => match read_head(conn, self.limits) {
                    Ok(Some(head)) => self.begin(key, head),
                    Ok(None) => return,
                    Err(e) => Err(problem::refused(e)),
                },
                Phase::Body(_, _, body) => match body.feed(&mut conn.input) {
                    Ok(()) if body.is_done() => return self.hand_over(key),
                    Ok(())
                        if body.len() > SMALL_BODY && self.weight - conn.weighed > MOST_WEIGHT =>
                    {
                        let what = "too much is being sent at the same time";
                        Err(problem::new(503, what).header("Retry-After", 1))
                    }
                    Ok(()) => return,
                    Err(e) => Err(problem::refused(e)),
                },
                Phase::Working
                | Phase::Waiting { .. }
                | Phase::Sending
                | Phase::Streaming(_)
                | Phase::Lingering => return,
            };
            if let Err(response) = step {
                return self.refuse(key, &response);
            }
        }
    }

    /// A head is complete: may this request be made at all? Then its body is read.
    fn begin(&mut self, key: Key, head: Box<Head>) -> Result<(), Response> {
        let now = clock::now().boot;
        let serves = self.mode.serves();
        let Some(conn) = self.table.get(key) else {
            return Ok(());
        };
        conn.exchange = Some(Exchange {
            what: format!("{} {}", head.method, head.raw_path),
            caller: None,
            began: now,
            status: 0,
            sent: 0,
            manner: Manner::of(&head),
        });
        if !serves {
            return Err(Response::not_any_more());
        }
        let door = &self.wire.door;
        let caller = door.admit(&head, conn.local, conn.stream.local_ip())?;
        if let Some(exchange) = &mut conn.exchange {
            exchange.caller.clone_from(&caller.name);
        }
        let body = Body::new(head.framing, door.most_body()).map_err(problem::refused)?;
        if head.expects_continue && !body.is_done() && conn.input.is_empty() {
            conn.output.extend_from_slice(send::CONTINUE);
        }
        conn.phase = Phase::Body(head, caller, body);
        conn.deadline = Some(now.after(self.limits.body));
        self.flush(key);
        Ok(())
    }

    /// The request is complete: a worker gets it.
    fn hand_over(&mut self, key: Key) {
        let Some(conn) = self.table.get(key) else {
            return;
        };
        if let Phase::Body(head, caller, body) = std::mem::replace(&mut conn.phase, Phase::Working)
        {
            conn.deadline = None;
            conn.handed_over = body.len();
            let request = Request {
                method: head.method,
                raw_path: head.raw_path,
                path: head.path,
                raw_query: head.raw_query,
                query: head.query,
                headers: head.headers,
                body: body.into_bytes(),
                peer: conn.peer,
                caller,
            };
            self.submit(Work::Handle(key, Box::new(request)));
        }
    }

    /// Answers what will not be served. The rest of the request is not read, so that the connection ends.
    fn refuse(&mut self, key: Key, response: &Response) {
        let Some(conn) = self.table.get(key) else {
            return;
        };
        let exchange = conn.exchange.get_or_insert_with(|| Exchange {
            what: "-".to_owned(),
            caller: None,
            began: clock::now().boot,
            status: 0,
            sent: 0,
            manner: Manner::REFUSAL,
        });
        exchange.manner.keep = false;
        conn.linger = true;
        conn.input.clear();
        conn.send(response);
        self.flush(key);
    }

    /// A worker has an answer.
    pub(super) fn answer(&mut self, key: Key, answer: Answer) {
        let closing = self.mode.is_closing();
        let Some(conn) = self.table.get(key) else {
            return;
        };
        if self.mode != Mode::Open
            && let Some(exchange) = &mut conn.exchange
        {
            exchange.manner.keep = false;
        }
        match answer {
            Answer::Full(response) => conn.send(&response),
            Answer::Stream {
                head,
                length,
                source,
            } => conn.stream(&head, length, source),
            Answer::Wait(wait) => {
                let (was_waiting, was_woken) = match conn.phase {
                    Phase::Waiting { woken, .. } => (true, woken),
                    _ => (false, false),
                };
                if closing && was_waiting {
                    return self.close(key);
                }
                let topics = wait.on.clone();
                conn.wait(wait, false);
                match self.subscribe(key, topics) {
                    _ if closing => self.go_on(key, Woken::Closing),
                    Ok(false) if !was_woken => {}
                    Ok(_) => self.go_on(key, Woken::Changed),
                    // Without watches there is nothing to wait for.
                    Err(e) => {
                        log::warn!("http: watching the spool: {e}");
                        self.go_on(key, Woken::Late);
                    }
                }
            }
        }
        self.flush(key);
        self.settle(key);
    }

    /// A worker has a piece of a body.
    pub(super) fn piece(&mut self, key: Key, source: Box<dyn Source>, bytes: Vec<u8>, next: Next) {
        let closing = self.mode.is_closing();
        let Some(conn) = self.table.get(key) else {
            return;
        };
        let Phase::Streaming(flow) = &mut conn.phase else {
            return;
        };
        // A source without a promised length ends when the daemon does.
        let is_last = next == Next::End || (closing && flow.left.is_none());
        let was_woken = std::mem::take(&mut flow.woken);
        flow.source = Some(source);
        flow.ready = was_woken || next == Next::More;
        flow.until = None;
        if !conn.piece(bytes, is_last)
            && let Some(exchange) = &mut conn.exchange
        {
            exchange.manner.keep = false;
        }
        if let Next::Sleep { on, until } = next
            && !is_last
        {
            let changed = self.subscribe(key, on).unwrap_or_else(|e| {
                log::warn!("http: watching the spool: {e}");
                false
            });
            if let Some(conn) = self.table.get(key)
                && let Phase::Streaming(flow) = &mut conn.phase
            {
                flow.ready |= changed;
                flow.until = until;
            }
        }
        self.flush(key);
        self.settle(key);
    }

    /// Has a connection woken by these topics and no others. True if some of them are new: then something may have
    /// happened between the look at the spool and now.
    fn subscribe(&mut self, key: Key, topics: Vec<Topic>) -> std::io::Result<bool> {
        let Some(conn) = self.table.get(key) else {
            return Ok(false);
        };
        let old = std::mem::replace(&mut conn.topics, topics.clone());
        for topic in old.iter().filter(|topic| !topics.contains(topic)) {
            self.hub.remove(key, topic);
        }
        let mut newly = false;
        for topic in topics.iter().filter(|topic| !old.contains(topic)) {
            self.hub.add(key, topic)?;
            newly = true;
        }
        Ok(newly)
    }

    /// Has a worker go on with an answer that waits.
    fn go_on(&mut self, key: Key, why: Woken) {
        let Some(conn) = self.table.get(key) else {
            return;
        };
        if let Phase::Waiting { again, woken } = &mut conn.phase {
            match again.take() {
                Some(again) => {
                    *woken = false;
                    conn.deadline = None;
                    self.submit_again(key, again, why);
                }
                None => *woken = true,
            }
        }
        self.settle(key);
    }

    /// Something happened that this connection waits for.
    pub(super) fn wake(&mut self, key: Key) {
        self.go_on(key, Woken::Changed);
        if let Some(conn) = self.table.get(key)
            && let Phase::Streaming(flow) = &mut conn.phase
        {
            match flow.source {
                Some(_) => flow.ready = true,
                None => flow.woken = true,
            }
            self.flush(key);
            self.settle(key);
        }
    }

    /// The wire is about to close: what can be brought to an end now is.
    pub(super) fn come_to_an_end(&mut self, key: Key) {
        let serves = self.mode.serves();
        let Some(conn) = self.table.get(key) else {
            return;
        };
        // A connection that has just come may have its request on the way.
        let is_over = conn.is_idle() && (conn.served || !serves);
        match &mut conn.phase {
            Phase::Lingering => self.close(key),
            Phase::Head if is_over => self.close(key),
            Phase::Head | Phase::Body(..) if !serves => {
                self.refuse(key, &Response::not_any_more());
            }
            Phase::Waiting { .. } => self.go_on(key, Woken::Closing),
            Phase::Streaming(flow)
                if flow.left.is_none() && flow.source.is_some() && !flow.ended =>
            {
                conn.piece(Vec::new(), true);
                self.flush(key);
            }
            Phase::Head
            | Phase::Body(..)
            | Phase::Working
            | Phase::Sending
            | Phase::Streaming(_) => {}
        }
        self.settle(key);
    }

    /// Writes what there is room for, and goes on with the answer when all is out.
    pub(super) fn flush(&mut self, key: Key) {
        let Some(conn) = self.table.get(key) else {
            return;
        };
        if conn.flush().is_err() {
            return self.close(key);
        }
        if !conn.output.is_empty() {
            return;
        }
        match &mut conn.phase {
            Phase::Sending => self.finish(key),
            Phase::Streaming(flow) if flow.ended => self.finish(key),
            Phase::Streaming(flow) => {
                conn.deadline = flow.until;
                if flow.ready
                    && let Some(source) = flow.source.take()
                {
                    flow.ready = false;
                    conn.deadline = None;
                    self.submit_fill(key, source);
                }
            }
            Phase::Head
            | Phase::Body(..)
            | Phase::Working
            | Phase::Waiting { .. }
            | Phase::Lingering => {}
        }
    }

    /// The answer is out.
    fn finish(&mut self, key: Key) {
        let (now, closing) = (clock::now().boot, self.mode.is_closing());
        let Some(conn) = self.table.get(key) else {
            return;
        };
        conn.log(now);
        conn.handed_over = 0;
        conn.served = true;
        conn.linger &= !closing;
        let keep = conn.exchange.take().is_some_and(|e| e.manner.keep) && !closing;
        let topics = std::mem::take(&mut conn.topics);
        if keep {
            conn.phase = Phase::Head;
            conn.idle_since = now;
            conn.deadline = Some(now.after(self.limits.idle));
        } else if conn.linger {
            conn.stream.finish();
            conn.phase = Phase::Lingering;
            conn.deadline = Some(now.after(LINGER));
        }
        let over = !keep && !conn.linger;
        for topic in &topics {
            self.hub.remove(key, topic);
        }
        match over {
            true => self.close(key),
            // The next request may be here already.
            false => self.advance(key),
        }
    }

    /// A connection has used up its time.
    pub(super) fn out_of_time(&mut self, key: Key) {
        let Some(conn) = self.table.get(key) else {
            return;
        };
        conn.deadline = None;
        match &mut conn.phase {
            Phase::Head if conn.input.is_empty() => self.close(key),
            Phase::Head | Phase::Body(..) if conn.output.is_empty() => {
                self.refuse(key, &problem::new(408, "the request took too long"));
            }
            Phase::Waiting { .. } => self.go_on(key, Woken::Late),
            Phase::Streaming(flow) if conn.output.is_empty() => {
                flow.until = None;
                flow.ready = true;
                self.flush(key);
            }
            Phase::Head
            | Phase::Body(..)
            | Phase::Streaming(_)
            | Phase::Sending
            | Phase::Lingering => {
                self.close(key);
            }
            Phase::Working => {}
        }
    }
}

/// The head that the input begins with, taken off it; `None` if it is not complete.
fn read_head(conn: &mut Conn, limits: Limits) -> Result<Option<Box<Head>>, Refused> {
    // An empty line before a request is the end of a former one's body, for some old clients (RFC 9112 section 2.2).
    if conn.scanned == 0 && conn.input.starts_with(b"\r\n") {
        conn.input.drain(..2);
    }
    if conn.input.is_empty() {
        return Ok(None);
    }
    let now: Boot = clock::now().boot;
    if conn.scanned == 0 {
        conn.deadline = Some(now.after(limits.head_time));
    }
    let end = head::end_of_head(&conn.input, conn.scanned)?;
    match end {
        Some(end) if end <= limits.head => {
            let head = head::parse(&conn.input[..end])?;
            conn.input.drain(..end);
            conn.scanned = 0;
            Ok(Some(Box::new(head)))
        }
        None if conn.input.len() < limits.head => {
            conn.scanned = conn.input.len();
            Ok(None)
        }
        Some(_) | None => Err(head::too_large(&conn.input)),
    }
}
