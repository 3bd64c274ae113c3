//! The way in: from the bytes of a connection to a request that a worker has.

use super::Limits;
use super::body::Body;
use super::conn::{Conn, Phase};
use super::exchange::Exchange;
use super::head::{self, Head, Refused};
use super::reactor::Reactor;
use super::send;
use super::table::Key;
use super::work::Work;
use crate::core::time::Boot;
use crate::http::problem::Rebuff;
use crate::http::request::Request;
use crate::os::clock;

/// Bytes of requests that all connections together may hold before those with large bodies are refused.
const MOST_WEIGHT: usize = 32 << 20;

/// A body that is never too large.
const SMALL_BODY: usize = 64 * 1024;

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
                    Err(e) => Err(e.into()),
                },
                Phase::Body(_, _, body) => match body.feed(&mut conn.input) {
                    Ok(()) if body.is_done() => return self.hand_over(key),
                    Ok(())
                        if body.len() > SMALL_BODY && self.weight - conn.weighed > MOST_WEIGHT =>
                    {
                        let what = "too much is being sent at the same time";
                        Err(Rebuff::new(503, what).header("Retry-After", 1))
                    }
                    Ok(()) => return,
                    Err(e) => Err(e.into()),
                },
                Phase::Working
                | Phase::Waiting { .. }
                | Phase::Late(_)
                | Phase::Sending
                | Phase::Streaming(_)
                | Phase::Lingering => return,
            };
            if let Err(rebuff) = step {
                return self.refuse(key, rebuff);
            }
        }
    }

    /// A head is complete: may this request be made at all? Then its body is read.
    fn begin(&mut self, key: Key, head: Box<Head>) -> Result<(), Rebuff> {
        let now = clock::now().boot;
        let serves = self.mode.serves();
        let Some(conn) = self.table.get(key) else {
            return Ok(());
        };
        conn.exchange = Some(Exchange::of(&head, now));
        if !serves {
            return Err(Rebuff::not_any_more());
        }
        let door = &self.wire.door;
        let caller = door.admit(&head, conn.peer, conn.stream.local_ip())?;
        if let Some(exchange) = &mut conn.exchange {
            exchange.caller.clone_from(&caller.name);
        }
        let body = Body::new(head.framing, door.most_body())?;
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
    pub(super) fn refuse(&mut self, key: Key, rebuff: Rebuff) {
        let Some(conn) = self.table.get(key) else {
            return;
        };
        let now = clock::now().boot;
        let exchange = conn
            .exchange
            .get_or_insert_with(|| Exchange::of_what_came(&conn.input, now));
        exchange.manner.keep = false;
        let request = exchange.request(conn.peer);
        conn.linger = true;
        conn.input.clear();
        let wire = &self.wire;
        conn.send(wire.router.say(rebuff, request.as_ref(), &wire.door));
        self.flush(key);
    }
}

/// The head that the input begins with, taken off it; `None` if it is not complete.
fn read_head(conn: &mut Conn, limits: Limits) -> Result<Option<Box<Head>>, Refused> {
    if conn.scanned == 0 {
        // An empty line before a request is the end of a former one's body, for some old clients (RFC 9112 section
        // 2.2). It may come in two parts, and buys no time.
        let empty = conn.input.chunks(2).take_while(|pair| pair == b"\r\n");
        let end = 2 * empty.count();
        conn.input.drain(..end);
        if matches!(conn.input.as_slice(), [] | [b'\r']) {
            return Ok(None);
        }
    }
    let now: Boot = clock::now().boot;
    if conn.scanned == 0 {
        conn.deadline = Some(now.after(limits.head_time));
        conn.since = now;
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
