//! The requests of one connection, one after the other.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Response;
use http_body::Body;

use super::answer::{AnswerHead, Framing, says_close};
use super::body::Incoming;
use super::head::{BadHead, Form, Head};
use super::line::{Line, Next, Rest};
use crate::body::AnswerBody;
use crate::connection::Peer;
use crate::core::Core;
use crate::idle::Use;
use crate::metrics::bump;
use crate::path::{Answer, serve};

/// An answer may leave with a body of this size in one piece.
const JOINED_MAX: usize = 16 * 1024;
/// What a caller still says after the last answer is read and dropped for so long, and so much of it: who closes on unread bytes takes
/// back what was sent (RFC 9112 §9.6).
const LINGERS: Duration = Duration::from_secs(1);
const LINGERS_BYTES: usize = 1024 * 1024;
/// Of a body that nobody wanted, so much is dropped to go on with the connection, if it is here already.
const DROPPED_BYTES: usize = 64 * 1024;

/// How a connection ended, as far as HTTP/1 goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// In whatever way.
    Over,
    /// HTTP/2 is spoken: nothing was taken yet.
    Http2,
    /// The last answer turned it into something else.
    Switched,
}

/// What becomes of the connection after an answer.
enum After {
    Next,
    Ends,
    Switched,
    /// The caller is gone, or the answer broke off: nothing more can be said.
    Cut,
}

/// Serves the requests of one connection until it ends.
pub(crate) async fn attend(core: &Rc<Core>, peer: &Rc<Peer>, line: &Rc<Line>, seen: &Rc<Use>) -> Ended {
    loop {
        let after = match poll_fn(|cx| line.poll_next(seen.told.get(), cx)).await {
            // In a place of its own, so that a connection that is not used holds little.
            Next::Request(head) => Box::pin(attend_one(core, peer, line, seen, head)).await,
            Next::Bad(bad) => {
                refuse(core, line, bad).await;
                return Ended::Over;
            }
            Next::Http2 => return Ended::Http2,
            Next::Gone => After::Ends,
        };
        match after {
            After::Next => {}
            After::Ends => {
                end(line).await;
                return Ended::Over;
            }
            After::Cut => {
                drop(line.take());
                return Ended::Over;
            }
            After::Switched => return Ended::Switched,
        }
    }
}

async fn attend_one(
    core: &Rc<Core>,
    peer: &Rc<Peer>,
    line: &Rc<Line>,
    seen: &Rc<Use>,
    Head { request, form, .. }: Head,
) -> After {
    let _answering = seen.answer();
    seen.is_last.set(core.drain.draining());
    let request = request.map(|()| Incoming::http1(line, core.shared.config.body_grace));
    let mut serving = pin!(serve(core.clone(), peer.clone(), request));
    let answered = poll_fn(|cx| match serving.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => line.poll_gone(cx).map(|()| None),
    });
    let Some(answer) = answered.await else {
        // Before the request is dropped: nothing more comes of its body.
        drop(line.take());
        return After::Cut;
    };
    let closes = !form.keeps_open || seen.told.get() || seen.is_last.get();
    let sent = send(core, line, answer, (form, closes)).await;
    match sent {
        Err(Cut) => After::Cut,
        Ok(_) if peer.tunnel.borrow().is_some() => After::Switched,
        Ok(Stays(stays)) => {
            let read = poll_fn(|cx| Poll::Ready(line.drop_body(DROPPED_BYTES, cx))).await;
            if stays && read { After::Next } else { After::Ends }
        }
    }
}

/// The connection takes another request, as far as the answer goes.
struct Stays(bool);

/// An answer could not be sent to its end.
struct Cut;

