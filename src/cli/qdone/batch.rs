//! The lines of `enqueue-batch`, checked before anything is sent.

use crate::core::qdone_names::{QueueNames, check, meant, unsendable};

/// No queue takes a longer message.
const MOST_BODY_BYTES: usize = 1_048_576;

/// A queue and the commands for it, in the order of the lines.
#[derive(Debug, PartialEq, Eq)]
pub struct QueueLines {
    /// The name of the queue, without prefix.
    pub queue: String,
    /// The commands.
    pub commands: Vec<String>,
}

/// Adds the lines of a file, queue by queue in the order in which they first occur. Errors name the file and the line.
pub fn read(
    all: &mut Vec<QueueLines>,
    file: &str,
    bytes: &[u8],
    names: &QueueNames,
    is_fifo: bool,
) -> Result<(), String> {
    for (n, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let wrong = |why: String| format!("{file}, line {}: {why}", n + 1);
        let line = std::str::from_utf8(line).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let Some((queue, command)) = line.split_once(char::is_whitespace) else {
            let why = format!("there is a queue, {line}, and no command; write QUEUE COMMAND");
            return Err(wrong(why));
        };
        let queue = meant(queue, is_fifo);
        check(&names.full(&queue)).map_err(wrong)?;
        let command = command.trim_start();
        check_body(command).map_err(wrong)?;
        match all.iter_mut().find(|lines| lines.queue == queue) {
            Some(lines) => lines.commands.push(command.to_owned()),
            None => all.push(QueueLines {
                queue,
                commands: vec![command.to_owned()],
            }),
        }
    }
    Ok(())
}

/// Says why SQS would refuse this command as the body of a message, if so.
pub fn check_body(command: &str) -> Result<(), String> {
    if let Some(bad) = unsendable(command) {
        return Err(format!(
            "SQS does not take the character U+{:04X}; have the command read it from a file",
            u32::from(bad)
        ));
    }
    match command.len() {
        0 => Err("the command is empty".to_owned()),
        1..=MOST_BODY_BYTES => Ok(()),
        long => Err(format!(
            "the command has {long} bytes and SQS takes {MOST_BODY_BYTES}; put it into a file"
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Result<Vec<QueueLines>, String> {
        let mut all = Vec::new();
        read(&mut all, "f", text, &QueueNames::default(), false).map(|()| all)
    }

    #[test]
    fn lines_are_kept_queue_by_queue() {
        let read = lines(b"b  echo \"x   y\"  \r\n\n a.fifo\tone\n \t\nb two\na 'three'").unwrap();
        let expected = [("b", ["echo \"x   y\"", "two"]), ("a", ["one", "'three'"])];
        for ((queue, commands), lines) in expected.iter().zip(&read) {
            assert_eq!(
                (lines.queue.as_str(), &lines.commands[..]),
                (*queue, &commands.map(str::to_owned)[..])
            );
        }
        assert_eq!(read.len(), 2);
    }

    #[test]
    fn mistakes_name_the_line() {
        for (text, said) in [
            (&b"a x\nb\n"[..], "f, line 2: there is a queue, b,"),
            (b"\n\na.b x", "f, line 3: the names of queues"),
            (b"a \xff", "f, line 1: it is not UTF-8"),
            (
                b"a x\0y",
                "f, line 1: SQS does not take the character U+0000",
            ),
        ] {
            let error = lines(text).unwrap_err();
            assert!(error.starts_with(said), "{error}");
        }
        let long = [b"a ".to_vec(), vec![b'x'; MOST_BODY_BYTES + 1]].concat();
        assert!(
            lines(&long)
                .unwrap_err()
                .starts_with("f, line 1: the command has 1048577 bytes")
        );
        assert!(lines(&long[..long.len() - 1]).is_ok());
    }
}
