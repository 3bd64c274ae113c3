//! A beanstalkd server, and workers that only spawn.

use crate::daemon::NO_OP_PROGRAM;
use crate::sys::{self, Program};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(binlog: Option<&Path>) -> io::Result<Self> {
        // A port that was free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new("beanstalkd");
        command.args(["-l", "127.0.0.1", "-p", &port.to_string()]);
        if let Some(dir) = binlog {
            command.arg("-b").arg(dir).arg("-f0");
        }
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, port })
    }

    fn connect(&self) -> io::Result<Client> {
        let begun = sys::now();
        loop {
            match TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(Client(BufReader::new(stream)));
                }
                Err(e) if sys::since(begun) > 5.0 => return Err(e),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn ask(&mut self, what: &str) -> io::Result<String> {
        self.0.get_mut().write_all(what.as_bytes())?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        Ok(line)
    }

    /// The number of the next job; its text is read and dropped.
    fn reserve(&mut self) -> io::Result<Option<u64>> {
        let line = self.ask("reserve-with-timeout 0\r\n")?;
        let mut words = line.split_whitespace();
        if words.next() != Some("RESERVED") {
            return Ok(None);
        }
        let mut number = || words.next().and_then(|w| w.parse::<u64>().ok());
        let (Some(id), Some(size)) = (number(), number()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let mut text = vec![0; size as usize + 2];
        self.0.read_exact(&mut text)?;
        Ok(Some(id))
    }
}

/// Jobs a second, from the start of the workers until all jobs are deleted.
pub fn drain(binlog: Option<&Path>, workers: usize, count: usize) -> io::Result<f64> {
    let server = Server::start(binlog)?;
    let mut producer = server.connect()?;
    for _ in 0..count {
        producer.ask("put 0 0 600 9\r\n/bin/true\r\n")?;
    }
    let clients = (0..workers)
        .map(|_| server.connect())
        .collect::<io::Result<Vec<_>>>()?;
    let program = Program::new(&NO_OP_PROGRAM);
    let done = AtomicUsize::new(0);
    let start = sys::now();
    std::thread::scope(|scope| {
        let handles: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                let (program, done) = (&program, &done);
                scope.spawn(move || -> io::Result<()> {
                    while let Some(id) = client.reserve()? {
                        program.run()?;
                        client.ask(&format!("delete {id}\r\n"))?;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        handles
            .into_iter()
            .try_for_each(|h| h.join().expect("a worker panicked"))
    })?;
    Ok(done.into_inner() as f64 / sys::since(start))
}
