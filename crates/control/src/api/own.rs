//! The API, called from within the process. Our own pages ask it as any program does, with the token of the person who looks at them: what
//! a page shows and does is what the person may, decided, told in the log and refused in one place.

use std::net::IpAddr;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use rowhouse_domain::id::RequestId;
use rowhouse_domain::refusal::{Refusal, kind};
use serde_json::Value;
use tower_service::Service as _;

use super::client::AskedFor;

/// Longest answer, in bytes.
const ANSWER_MAX: usize = 4 * 1024 * 1024;

/// The API's routes.
#[derive(Debug, Clone)]
pub struct OwnApi(Router);

/// One call.
#[derive(Debug)]
pub struct Call<'a> {
    /// `GET`, …
    pub method: &'a str,
    /// With its query.
    pub path: &'a str,
    /// None for what has none.
    pub body: Option<Value>,
    /// The version that was read, for what is changed only as it was.
    pub version: Option<i64>,
}

impl<'a> Call<'a> {
    /// Reads.
    pub fn get(path: &'a str) -> Self {
        Call { method: "GET", path, body: None, version: None }
    }

    /// Does something.
    pub fn post(path: &'a str, body: Value) -> Self {
        Call { method: "POST", path, body: Some(body), version: None }
    }
}

impl OwnApi {
    pub(super) fn new(routes: Router) -> Self {
        OwnApi(routes)
    }

    /// What is answered to who has this access token and looks from `client`, as far as that is known; `null` for an answer without a body.
    ///
    /// # Errors
    /// What the API refuses.
    pub async fn call(
        &self,
        (token, client): (&str, Option<IpAddr>),
        id: RequestId,
        call: Call<'_>,
    ) -> Result<Value, Refusal> {
        let broken = || Refusal::new(&kind::INTERNAL, "Our own interface did not answer.");
        let mut request = Request::builder()
            .method(call.method)
            .uri(call.path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"));
        if let Some(version) = call.version {
            request = request.header(header::IF_MATCH, format!("\"{version}\""));
        }
        let body = match call.body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let mut request = request.body(body).map_err(|_| broken())?;
        request.extensions_mut().insert(id);
        request.extensions_mut().insert(AskedFor(client));
        // A router takes calls at any time: there is nothing to wait for before one.
        let answered = self.0.clone().call(request).await;
        let Ok(mut response) = answered;
        if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
            return Err(refusal);
        }
        let status = response.status();
        let bytes = to_bytes(response.into_body(), ANSWER_MAX).await.map_err(|_| broken())?;
        match status {
            _ if !status.is_success() => Err(broken()),
            StatusCode::NO_CONTENT | StatusCode::ACCEPTED if bytes.is_empty() => Ok(Value::Null),
            _ => serde_json::from_slice(&bytes).map_err(|_| broken()),
        }
    }
}
