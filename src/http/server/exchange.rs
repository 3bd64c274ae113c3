//! A request with its answer, for the access log.

use crate::core::config::rights::{Caller, Rights};
use crate::core::percent::{decode, decode_form};
use crate::core::time::Boot;
use crate::http::message::head::{self, Head};
use crate::http::message::headers::Headers;
use crate::http::message::method::Method;
use crate::http::message::send::ReplyForm;
use crate::http::request::Request;
use crate::http::wire::peer::Peer;
use crate::http::wire::waiter::Waiter;
use std::rc::Rc;

/// The first line of a request.
#[derive(Debug, Clone)]
struct Asked {
    method: Method,
    path: String,
    query: String,
}

/// A request with its answer.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The first line, if it could be read.
    asked: Option<Asked>,
    /// The name of the caller's token.
    pub caller: Option<String>,
    /// When its head was complete.
    pub began: Boot,
    /// The status of the answer.
    pub status: u16,
    /// Bytes of the answer, head included.
    pub sent: u64,
    /// The form of the answer.
    pub manner: ReplyForm,
}

impl Exchange {
    /// The exchange of a request whose head is complete.
    pub fn of(head: &Head, began: Boot) -> Self {
        let asked = Asked {
            method: head.method.clone(),
            path: head.raw_path.clone(),
            query: head.raw_query.clone(),
        };
        Self::new(Some(asked), ReplyForm::of(head), began)
    }

    /// The exchange of input that is not a complete head.
    pub fn of_what_came(input: &[u8], began: Boot) -> Self {
        let asked = head::first_line(input).map(|(method, target)| Asked {
            method,
            path: target.path,
            query: target.query,
        });
        let is_head = |asked: &Asked| asked.method == Method::Head;
        let manner = ReplyForm {
            head_only: asked.as_ref().is_some_and(is_head),
            ..ReplyForm::REFUSAL
        };
        Self::new(asked, manner, began)
    }

    fn new(asked: Option<Asked>, manner: ReplyForm, began: Boot) -> Self {
        Self {
            asked,
            caller: None,
            began,
            status: 0,
            sent: 0,
            manner,
        }
    }

    /// The request without header and body, as [`crate::http::Handler::refusal`] needs it.
    pub fn request(&self, peer: Peer, waiter: &Rc<Waiter>) -> Option<Request> {
        let asked = self.asked.as_ref()?;
        Some(Request {
            method: asked.method.clone(),
            raw_path: asked.path.clone(),
            path: decode(&asked.path, false)?,
            raw_query: asked.query.clone(),
            query: decode_form(&asked.query).unwrap_or_default(),
            headers: Headers::default(),
            body: Vec::new(),
            peer,
            caller: Caller {
                name: None,
                granted: Rights::NONE,
                rights: Rights::NONE,
            },
            waiter: Rc::clone(waiter),
        })
    }

    /// Its line in the access log: `GET /v1/jobs`, without the query.
    pub fn line(&self, peer: Peer, now: Boot) -> String {
        let what = match &self.asked {
            Some(asked) => format!("{} {}", asked.method, asked.path),
            None => "-".to_owned(),
        };
        format!(
            "{peer} {} {what} {} {} {:.1}ms",
            self.caller.as_deref().unwrap_or("-"),
            self.status,
            self.sent,
            now.since(self.began).as_secs_f64() * 1000.0
        )
    }
}
