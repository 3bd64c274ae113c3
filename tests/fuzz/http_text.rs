//! The laws for any bytes on a connection: the head of a request, and a body in chunks.

use pirn::core::config::http::HttpConfig;
use pirn::core::percent::decode;
use pirn::http::message::MAX_TARGET;
use pirn::http::message::body::Body;
use pirn::http::message::head::{self, Framing, Head, MAX_FIELDS};
use pirn::http::message::method::Method;

/// A head ends at the same place however its bytes arrive, and is read in one way only.
pub fn http_head(data: &[u8]) {
    let whole = head::end_of_head(data, 0);
    let mut by_bytes = Ok(None);
    for n in 1..=data.len() {
        by_bytes = head::end_of_head(&data[..n], n - 1);
        if by_bytes != Ok(None) {
            break;
        }
    }
    assert_eq!(whole, by_bytes);
    let Ok(Some(end)) = whole else { return };
    let text = &data[..end];
    assert!(text.ends_with(b"\r\n\r\n") && !text.contains(&0));
    let head = match head::parse(text) {
        Ok(head) => head,
        Err(e) => {
            assert!((400..600).contains(&e.status) && !e.why.is_empty());
            assert!(!e.why.contains(char::is_control));
            return;
        }
    };
    paths(&head);
    fields(&head, text);
    // Any Host is judged without a panic.
    let _ = pirn::http::check_site(&head, Some([127, 0, 0, 1].into()), &HttpConfig::default());
}

fn paths(head: &Head) {
    assert!(!head.path.contains(char::is_control) && head.raw_path.len() <= MAX_TARGET);
    assert!(head.raw_path.starts_with('/') || head.raw_path == "*");
    assert!(
        head.raw_path
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#')
    );
    assert_eq!(
        decode(&head.raw_path, false).as_deref(),
        Some(head.path.as_str())
    );
    for part in head.raw_path.split('/') {
        assert!(
            decode(part, false).is_some(),
            "a part of what is UTF-8 as a whole"
        );
    }
    assert_eq!(Method::parse(head.method.as_str()), head.method);
}

/// There is nothing in it that other programs may read differently.
fn fields(head: &Head, text: &[u8]) {
    let count = |name| head.headers.all(name).count();
    assert!(count("host") == 1 || (head.is_old && count("host") == 0));
    assert!(count("content-length") + count("transfer-encoding") <= 1);
    assert!(head.framing != Framing::Chunked || (count("transfer-encoding") == 1 && !head.is_old));
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').skip(1).collect();
    let lines = &lines[..lines.len().saturating_sub(2)];
    assert!(lines.len() <= MAX_FIELDS);
    for line in lines {
        let name = line.split(|byte| *byte == b':').next().unwrap();
        assert!(line.contains(&b':') && !name.is_empty());
        assert!(
            name.iter().all(|byte| byte.is_ascii_graphic()),
            "{:?}",
            line.escape_ascii().to_string()
        );
    }
}

/// A body is the same in parts of any size: its content, the bytes behind it, or its refusal. The first byte decides
/// about its framing and the size of the parts.
pub fn http_body(data: &[u8]) {
    const MOST: usize = 256;
    let Some((first, text)) = data.split_first() else {
        return;
    };
    let framing = match first % 4 {
        0 => Framing::Length(u64::from(first / 4)),
        1..=3 => Framing::Chunked,
        _ => unreachable!(),
    };
    let read = |size: usize| {
        let mut body = Body::new(framing, MOST).unwrap();
        let mut input = Vec::new();
        for drop in text.chunks(size) {
            input.extend_from_slice(drop);
            body.feed(&mut input).map_err(|e| e.status)?;
        }
        let done = body.is_done();
        let bytes = body.into_bytes();
        assert!(bytes.len() <= MOST);
        Ok::<_, u16>((done, bytes, if done { input } else { Vec::new() }))
    };
    let whole = read(text.len().max(1));
    if let Ok((true, bytes, rest)) = &whole {
        assert!(bytes.len() + rest.len() <= text.len() && text.ends_with(rest));
    }
    for size in [1, 2, 3, usize::from(*first) + 1] {
        assert_eq!(read(size), whole, "in drops of {size}");
    }
}
