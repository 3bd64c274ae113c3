//! The body of a request, as it comes in.

use super::head::Framing;
use super::problem::Refused;

/// Longest line that begins a chunk, extensions included, in bytes.
const MAX_CHUNK_LINE: usize = 256;

/// The most bytes of fields behind the last chunk, which are read and dropped.
const MAX_TRAILER: usize = 4 * 1024;

/// A body that is being read.
#[derive(Debug)]
pub struct Body {
    bytes: Vec<u8>,
    most: usize,
    state: BodyState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyState {
    /// This many bytes follow, and then the end.
    Length(usize),
    /// The line with the size of a chunk.
    Size,
    /// This many bytes of a chunk follow.
    Chunk(usize),
    /// The line end behind a chunk.
    ChunkEnd,
    /// The fields behind the last chunk, of which this many bytes were read.
    Trailer(usize),
    /// The body is complete.
    Done,
}

fn too_large() -> Refused {
    Refused::new(413, "the body is too large")
}

fn bad(why: &str) -> Refused {
    Refused::new(400, why)
}

impl Body {
    /// A body of at most `most` bytes. Errors: the head says that it is larger.
    pub fn new(framing: Framing, most: usize) -> Result<Self, Refused> {
        let state = match framing {
            Framing::Length(0) => BodyState::Done,
            Framing::Length(n) => match usize::try_from(n) {
                Ok(n) if n <= most => BodyState::Length(n),
                Ok(_) | Err(_) => return Err(too_large()),
            },
            Framing::Chunked => BodyState::Size,
        };
        Ok(Self {
            bytes: Vec::new(),
            most,
            state,
        })
    }

    /// True once the body is complete.
    pub fn is_done(&self) -> bool {
        self.state == BodyState::Done
    }

    /// Bytes of the body that were read.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True if no byte was read yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The body.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Moves the bytes of the body from the front of `input`; bytes of the next request stay there.
    pub fn feed(&mut self, input: &mut Vec<u8>) -> Result<(), Refused> {
        let mut used = 0;
        while let Some(n) = self.step(&input[used..])? {
            used += n;
        }
        input.drain(..used);
        Ok(())
    }

