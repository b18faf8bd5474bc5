//! The same request once more, while it is still open: whether it would be let in now.

use std::rc::Rc;

use http::Request;
use http::request::Parts;
use rowhouse_domain::refusal::Refusal;

use super::arrive::{Arrived, client_address, is_fresh};
use super::authenticate::authenticate;
use super::authorise::authorise;
use super::examine::examine;
use super::limit::Admitted;
use super::resolve::resolve;
use super::{Recording, Stop};
use crate::connection::Peer;
use crate::core::Core;

/// Judges by the newest version of the directory. Nothing is charged and nothing is recorded: it was let in once.
pub(crate) fn judge(core: &Rc<Core>, peer: &Rc<Peer>, parts: &Parts) -> Result<(), Refusal> {
    let mut recording = Recording::begin(core, peer, &Request::from_parts(parts.clone(), ()));
    let verdict = judged(core, peer, parts, &mut recording);
    recording.forget();
    verdict.map_err(|stop| stop.refusal)
}

fn judged(core: &Core, peer: &Peer, parts: &Parts, recording: &mut Recording) -> Result<(), Stop> {
    let view = recording.view.clone();
    recording.client = client_address(core, peer, parts);
    is_fresh(core)?;
    let sound = examine(Arrived { parts }, peer)?;
    let resolved = resolve(core, &view, &sound, recording)?;
    let known = authenticate(core, &view, resolved, recording)?;
    authorise(&view, Admitted { known }, recording).map(drop)
}