async fn send(
    core: &Core,
    line: &Line,
    Answer { parts, mut body, ours }: Answer,
    (form, closes): (Form, bool),
) -> Result<Stays, Cut> {
    let mut framing = Framing::of(parts.status, body.size_hint().exact(), form);
    let closes = closes || framing == Framing::UntilClose || says_close(&parts.headers);
    let joined = poll_fn(|cx| {
        let mut out = core.answers.borrow_mut();
        out.clear();
        let date = |out: &mut Vec<u8>| core.date.borrow_mut().write(core.clock_us(), out);
        let head = AnswerHead { parts: &parts, ours: Some(&ours), framing, form, closes };
        head.write(&mut out, date);
        let joined = join(&mut out, &mut framing, &mut body);
        line.say(&out, cx);
        Poll::Ready(joined)
    });
    if !joined.await
        && let Err(cut) = poll_fn(|cx| poll_pass(line, &mut framing, &mut body, cx)).await
    {
        if framing == Framing::UntilClose {
            line.break_off();
        }
        return Err(cut);
    }
    poll_fn(|cx| line.poll_flush(cx)).await.map_err(|_| Cut)?;
    Ok(Stays(!closes))
}

/// Puts a body that is all there behind the head, if it is small. Whether that is all.
fn join(out: &mut Vec<u8>, framing: &mut Framing, body: &mut AnswerBody) -> bool {
    let AnswerBody::Whole(whole) = body else { return false };
    match (&framing, &whole) {
        (Framing::None, _) | (_, None) => true,
        (Framing::Length(_), Some(bytes)) if bytes.len() <= JOINED_MAX => {
            out.extend_from_slice(bytes);
            true
        }
        _ => false,
    }
}

/// Passes a body on, piece by piece.
fn poll_pass(
    line: &Line,
    framing: &mut Framing,
    body: &mut AnswerBody,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Cut>> {
    loop {
        ready!(line.poll_room(cx)).map_err(|_| Cut)?;
        let frame = match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                return match (line.poll_flush(cx), line.poll_gone(cx)) {
                    (Poll::Ready(Err(_)), _) | (_, Poll::Ready(())) => Poll::Ready(Err(Cut)),
                    _ => Poll::Pending,
                };
            }
        };
        let data = match frame {
            Some(Ok(frame)) => frame.into_data(),
            Some(Err(_)) => return Poll::Ready(Err(Cut)),
            None => return Poll::Ready(finish(line, *framing)),
        };
        // Trailers go no further (RFC 9110 §6.5.1).
        let Ok(data) = data else { continue };
        match framing {
            Framing::None => {}
            Framing::Length(left) => match left.checked_sub(data.len() as u64) {
                Some(after) => {
                    *left = after;
                    line.pass(data);
                }
                None => return Poll::Ready(Err(Cut)),
            },
            Framing::Chunked if data.is_empty() => {}
            Framing::Chunked => {
                line.put([format!("{:x}\r\n", data.len()).as_bytes(), &data, b"\r\n"]);
            }
            Framing::UntilClose => line.pass(data),
        }
    }
}

/// The body is through: nothing may be missing of it.
fn finish(line: &Line, framing: Framing) -> Result<(), Cut> {
    match framing {
        Framing::Length(1..) => return Err(Cut),
        Framing::Chunked => line.put([b"0\r\n\r\n", b"", b""]),
        Framing::None | Framing::Length(0) | Framing::UntilClose => {}
    }
    Ok(())
}

/// Ends a connection so that the last answer arrives.
async fn end(line: &Line) {
    let shut = poll_fn(|cx| line.poll_shutdown(cx)).await;
    if shut.is_ok() && line.rest() != Rest::Over {
        let mut left = LINGERS_BYTES;
        let _ = tokio::time::timeout(LINGERS, poll_fn(|cx| line.poll_drop(&mut left, cx))).await;
    }
    drop(line.take());
}

/// Answers what is no request.
async fn refuse(core: &Core, line: &Line, bad: BadHead) {
    bump(&core.metrics.connections_malformed, 1);
    let mut response = Response::new(());
    *response.status_mut() = bad.status();
    let (parts, ()) = response.into_parts();
    let form = Form { bodiless: false, old: false, keeps_open: false };
    let mut out = Vec::new();
    let date = |out: &mut Vec<u8>| core.date.borrow_mut().write(core.clock_us(), out);
    let head = AnswerHead { parts: &parts, ours: None, framing: Framing::Length(0), form, closes: true };
    head.write(&mut out, date);
    poll_fn(|cx| {
        line.say(&out, cx);
        Poll::Ready(())
    })
    .await;
    end(line).await;
}
