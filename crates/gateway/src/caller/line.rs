//! One connection of a caller who speaks HTTP/1: its bytes in and out. The connection's task and the body of the request that is
//! being served share it; they never wait for it at the same time.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::head::{self, BadHead, HEAD_BYTES_MAX, Head};
use crate::framing::Chunks;
use crate::idle::Watched;
use crate::scratch::Scratch;
use crate::stream::Stream;

/// The beginning of every connection in HTTP/2 (RFC 9113 §3.4). No request of HTTP/1 begins like it.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// With so much waiting to be written, nothing more is taken from an answer.
const WAITING_MAX: usize = 64 * 1024;
/// Data of this size or more is written from where it is.
const COPIED_MAX: usize = 8 * 1024;
/// A part of a head of at most this size is waited with in a place of its own: it may be the end of something large.
const PART_MAX: usize = 4 * 1024;

/// A connection, shared.
pub(crate) struct Line(RefCell<State>);

/// Where the body of the request that is being served goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// All of it was read.
    Over,
    /// So many bytes are to come, at least one.
    Length(u64),
    Chunked(Chunks),
    /// Where it ends cannot be known: the caller broke off, or framed it wrongly.
    Broken,
}

/// The body cannot be read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BrokeOff;

/// What comes next on a connection.
pub(super) enum Next {
    Request(Head),
    Bad(BadHead),
    /// The preface of HTTP/2; it has not been taken.
    Http2,
    /// The caller has ended it.
    Gone,
}

struct State {
    /// Until the connection is at its end, or turns into something else.
    stream: Option<Watched<Stream>>,
    scratch: Scratch,
    /// Read and not yet used.
    arrived: Bytes,
    /// Of that, so much has been looked at, and no head ended there.
    searched: usize,
    rest: Rest,
    /// Requests so far: a body that outlives its request reads nothing of the next one.
    requests: u64,
    /// Whether the caller waits to be told that it should go on.
    expects: bool,
    /// Whether the answer has begun: from then on only the connection's own task writes.
    answers: bool,
    /// Who waits for more of the body.
    reader: Option<Waker>,
    /// Waits to be written, in this order.
    waiting: Vec<u8>,
    written: usize,
    tail: Bytes,
    /// Whether something waits inside of TLS.
    unflushed: bool,
}

impl Line {
    pub(crate) fn new(stream: Watched<Stream>, scratch: Scratch) -> Self {
        Line(RefCell::new(State {
            stream: Some(stream),
            scratch,
            arrived: Bytes::new(),
            searched: 0,
            rest: Rest::Over,
            requests: 0,
            expects: false,
            answers: false,
            reader: None,
            waiting: Vec::new(),
            written: 0,
            tail: Bytes::new(),
            unflushed: false,
        }))
    }

    /// The connection itself, and what has arrived on it. Nothing is read or written any more here.
    pub(crate) fn take(&self) -> Option<(Watched<Stream>, Bytes)> {
        let mut state = self.0.borrow_mut();
        state.rest = Rest::Broken;
        state.wake_reader();
        Some((state.stream.take()?, std::mem::take(&mut state.arrived)))
    }

    /// What comes next, once the request before it is through. `ends` says that nothing more is to come, unless it has begun to.
    pub(super) fn poll_next(&self, ends: bool, cx: &mut Context<'_>) -> Poll<Next> {
        let mut state = self.0.borrow_mut();
        loop {
            if let Some(next) = state.next() {
                return Poll::Ready(next);
            }
            if ends && state.arrived.is_empty() {
                return Poll::Ready(Next::Gone);
            }
            let read = state.poll_read(cx);
            if read.is_pending() {
                state.rests_with_part();
            }
            match ready!(read) {
                Ok(bytes) if !bytes.is_empty() => state.append(bytes),
                _ => return Poll::Ready(Next::Gone),
            }
        }
    }

    /// The number of the request that is being served.
    pub(super) fn request(&self) -> u64 {
        self.0.borrow().requests
    }

    /// What is still to come of the body of the request that is being served.
    pub(super) fn rest(&self) -> Rest {
        self.0.borrow().rest
    }

