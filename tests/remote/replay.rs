//! A server that answers as a test tells it, and remembers what it was asked.

use pirn::remote::engine::BodyForm;
use pirn::remote::sqs::caller::{AwsAccess, AwsSettings, Patience};
use pirn::remote::sqs::client::SqsClient;
use pirn::remote::sqs::wire::MessageToSend;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Method and path.
    pub line: String,
    /// With names in small letters.
    pub headers: BTreeMap<String, String>,
    pub body: String,
    /// The number of the connection that it came on, from 0.
    pub connection: usize,
}

/// A status, lines of the head, and a body.
pub type Told = (u16, String, String);

type Answers = dyn Fn(&Seen) -> Told + Send + Sync;

/// The server. It listens until the test process ends.
pub struct Replay {
    pub port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Replay {
    pub fn start(answers: impl Fn(&Seen) -> Told + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answers: Arc<Answers> = Arc::new(answers);
        let kept = Arc::clone(&seen);
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let (answers, seen) = (Arc::clone(&answers), Arc::clone(&kept));
                std::thread::spawn(move || serve(stream, number, &*answers, &seen));
            }
        });
        Self { port, seen }
    }

    /// A server that gives the captured answers of these names, one after the other.
    pub fn of_captures(names: &'static [&'static str]) -> Self {
        let next = Mutex::new(names.iter());
        Self::start(move |_| captured(next.lock().unwrap().next().expect("one call too many")))
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// A client of it that tries once.
    pub fn client(&self) -> SqsClient {
        SqsClient::new(&access(&self.url(), &[]), Patience::BRIDGE).unwrap()
    }
}

/// Access to a server with the keys of AWS's examples, unless the variables say otherwise.
pub fn access(url: &str, env: &[(&str, &str)]) -> Arc<AwsAccess> {
    let keys = [
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        (
            "AWS_SECRET_ACCESS_KEY",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        ),
    ];
    let env = keys.iter().chain(env);
    let env = env.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let settings = AwsSettings {
        endpoint: Some(url.to_owned()),
        ..AwsSettings::default()
    };
    AwsAccess::new(&settings, &env.collect())
}

/// A captured answer: its block begins with `== NAME OPERATION STATUS`.
pub fn captured(name: &str) -> Told {
    let all = include_str!("captures/answers.txt");
    let start = format!("== {name} ");
    let block = all
        .split_inclusive('\n')
        .skip_while(|line| !line.starts_with(&start));
    let mut lines = block.map(str::trim_end);
    let first = lines.next().unwrap_or_else(|| panic!("no answer {name}"));
    let status = first.rsplit(' ').next().unwrap().parse().unwrap();
    let head: Vec<&str> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let body: Vec<&str> = lines.take_while(|line| !line.starts_with("== ")).collect();
    let head = head.iter().map(|line| format!("{line}\r\n")).collect();
    (status, head, body.join("\n"))
}

fn serve(stream: TcpStream, connection: usize, answers: &Answers, seen: &Mutex<Vec<Seen>>) {
    let mut output = stream.try_clone().unwrap();
    let mut input = BufReader::new(stream);
    while let Some(request) = read(&mut input, connection) {
        seen.lock().unwrap().push(request.clone());
        let (status, head, body) = answers(&request);
        let length = body.len();
        let answer = format!("HTTP/1.1 {status} X\r\n{head}content-length: {length}\r\n\r\n{body}");
        if output.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(input: &mut impl BufRead, connection: usize) -> Option<Seen> {
    let mut line = String::new();
    input.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut headers = BTreeMap::new();
    loop {
        let mut field = String::new();
        input.read_line(&mut field).ok().filter(|n| *n > 0)?;
        let Some((name, value)) = field.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    input.read_exact(&mut body).ok()?;
    Some(Seen {
        line: line.rsplit_once(' ').unwrap().0.to_owned(),
        headers,
        body: String::from_utf8(body).unwrap(),
        connection,
    })
}

/// A message with nothing but a body.
pub fn message(body: &str) -> MessageToSend<'_> {
    MessageToSend {
        body,
        form: BodyForm::Unmarked,
        group: None,
        deduplication: None,
        delay: None,
    }
}
