//! A load of so many requests a second, evenly spaced, for `bench/gateway`: what a request waits when callers do not know of each
//! other. (wrk waits whole milliseconds, so that its connections ask in bursts, and asks again only when it was answered.)
//!
//! One thread, HTTP/1.1, `--connections` of them. A request is due at its own time; what is measured is from then to the last byte of
//! the answer, also when no connection was free ("coordinated omission" is not possible). Each connection has one request at a time.
//!
//! Usage: bench_pace --to ADDRESS --rps N --seconds N --connections N --path PATH [--identities FILE]
//! FILE has a line `host header value` per caller, taken in turn. Prints one line of JSON: requests, us (of the whole run), p50_us, p99_us, bad_status, errors.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given: HashMap<&str, &str> =
        arguments.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    let gap = Duration::from_secs_f64(1.0 / given["--rps"].parse::<f64>().unwrap());
    let length = Duration::from_secs(given["--seconds"].parse().unwrap());
    let requests = requests(given["--path"], given.get("--identities").copied());
    // The kernel may be late by 50 µs otherwise.
    rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN)).unwrap();
    let to: SocketAddr = given["--to"].parse().unwrap();
    let connections = (0..given["--connections"].parse().unwrap()).map(|_| Connection::open(to)).collect();
    println!("{}", Load { requests, connections, gap, length }.run());
}

/// The texts that are sent in turn.
fn requests(path: &str, identities: Option<&str>) -> Vec<Vec<u8>> {
    let Some(file) = identities else {
        return vec![format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").into_bytes()];
    };
    let lines = std::fs::read_to_string(file).unwrap();
    let text = |line: &str| {
        let mut parts = line.splitn(3, ' ');
        let (host, name, value) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{name}: {value}\r\n\r\n").into_bytes()
    };
    lines.lines().map(text).collect()
}

/// One connection and the request it waits for.
struct Connection {
    stream: TcpStream,
    due: Option<Instant>,
    got: Vec<u8>,
}

impl Connection {
    fn open(to: SocketAddr) -> Connection {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_nonblocking(true).unwrap();
        Connection { stream, due: None, got: Vec::with_capacity(4096) }
    }

    fn send(&mut self, request: &[u8], due: Instant) {
        // Nothing else is under way, so that the socket's buffer takes it whole.
        self.stream.write_all(request).unwrap();
        self.due = Some(due);
        self.got.clear();
    }

    /// The status, when the answer is whole.
    fn receive(&mut self) -> Option<u16> {
        let mut part = [0; 4096];
        loop {
            match self.stream.read(&mut part) {
                Ok(0) => panic!("the connection was closed"),
                Ok(read) => self.got.extend_from_slice(&part[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        answer(&self.got)
    }
}

/// The status of an answer that is all there; its length is told by `Content-Length`.
fn answer(bytes: &[u8]) -> Option<u16> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut fields);
    parsed.parse(bytes).unwrap();
    let length = parsed.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"))?;
    let length: usize = std::str::from_utf8(length.value).unwrap().parse().unwrap();
    (bytes.len() >= head + length).then(|| parsed.code.unwrap())
}

struct Load {
    requests: Vec<Vec<u8>>,
    connections: Vec<Connection>,
    gap: Duration,
    length: Duration,
}

impl Load {
    fn run(mut self) -> String {
        let (mut taken, mut bad) = (Vec::new(), 0_u64);
        let mut free: VecDeque<usize> = (0..self.connections.len()).collect();
        let (start, mut sent) = (Instant::now(), 0_u32);
        loop {
            let due = start + self.gap * sent;
            let over = due >= start + self.length;
            if over && free.len() == self.connections.len() {
                break;
            }
            if !over
                && due <= Instant::now()
                && let Some(at) = free.pop_front()
            {
                let request = &self.requests[sent as usize % self.requests.len()];
                self.connections[at].send(request, due);
                sent += 1;
                continue;
            }
            let patience = (!over && !free.is_empty()).then(|| due.saturating_duration_since(Instant::now()));
            for at in self.readable(patience) {
                if let Some(status) = self.connections[at].receive() {
                    bad += u64::from(status != 200);
                    taken.push(self.connections[at].due.take().unwrap().elapsed());
                    free.push_back(at);
                }
            }
        }
        told(taken, bad, start.elapsed())
    }

    /// Those that have something to read; waits for it, or until `patience` is over.
    fn readable(&self, patience: Option<Duration>) -> Vec<usize> {
        let asked: Vec<usize> =
            (0..self.connections.len()).filter(|at| self.connections[*at].due.is_some()).collect();
        let mut fds: Vec<PollFd<'_>> =
            asked.iter().map(|at| PollFd::new(&self.connections[*at].stream, PollFlags::IN)).collect();
        let timeout = patience
            .map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) });
        poll(&mut fds, timeout.as_ref()).unwrap();
        asked.into_iter().zip(fds).filter(|(_, fd)| !fd.revents().is_empty()).map(|(at, _)| at).collect()
    }
}

fn told(mut taken: Vec<Duration>, bad: u64, run: Duration) -> String {
    taken.sort_unstable();
    let at = |percent: usize| taken[(taken.len() - 1) * percent / 100].as_micros();
    format!(
        r#"{{"requests":{},"us":{},"p50_us":{},"p99_us":{},"bad_status":{bad},"errors":0}}"#,
        taken.len(),
        run.as_micros(),
        at(50),
        at(99),
    )
}
