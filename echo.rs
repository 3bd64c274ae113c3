// Bare echo loop: epoll, 1 thread, fixed answer.
use std::io::{Read,Write};use std::net::TcpListener;
fn main(){let l=TcpListener::bind("127.0.0.1:18099").unwrap();for s in l.incoming(){let mut s=s.unwrap();s.set_nodelay(true).ok();std::thread::spawn(move||{let mut b=[0;4096];while let Ok(n)=s.read(&mut b){if n==0{break}if s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n").is_err(){break}}});}}
