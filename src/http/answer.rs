//! The answers of handlers: whole, or piece by piece.

use super::message::response::Response;
use super::wire::outgoing::Outgoing;
use std::io;

/// Makes a body while it is sent. Errors of [`Outgoing`] are passed on, and end the connection.
pub type BodyWriter = Box<dyn FnOnce(&mut Outgoing<'_>) -> io::Result<()>>;

/// The answer to a request.
pub enum Answer {
    /// A whole answer.
    Full(Response),
    /// A body that comes in pieces. `length`: its size in bytes when that is known; else it is sent in chunks.
    Stream {
        /// Status and header; its body is not used.
        head: Response,
        /// All bytes that `body` will write.
        length: Option<u64>,
        /// Writes them; not called for HEAD.
        body: BodyWriter,
    },
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self::Full(response)
    }
}

/// The result of a handler: an answer, or the refusal that is answered instead.
pub type Handled = Result<Answer, Response>;
