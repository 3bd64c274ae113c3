//! The way out: from an answer, be it whole, in pieces or for later, to bytes on the connection.

use super::conn::Phase;
use super::reactor::Reactor;
use super::table::Key;
use super::work::Mode;
use crate::http::answer::{Answer, Next, Source, Woken};
use crate::http::problem::Rebuff;
use crate::http::wake::Topic;
use crate::os::clock;
use std::time::Duration;

/// How long a refused client may go on sending before the connection is closed under it.
const LINGER: Duration = Duration::from_secs(2);

/// How long a source rests after a piece before it is woken again.
const REST: Duration = Duration::from_millis(50);

impl Reactor {
    /// A worker has an answer.
    pub(super) fn answer(&mut self, key: Key, answer: Answer) {
        let (closing, draining) = (self.mode.is_closing(), self.mode == Mode::Draining);
        let Some(conn) = self.table.get(key) else {
            return;
        };
        if self.mode != Mode::Open
            && let Some(exchange) = &mut conn.exchange
        {
            exchange.manner.keep = false;
        }
        let begins = matches!(conn.phase, Phase::Working);
        match answer {
            Answer::Full(response) => conn.send(response),
            Answer::Stream {
                head,
                length,
                source,
            } => conn.stream(&head, length, source),
            Answer::Wait(wait) => {
                let (was_last, was_woken, was_told) = match conn.phase {
                    Phase::Waiting {
                        woken, told, last, ..
                    } => (last, woken, told),
                    _ => (false, false, false),
                };
                // One that looked before the end was near has not been asked for its last word yet.
                if was_last {
                    return self.close(key);
                }
                let topics = wait.on.clone();
                conn.wait(wait, was_told);
                match self.subscribe(key, topics) {
                    _ if closing => self.go_on(key, Woken::Closing),
                    _ if draining && !was_told => self.go_on(key, Woken::Draining),
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
        self.bound_answers(key);
        if begins {
            self.leave_room();
        }
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
        flow.ready = next == Next::More;
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
                flow.rested = clock::now().boot.after(REST);
                if was_woken {
                    flow.hold();
                }
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
        // After a shortage there may be no watches although somebody waits.
        let deaf = !self.hub.is_armed();
        for topic in topics.iter().filter(|topic| deaf || !old.contains(topic)) {
            self.hub.add(key, topic)?;
            newly = true;
        }
        Ok(newly)
    }

    /// Has a worker go on with an answer that waits.
    pub(super) fn go_on(&mut self, key: Key, why: Woken) {
        let Some(conn) = self.table.get(key) else {
            return;
        };
        if let Phase::Waiting {
            again,
            woken,
            told,
            last,
        } = &mut conn.phase
        {
            match again.take() {
                Some(again) => {
                    *woken = false;
                    *told |= why == Woken::Draining;
                    *last = why == Woken::Closing;
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
                Some(_) if flow.rested <= clock::now().boot => flow.ready = true,
                Some(_) => flow.hold(),
                None => flow.woken = true,
            }
            self.flush(key);
            self.settle(key);
        }
    }

    /// The wire is about to close: what can be brought to an end now is.
    pub(super) fn come_to_an_end(&mut self, key: Key) {
        let serves = self.mode.serves();
        self.read_what_is_there(key);
        let Some(conn) = self.table.get(key) else {
            return;
        };
        // A connection that has just come may have its request on the way.
        let is_over = conn.is_idle() && (conn.served || !serves);
        match &mut conn.phase {
            Phase::Lingering => self.close(key),
            Phase::Head if is_over => self.close(key),
            Phase::Head | Phase::Body(..) if !serves => {
                self.refuse(key, Rebuff::not_any_more());
            }
            Phase::Waiting { .. } => self.go_on(key, Woken::Closing),
            Phase::Late(_) => self.send_late(key),
            Phase::Streaming(flow)
                if flow.left.is_none() && flow.source.is_some() && !flow.ended =>
            {
                // What is held back is its last piece, else there is none.
                flow.ready |= flow.held;
                if !flow.ready {
                    conn.piece(Vec::new(), true);
                }
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
                    flow.held = false;
                    conn.deadline = None;
                    self.submit_fill(key, source);
                }
            }
            Phase::Head
            | Phase::Body(..)
            | Phase::Working
            | Phase::Waiting { .. }
            | Phase::Late(_)
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
        conn.leaving = false;
        conn.linger &= !closing;
        conn.since = now;
        conn.rest();
        let keep = conn.exchange.take().is_some_and(|e| e.manner.keep) && !closing;
        let topics = std::mem::take(&mut conn.topics);
        if keep {
            conn.phase = Phase::Head;
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

    /// Sends an answer that was kept back.
    fn send_late(&mut self, key: Key) {
        let Some(conn) = self.table.get(key) else {
            return;
        };
        if let Phase::Late(response) = std::mem::replace(&mut conn.phase, Phase::Working) {
            conn.send(*response);
        }
        self.flush(key);
    }

    /// A client that waits sends nothing more: it has gone away, or it has said all that it has to say and listens.
    /// It is told what there is to say now.
    pub(super) fn hang_up(&mut self, key: Key) {
        let Some(conn) = self.table.get(key) else {
            return;
        };
        if !matches!(conn.phase, Phase::Waiting { .. }) {
            return self.close(key);
        }
        if let Some(exchange) = &mut conn.exchange {
            exchange.manner.keep = false;
        }
        // While a worker looks, nobody is told: the poller says it once more.
        conn.hung_up = matches!(conn.phase, Phase::Waiting { again: Some(_), .. });
        self.go_on(key, Woken::HungUp);
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
                self.refuse(key, Rebuff::new(408, "the request took too long"));
            }
            Phase::Waiting { .. } => self.go_on(key, Woken::Late),
            Phase::Late(_) => self.send_late(key),
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
