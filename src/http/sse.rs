//! Server-sent events, as the HTML standard has them.

use super::Response;
use std::fmt::Display;
use std::time::Duration;

/// The longest silence of a stream: then a comment shows both ends that the other one is there.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// The head of a stream.
pub fn head() -> Response {
    Response::with(200, "text/event-stream", Vec::new())
        .header("Cache-Control", "no-store")
        .header("X-Accel-Buffering", "no")
}

/// Appends an event. Line ends within `data` stay; `\r` alone is one too.
pub fn event(out: &mut Vec<u8>, id: Option<&dyn Display>, name: Option<&str>, data: &str) {
    if let Some(name) = name {
        out.extend_from_slice(format!("event: {name}\n").as_bytes());
    }
    if let Some(id) = id {
        out.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    for line in data.replace("\r\n", "\n").split(['\n', '\r']) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
    out.push(b'\n');
}

/// Appends a comment.
pub fn comment(out: &mut Vec<u8>) {
    out.extend_from_slice(b":\n\n");
}

#[cfg(test)]
mod tests {
    use super::event;

    #[test]
    fn no_data_begins_another_event() {
        let mut out = Vec::new();
        event(&mut out, Some(&7), Some("log"), "a\r\nb\n\ndata: c\rd\n");
        assert_eq!(
            String::from_utf8_lossy(&out),
            "event: log\nid: 7\ndata: a\ndata: b\ndata: \ndata: data: c\ndata: d\ndata: \n\n"
        );
    }
}
