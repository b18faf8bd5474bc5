//! A client that sends exactly the bytes it is told to: a well-behaved library would hide what is tested.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A request in the making.
#[derive(Clone)]
pub struct Ask {
    address: SocketAddr,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Ask {
    pub fn new(address: SocketAddr, method: &str, target: &str) -> Self {
        let (method, target) = (method.to_owned(), target.to_owned());
        Ask { address, method, target, headers: Vec::new(), body: Vec::new() }
    }

    pub fn header(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn host(self, host: &str) -> Self {
        self.header("Host", host)
    }

    pub fn key(self, key: &str) -> Self {
        self.header("Authorization", format!("Bearer {key}"))
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len();
        self.header("Content-Length", length)
    }

    pub fn send(self) -> Answer {
        Wire::open(self.address).ask(&self)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        [text.into_bytes(), self.body.clone()].concat()
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Status and stable code of a refusal.
    #[track_caller]
    pub fn refusal(&self) -> (u16, String) {
        let problem = self.json();
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text());
        assert_eq!(problem["status"], self.status);
        (self.status, problem["code"].as_str().unwrap().to_owned())
    }
}

/// One connection.
pub struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_nodelay(true).unwrap();
        Wire { stream, read: Vec::new() }
    }

    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self
    }

    /// Writes what the other end may have stopped listening to.
    pub fn try_write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    pub fn ask(&mut self, ask: &Ask) -> Answer {
        self.write(ask.bytes());
        self.answer_to(&ask.method)
    }

    pub fn answer(&mut self) -> Answer {
        self.answer_to("GET")
    }

    /// The answer to a GET or POST, or nothing if the other end closes before its end.
    pub fn try_answer(&mut self) -> Option<Answer> {
        let wait = |wire: &mut Wire, is_whole: &dyn Fn(&[u8]) -> bool| loop {
            if is_whole(&wire.read) {
                return Some(());
            }
            wire.more().then_some(())?;
        };
        let end_of_head = |read: &[u8]| read.windows(4).position(|window| window == b"\r\n\r\n");
        wait(self, &|read| end_of_head(read).is_some())?;
        let body = end_of_head(&self.read)? + 4;
        let head = String::from_utf8_lossy(&self.read[..body]).to_ascii_lowercase();
        match head.split("\r\n").find_map(|line| line.strip_prefix("content-length: ")) {
            Some(length) => {
                let length: usize = length.parse().unwrap();
                wait(self, &|read| read.len() >= body + length)?;
            }
            None => wait(self, &|read| read.ends_with(b"\r\n0\r\n\r\n"))?,
        }
        Some(self.answer())
    }

    /// The answer to a request by `method`.
    pub fn answer_to(&mut self, method: &str) -> Answer {
        let head = self.until(b"\r\n\r\n");
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.split("\r\n");
        let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        if method != "HEAD" && status != 204 && status != 304 {
            answer.body = self.body(&answer);
        }
        answer
    }

    fn body(&mut self, head: &Answer) -> Vec<u8> {
        if let Some(length) = head.header("content-length") {
            return self.exactly(length.parse().unwrap());
        }
        assert_eq!(head.header("transfer-encoding"), Some("chunked"), "an answer without framing: {head:?}");
        let mut body = Vec::new();
        loop {
            let size = self.until(b"\r\n");
            let size = std::str::from_utf8(&size).unwrap().trim();
            let size = usize::from_str_radix(size, 16).unwrap();
            let chunk = self.exactly(size + 2);
            if size == 0 {
                return body;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    /// Reads up to and including `mark`.
    pub fn until(&mut self, mark: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.read.windows(mark.len()).position(|window| window == mark) {
                return self.read.drain(..at + mark.len()).collect();
            }
            assert!(self.more(), "closed after {:?}", String::from_utf8_lossy(&self.read));
        }
    }

    fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            assert!(self.more(), "closed after {} of {count} bytes", self.read.len());
        }
        self.read.drain(..count).collect()
    }

    /// Whether the other end closes without another byte.
    pub fn is_closed(&mut self) -> bool {
        !self.more() && self.read.is_empty()
    }

    /// Everything until the other end closes.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.read)
    }

    /// Everything until the other end closes; whether it did so by a reset.
    pub fn rest_and_reset(&mut self) -> (Vec<u8>, bool) {
        let mut rest = std::mem::take(&mut self.read);
        let outcome = self.stream.read_to_end(&mut rest);
        (rest, outcome.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset))
    }

    fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.read.extend_from_slice(&buffer[..count]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error}"),
        }
    }
}
