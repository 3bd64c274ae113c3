//! `GET /ui`: a page that shows and steers jobs. It is a client like any other: it uses `/v1` with the rights of its
//! user, so that the page itself needs no right.
//!
//! There is no build, and nothing is loaded from elsewhere: the files beside this one are sent as they are. The
//! security policy allows no inline script or style and, with trusted types, no text that becomes markup.

use super::tokens::digest;
use super::{Answer, Door, Handler, Request, Response, problem};
use std::sync::Arc;

/// The handler. It leaves `/ui/internal/` to hq's dialect.
pub struct Ui;

/// A file of the page: its name, its type, its text.
type File = (&'static str, &'static str, &'static str);

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// The page, for any path that is not another file's. It keeps its own place behind the `#`.
const PAGE: File = ("", HTML, include_str!("page.html"));

const FILES: [File; 10] = [
    ("style.css", CSS, include_str!("style.css")),
    ("app.js", JS, include_str!("app.js")),
    ("net.js", JS, include_str!("net.js")),
    ("dom.js", JS, include_str!("dom.js")),
    ("text.js", JS, include_str!("text.js")),
    ("list.js", JS, include_str!("list.js")),
    ("queues.js", JS, include_str!("queues.js")),
    ("detail.js", JS, include_str!("detail.js")),
    ("log.js", JS, include_str!("log.js")),
    ("new.js", JS, include_str!("new.js")),
];

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

impl Handler for Ui {
    fn answer(&self, request: &Request, _door: &Arc<Door>) -> Option<Answer> {
        let segments = request.segments();
        let name = match segments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["ui", "internal", ..] => return None,
            ["ui"] => "",
            ["ui", name] => name,
            ["ui", ..] => "",
            _ => return None,
        };
        if !request.method.is_get() {
            let what = format!("{} is not possible here", request.method);
            return Some(problem::new(405, what).header("Allow", "GET, HEAD").into());
        }
        let file = FILES.into_iter().find(|(known, ..)| *known == name);
        Some(send(file.unwrap_or(PAGE), request).into())
    }
}

/// A file, or 304 if the client has this version. Clients ask each time, so that no page gets the script of another
/// version.
fn send((_, kind, text): File, request: &Request) -> Response {
    let tag = format!("\"{}\"", digest(text).get(..24).unwrap_or_default());
    let is_known = |known: &str| known.split(',').any(|one| one.trim().ends_with(&tag));
    let response = match request.headers.get("if-none-match").is_some_and(is_known) {
        true => Response::new(304),
        false => Response::with(200, kind, text),
    };
    response
        .header("ETag", tag)
        .header("Cache-Control", "no-cache")
        .header("Content-Security-Policy", POLICY)
        .header("X-Content-Type-Options", "nosniff")
        .header("Referrer-Policy", "same-origin")
        .header("Cross-Origin-Resource-Policy", "same-origin")
}
