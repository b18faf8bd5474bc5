//! The roles that a person acts in, chosen on the account page where not all that they have may be active together.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use bytes::Bytes;
use minijinja::value::Value;
use rowhouse_domain::id::RequestId;
use rowhouse_domain::refusal::Refusal;

use super::guard::Browser;
use super::render::Page;
use super::{account, told};
use crate::access::active_roles::{self, Choice, Sitting};
use crate::identity::form;
use crate::identity::session::SessionRow;
use crate::{Control, Shared};

fn sitting(own: &SessionRow) -> Sitting {
    Sitting { tenant: own.tenant, session: own.id, user: own.user }
}

/// What there is to choose, as the page shows it; none for who acts in everything that they have.
pub async fn choice(control: &Control, own: &SessionRow) -> Result<Option<Value>, Refusal> {
    Ok(active_roles::choice(control, sitting(own)).await?.map(shown))
}

fn shown(choice: Choice) -> Value {
    let Choice { apart, activity } = choice;
    let offered = |name: &&String| apart.iter().any(|one| one.roles.contains(name));
    let all = activity.active.iter().chain(&activity.inactive).filter(offered);
    let roles = all.map(|name| {
        let active = activity.active.contains(name);
        Value::from_pairs([("name", Value::from(name.as_str())), ("active", Value::from(active))])
    });
    let rules = apart.iter().map(|one| {
        format!(
            "You act in at most {} of these at a time ({}): {}.",
            one.at_most,
            one.name,
            one.roles.join(", ")
        )
    });
    let besides = activity.active.iter().filter(|name| !offered(name)).map(String::as_str);
    let is_one = apart.len() == 1 && apart.iter().all(|one| one.at_most == 1);
    Value::from_pairs([
        ("roles", roles.collect::<Value>()),
        ("rules", rules.collect::<Value>()),
        ("besides", besides.collect::<Value>()),
        ("is_one", Value::from(is_one)),
    ])
}

/// Chooses.
pub async fn send(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    browser: Browser,
    body: Bytes,
) -> Response {
    let session = match browser.signed_in(&control).await {
        Ok(Some(session)) => session,
        Ok(None) => return Redirect::to("/account/sign_in").into_response(),
        Err(refusal) => return Page::new("done", "Not now", browser.form()).refused(&refusal).send(&control),
    };
    let fields: Vec<(String, String)> = form::read(&body).unwrap_or_default();
    let named =
        |name: &'static str| fields.iter().filter(move |(own, _)| own == name).map(|(_, value)| value);
    let chosen = named("role").take(active_roles::ACTIVE_MAX).cloned().collect();
    let form = named("form").next().map_or("", String::as_str);
    let did = match browser.check(form) {
        Ok(()) => active_roles::activate(&control, sitting(&session), chosen, request_id).await.map(drop),
        Err(refusal) => Err(refusal),
    };
    match did {
        Ok(()) => told::sent_to(&control, &browser, "/account", "You act so from now on, in this session."),
        Err(refusal) => account::refused(&control, &browser, &session, &refusal).await,
    }
}
