//! A service that does wrong what its path says: `…/what/marker`. Connections are kept; a good answer tells the marker.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A running service, and what it saw.
#[derive(Clone)]
pub struct Faulty {
    pub address: String,
    pub requests: Arc<AtomicUsize>,
    pub connections: Arc<AtomicUsize>,
    /// While this is up, requests wait.
    pub holds: Arc<AtomicBool>,
    gone: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Faulty {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let faulty = Faulty {
            address: listener.local_addr().unwrap().to_string(),
            requests: Arc::default(),
            connections: Arc::default(),
            holds: Arc::default(),
            gone: Arc::default(),
            open: Arc::default(),
        };
        let own = faulty.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if own.gone.load(Ordering::SeqCst) {
                    reset(&stream);
                    return;
                }
                own.connections.fetch_add(1, Ordering::SeqCst);
                own.open.lock().unwrap().push(stream.try_clone().unwrap());
                let own = own.clone();
                std::thread::spawn(move || own.serve(stream));
            }
        });
        faulty
    }

    pub fn count(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// As when its process is killed: every connection is reset, and nobody listens any more.
    pub fn kill(&self) {
        self.gone.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(&self.address);
        for stream in self.open.lock().unwrap().drain(..) {
            reset(&stream);
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn serve(&self, mut stream: TcpStream) {
        let (mut seen, mut byte) = (Vec::new(), [0]);
        while stream.read_exact(&mut byte).is_ok() {
            seen.push(byte[0]);
            if !seen.ends_with(b"\r\n\r\n") {
                continue;
            }
            let head = String::from_utf8(std::mem::take(&mut seen)).unwrap();
            let number = self.requests.fetch_add(1, Ordering::SeqCst);
            while self.holds.load(Ordering::SeqCst) {
                std::thread::park_timeout(Duration::from_millis(1));
            }
            let path = head.split(' ').nth(1).unwrap();
            let mut parts = path.rsplit('/');
            let (marker, what) = (parts.next().unwrap(), parts.next().unwrap());
            if !answer(&mut stream, what, marker, number) {
                return;
            }
        }
    }
}

/// Ends a connection with a reset, once all of it is let go.
fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Waits until the other end has had enough.
fn until_closed(stream: &mut TcpStream) {
    let mut buffer = [0; 1024];
    while matches!(stream.read(&mut buffer), Ok(1..)) {}
}

/// Answers as it is told to; whether the connection goes on.
fn answer(stream: &mut TcpStream, what: &str, marker: &str, number: usize) -> bool {
    let head = |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
    let well = head(marker.len()) + marker;
    let mut say = |text: &str| stream.write_all(text.as_bytes()).is_ok();
    match what {
        "well" => return say(&well),
        "chunked" => {
            let (first, rest) = marker.split_at(1);
            return say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n")
                && say(&format!("{first}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len()));
        }
        "every-third-busy" if number % 3 == 2 => {
            return say("HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy");
        }
        "every-third-busy" => return say(&well),
        // What comes behind an answer belongs to nobody.
        "more" => return say(&format!("{well}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged")),
        "silent" => until_closed(stream),
        "half-head" => {
            say("HTTP/1.1 200 OK\r\ncontent-le");
            until_closed(stream);
        }
        "half-head-end" => {
            say("HTTP/1.1 200 OK\r\ncontent-le");
        }
        "half-body" => {
            say(&(head(1_000) + marker));
            until_closed(stream);
        }
        "half-body-end" => {
            say(&(head(1_000) + marker));
        }
        "half-chunk" => {
            say(&format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{marker}"));
            until_closed(stream);
        }
        "half-chunk-end" => {
            say(&format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{marker}"));
        }
        "reset" => reset(stream),
        "reset-body" => {
            say(&(head(1_000) + marker));
            reset(stream);
        }
        "end" => {}
        what => panic!("{what}"),
    }
    // The list of open connections has another handle of it.
    let _ = stream.shutdown(Shutdown::Both);
    false
}