    /// The next piece of the body of request `number`; `None` at its end.
    pub(super) fn poll_body(
        &self,
        number: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BrokeOff>>> {
        let mut state = self.0.borrow_mut();
        if state.requests != number {
            return Poll::Ready(Some(Err(BrokeOff)));
        }
        let polled = state.poll_body(cx);
        if polled.is_pending() {
            // The connection's own task may wait for other bytes, and would be told in its place.
            state.reader = Some(cx.waker().clone());
        }
        polled
    }

    /// The connection ends by a reset, by which a caller sees that something was missing; in TLS the missing good-bye says so.
    pub(super) fn break_off(&self) {
        if let Some(Watched { stream: Stream::Plain(stream), .. }) = &self.0.borrow().stream {
            // What has ended already needs none.
            let _ = stream.set_zero_linger();
        }
    }

    /// Ready when the caller has gone. Asked while it waits for its answer; a next request that it has sent already hides it.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.borrow_mut();
        while state.rest == Rest::Over && state.arrived.is_empty() {
            match ready!(state.poll_read(cx)) {
                Ok(bytes) if !bytes.is_empty() => state.arrived = bytes,
                _ => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// Writes `head`, as much of it as is taken at once; the rest waits. From here on the caller is not told to go on.
    pub(super) fn say(&self, head: &[u8], cx: &mut Context<'_>) {
        let mut state = self.0.borrow_mut();
        (state.expects, state.answers) = (false, true);
        let at_once = match state.is_waiting() {
            true => 0,
            false => match state.poll_write(head, cx) {
                Poll::Ready(Ok(count)) => count,
                // What failed fails again when the rest is written.
                Poll::Ready(Err(_)) | Poll::Pending => 0,
            },
        };
        state.waiting.extend_from_slice(&head[at_once..]);
    }

    /// Lets `pieces` be written after everything before.
    pub(super) fn put(&self, pieces: [&[u8]; 3]) {
        let mut state = self.0.borrow_mut();
        debug_assert!(state.tail.is_empty(), "nothing is put behind a tail");
        pieces.into_iter().for_each(|piece| state.waiting.extend_from_slice(piece));
    }

    /// Lets `data` be written after everything before, without copying it if it is large.
    pub(super) fn pass(&self, data: Bytes) {
        let mut state = self.0.borrow_mut();
        match data.len() {
            ..COPIED_MAX => state.waiting.extend_from_slice(&data),
            _ => state.tail = data,
        }
    }

    /// Ready when there is room for more: nothing waits that is not to be copied, and little else.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        while !state.tail.is_empty() || state.waiting.len() - state.written >= WAITING_MAX {
            ready!(state.poll_out(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when everything has left.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_out(cx)
    }

    /// Tells the caller that nothing more comes.
    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        ready!(state.poll_out(cx))?;
        state.stream.as_mut().map_or(Poll::Ready(Ok(())), |stream| Pin::new(stream).poll_shutdown(cx))
    }

    /// Drops what is here already of the body of the last request, at most `bytes_max` bytes. Whether that was all of it. Whoever still
    /// has the body reads nothing more of it.
    pub(super) fn drop_body(&self, bytes_max: usize, cx: &mut Context<'_>) -> bool {
        let mut state = self.0.borrow_mut();
        let mut left = bytes_max;
        if state.rest != Rest::Over {
            state.requests += 1;
            state.wake_reader();
            while left > 0
                && let Poll::Ready(Some(Ok(data))) = state.poll_body(cx)
            {
                left = left.saturating_sub(data.len());
            }
        }
        state.rest == Rest::Over
    }

    /// Reads and drops; ready at the end of what the caller says, or once that was `bytes_max` bytes.
    pub(super) fn poll_drop(&self, bytes_max: &mut usize, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.borrow_mut();
        state.arrived.clear();
        loop {
            match ready!(state.poll_read(cx)) {
                Ok(bytes) if !bytes.is_empty() && bytes.len() < *bytes_max => *bytes_max -= bytes.len(),
                _ => return Poll::Ready(()),
            }
        }
    }
}

impl State {
    fn next(&mut self) -> Option<Next> {
        // RFC 9112 §2.2: empty lines before a request are passed over.
        while let Some(line) = [&b"\r\n"[..], b"\n"].into_iter().find(|line| self.arrived.starts_with(line)) {
            self.arrived.advance(line.len());
        }
        if self.arrived.is_empty() {
            // Even empty it would hold what it was cut from.
            self.arrived = Bytes::new();
            return None;
        }
        if self.requests == 0 && self.arrived[0] == b'P' {
            let same = self.arrived.iter().zip(PREFACE).take_while(|(own, preface)| own == preface).count();
            match same {
                _ if same == PREFACE.len() => return Some(Next::Http2),
                // `P` begins requests as well; three letters of it do not.
                3.. if same == self.arrived.len() => return None,
                _ => {}
            }
        }
        if self.searched > 0
            && self.arrived.len() < HEAD_BYTES_MAX
            && !head::ends(&self.arrived, self.searched)
        {
            self.searched = self.arrived.len();
            return None;
        }
        match head::parse(&self.arrived) {
            Ok(Some(head)) => {
                self.arrived.advance(head.length);
                (self.searched, self.rest, self.expects) = (0, head.rest, head.expects);
                (self.answers, self.reader) = (false, None);
                self.requests += 1;
                self.note_part(false);
                Some(Next::Request(head))
            }
            Ok(None) => {
                self.searched = self.arrived.len();
                None
            }
            Err(bad) => {
                self.rest = Rest::Broken;
                Some(Next::Bad(bad))
            }
        }
    }

    fn append(&mut self, bytes: Bytes) {
        if self.arrived.is_empty() {
            self.arrived = bytes;
            return;
        }
        self.arrived = match std::mem::take(&mut self.arrived).try_into_mut() {
            Ok(mut own) => {
                own.extend_from_slice(&bytes);
                own.freeze()
            }
            Err(shared) => [&*shared, &*bytes].concat().into(),
        };
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokeOff>>> {
        loop {
            match &mut self.rest {
                Rest::Over => return Poll::Ready(None),
                Rest::Broken => return Poll::Ready(Some(Err(BrokeOff))),
                Rest::Length(left) if !self.arrived.is_empty() => {
                    let most = usize::try_from(*left).unwrap_or(usize::MAX).min(self.arrived.len());
                    *left -= most as u64;
                    if *left == 0 {
                        self.rest = Rest::Over;
                    }
                    return Poll::Ready(Some(Ok(self.arrived.split_to(most))));
                }
                Rest::Length(_) => {}
                Rest::Chunked(chunks) => match chunks.next(&mut self.arrived) {
                    Ok(Some(data)) => return Poll::Ready(Some(Ok(data))),
                    Ok(None) if chunks.over() => {
                        self.rest = Rest::Over;
                        continue;
                    }
                    Ok(None) => {}
                    Err(_) => {
                        self.rest = Rest::Broken;
                        continue;
                    }
                },
            }
            self.tell_to_go_on(cx);
            match ready!(self.poll_read(cx)) {
                Ok(bytes) if !bytes.is_empty() => self.arrived = bytes,
                _ => self.rest = Rest::Broken,
            }
        }
    }

    /// Nothing comes just now: whether a part of a head is here already is noted, and it holds nothing else.
    fn rests_with_part(&mut self) {
        self.note_part(!self.arrived.is_empty());
        if (1..=PART_MAX).contains(&self.arrived.len()) {
            self.arrived = Bytes::copy_from_slice(&self.arrived);
        }
    }

    fn note_part(&self, is_here: bool) {
        if let Some(stream) = &self.stream {
            stream.seen.has_part.set(is_here);
        }
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn tell_to_go_on(&mut self, cx: &mut Context<'_>) {
        if self.answers {
            return;
        }
        if std::mem::take(&mut self.expects) {
            self.waiting.extend_from_slice(CONTINUE);
        }
        if self.is_waiting() {
            // What fails here is told by reading, or when the answer is written.
            let _ = self.poll_out(cx);
        }
    }

    fn is_waiting(&self) -> bool {
        self.written < self.waiting.len() || !self.tail.is_empty() || self.unflushed
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        match &mut self.stream {
            Some(stream) => self.scratch.poll_read(stream, cx),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_write(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        self.unflushed = !matches!(stream.stream, Stream::Plain(_));
        match ready!(Pin::new(stream).poll_write(cx, bytes))? {
            0 if !bytes.is_empty() => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            count => Poll::Ready(Ok(count)),
        }
    }

    /// Writes everything that waits.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.waiting.len() {
            let waiting = std::mem::take(&mut self.waiting);
            let wrote = self.poll_write(&waiting[self.written..], cx);
            self.waiting = waiting;
            self.written += ready!(wrote)?;
        }
        (self.waiting, self.written) = (Vec::new(), 0);
        while !self.tail.is_empty() {
            let tail = self.tail.clone();
            let count = ready!(self.poll_write(&tail, cx))?;
            self.tail.advance(count);
        }
        if self.unflushed
            && let Some(stream) = &mut self.stream
        {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}
