//! Calls of `https` URLs.

use crate::spool::Spool;
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const CERTIFICATES: &str = "
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca
openssl req -newkey rsa:2048 -nodes -keyout key.pem -out csr.pem -subj /CN=localhost
printf 'subjectAltName=DNS:localhost\\nbasicConstraints=CA:FALSE\\n' > ext
openssl x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile ext
";

const SERVER: &str = "
import ssl, http.server
class Worker(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['content-length']))
        self.send_response(200)
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Worker)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('cert.pem', 'key.pem')
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
";

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn servers_are_known_by_the_certificates_that_are_trusted() {
    let spool = Spool::serving(&[]);
    let dir = spool.beside("");
    let mut openssl = Command::new("sh");
    openssl.args(["-ec", CERTIFICATES]).current_dir(&dir);
    let made = openssl.stderr(Stdio::null()).status();
    if !made.is_ok_and(|status| status.success()) {
        return eprintln!("skipped: openssl is not installed");
    }
    let mut python = Command::new("python3");
    python.args(["-c", SERVER]).current_dir(&dir);
    let Ok(child) = python.stdout(Stdio::piped()).stderr(Stdio::null()).spawn() else {
        return eprintln!("skipped: python3 is not installed");
    };
    let mut server = Server(child);
    let mut port = String::new();
    let said = server.0.stdout.take().unwrap();
    BufReader::new(said).read_line(&mut port).unwrap();
    let port = port.trim();
    let call = |id: &str, host: &str, trusted: bool| {
        let env = match trusted {
            true => json!({"SSL_CERT_FILE": spool.beside("ca.pem")}),
            false => json!({}),
        };
        let url = format!("https://{host}:{port}/");
        spool.drop_json(
            id,
            &json!({"url": url, "payload": [1], "tries": 1, "env": env}),
        );
    };
    call("known", "localhost", true);
    assert_eq!(spool.wait_record("complete/known")["output"], "[1]");
    // Neither one that nobody trusts, nor one that is somebody else's.
    for (id, host, trusted) in [
        ("unknown", "localhost", false),
        ("other", "127.0.0.1", true),
    ] {
        call(id, host, trusted);
        let record = spool.wait_record(&format!("failed/{id}"));
        let error = record["error"].as_str().unwrap();
        assert!(error.contains("certificate"), "{error}");
    }
}