    /// One step. Gives how many bytes it has used; `None` when it needs more, or the body is complete.
    fn step(&mut self, input: &[u8]) -> Result<Option<usize>, Refused> {
        let (state, used) = match self.state {
            BodyState::Done => return Ok(None),
            BodyState::Length(left) | BodyState::Chunk(left) => {
                let n = left.min(input.len());
                if n == 0 {
                    return Ok(None);
                }
                self.bytes.extend_from_slice(&input[..n]);
                let state = match self.state {
                    BodyState::Length(_) if n == left => BodyState::Done,
                    BodyState::Length(_) => BodyState::Length(left - n),
                    _ if n == left => BodyState::ChunkEnd,
                    _ => BodyState::Chunk(left - n),
                };
                (state, n)
            }
            BodyState::Size => {
                let Some(line) = line(input, MAX_CHUNK_LINE)? else {
                    return Ok(None);
                };
                let state = match chunk_size(line)? {
                    0 => BodyState::Trailer(0),
                    n if n <= self.most - self.bytes.len() => BodyState::Chunk(n),
                    _ => return Err(too_large()),
                };
                (state, line.len() + 2)
            }
            BodyState::ChunkEnd => match input {
                [b'\r', b'\n', ..] => (BodyState::Size, 2),
                [] | [b'\r'] => return Ok(None),
                _ => return Err(bad("a chunk is longer than it says")),
            },
            BodyState::Trailer(read) => {
                let Some(line) = line(input, MAX_TRAILER - read)? else {
                    return Ok(None);
                };
                let used = line.len() + 2;
                match line {
                    [] => (BodyState::Done, used),
                    line if is_field(line) => {
                        (BodyState::Trailer((read + used).min(MAX_TRAILER)), used)
                    }
                    _ => return Err(bad("what follows the last chunk is not a header field")),
                }
            }
        };
        self.state = state;
        Ok(Some(used))
    }
}

/// The first line of `input` without its end; `None` if that has not come yet.
fn line(input: &[u8], most: usize) -> Result<Option<&[u8]>, Refused> {
    match input.iter().position(|byte| *byte == b'\n') {
        Some(at) if at <= most => match input[..at].strip_suffix(b"\r") {
            Some(line) if !line.contains(&b'\r') => match line.iter().any(is_control) {
                true => Err(bad(
                    "there is a control character in a line of the chunked body",
                )),
                false => Ok(Some(line)),
            },
            Some(_) | None => Err(bad("a line of the chunked body does not end in CR LF")),
        },
        None if input.len() <= most => Ok(None),
        Some(_) | None => Err(bad("a line of the chunked body is too long")),
    }
}

fn is_control(byte: &u8) -> bool {
    byte.is_ascii_control() && *byte != b'\t'
}

/// True for `Name: value`. The field is not used; but a proxy could take another line for a request.
fn is_field(line: &[u8]) -> bool {
    let name = line.split(|byte| *byte == b':').next().unwrap_or(line);
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    name.len() < line.len() && !name.is_empty() && name.iter().all(is_token)
}

fn chunk_size(line: &[u8]) -> Result<usize, Refused> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or(line);
    let digits = digits.trim_ascii_end();
    let is_hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| is_hex)
        .and_then(|text| usize::from_str_radix(text, 16).ok())
        .ok_or_else(|| bad("a chunk's size is not a hexadecimal number"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Feeds `text` in pieces of `size` bytes; gives the body and what was left.
    fn read(framing: Framing, text: &str, size: usize) -> Result<(String, String), u16> {
        let mut body = Body::new(framing, 16).map_err(|e| e.status)?;
        let mut input = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            input.extend_from_slice(piece);
            body.feed(&mut input).map_err(|e| e.status)?;
        }
        if !body.is_done() {
            return Err(0);
        }
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ok((text(body.into_bytes()), text(input)))
    }

    #[test]
    fn bodies_in_pieces_of_any_size() {
        let chunked = "3;a=b\r\nabc\r\nA \r\n0123456789\r\n0\r\nX: y\r\n\r\nGET";
        for size in 1..chunked.len() {
            let (body, rest) = read(Framing::Chunked, chunked, size).unwrap();
            assert_eq!(
                (body.as_str(), rest.as_str()),
                ("abc0123456789", "GET"),
                "{size}"
            );
            let (body, rest) = read(Framing::Length(4), "abcdGET", size).unwrap();
            assert_eq!((body.as_str(), rest.as_str()), ("abcd", "GET"));
        }
    }

    #[test]
    fn what_is_refused() {
        assert_eq!(read(Framing::Length(17), "", 1), Err(413));
        let long = format!("1;{}\r\na", "x".repeat(MAX_CHUNK_LINE));
        let trailer = format!("0\r\n{}\r\n", "a: b\r\n".repeat(1000));
        for (text, status) in [
            ("8\r\nabcdefgh\r\n9\r\n", 413),
            ("ffffffffffffffff\r\n", 413),
            ("10000000000000000\r\n", 400),
            ("\r\n", 400),
            ("+1\r\na", 400),
            ("0x1\r\na", 400),
            ("1\na", 400),
            ("1\r\r\na", 400),
            ("1\r\nab\r\n", 400),
            ("1\r\na\n", 400),
            ("1;\0\r\na\r\n", 400),
            ("0\r\nGET / HTTP/1.1\r\n\r\n", 400),
            ("0\r\nGET http://a/ HTTP/1.1\r\n\r\n", 400),
            ("0\r\n a: b\r\n\r\n", 400),
            ("0\r\na : b\r\n\r\n", 400),
            ("0\r\n: b\r\n\r\n", 400),
            (&long, 400),
            (&trailer, 400),
            ("1\r\na\r\n", 0),
        ] {
            assert_eq!(read(Framing::Chunked, text, 7), Err(status), "{text:?}");
        }
    }
}
