//! The story of one request. Each step takes the proof made by the step before it, so that leaving one out or
//! swapping two does not compile; a refusal ends the story early and is answered and recorded like everything.

use std::rc::Rc;

use http::Request;
use rowhouse_domain::refusal::Fault;

use super::answer::{Answer, called_off, forwarded, refused};
use super::arrive::{arrive, is_fresh};
use super::authenticate::authenticate;
use super::authorise::authorise;
use super::cors;
use super::examine::examine;
use super::forward::{Answered, forward};
use super::left::Story;
use super::limit::limit;
use super::own_limits::limit_own;
use super::prepare::{choose, prepare};
use super::quota::reserve;
use super::resolve::resolve;
use super::together::limit_together;
use super::{Recording, Stop};
use crate::caller::Incoming;
use crate::connection::Peer;
use crate::core::Core;

/// Answers one request. Its record is in the journal before the last byte of the answer leaves; if the client
/// goes away first, dropping what this returns writes the record, or leaves it to who hears the service out.
pub(crate) async fn serve(core: Rc<Core>, peer: Rc<Peer>, request: Request<Incoming>) -> Answer {
    let mut story = Story::of(Recording::begin(&core, &peer, &request));
    match pass(&core, &peer, request, &mut story).await {
        Ok(answered) => forwarded(answered, story.told()),
        Err(stop) if story.left.is_some() => {
            story.told_instead = Some(stop.refusal.kind()).filter(|kind| kind.fault == Fault::Caller);
            called_off(&stop, &story)
        }
        Err(stop) => refused(stop, story.told()).await,
    }
}

async fn pass(
    core: &Rc<Core>,
    peer: &Peer,
    request: Request<Incoming>,
    recording: &mut Recording,
) -> Result<Answered, Stop> {
    let view = recording.view.clone();
    let (parts, body) = request.into_parts();

    let arrived = arrive(core, &view, peer, &parts, recording)?; // limits that need nobody's name
    is_fresh(core)?; // whether anything can be decided at all
    let sound = examine(arrived, peer)?; // one meaning only, one normal form of the path
    let resolved = resolve(core, &view, &sound, recording)?; // which tenant
    cors::ask(&view, &resolved, recording)?; // whether a page may ask
    let known = authenticate(core, &view, resolved, recording)?; // who
    let own = limit_own(core, &view, &known, recording)?; // how often this key
    let admitted = match &core.store {
        None => limit(core, &view, known, recording)?, // how often
        Some(store) => Box::pin(limit_together(core, store, &view, known, recording)).await?,
    };
    own.keep();
    let permitted = authorise(&view, admitted, recording)?; // whether at all
    let within = reserve(core, permitted, recording)?; // how much

    let chosen = choose(core, &view, within, recording)?; // which copies of which service
    let outgoing = prepare(core, peer, chosen, parts, body, recording)?;
    forward(core, outgoing, recording).await
}
