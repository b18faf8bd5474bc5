//! Query parameters: strict like bodies; and lists, which are paged by key.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ApiError;
use super::body::in_plain_words;

/// Parameters of a query; wire types say `deny_unknown_fields`.
#[derive(Debug)]
pub struct Parameters<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match axum::extract::Query::<T>::try_from_uri(&parts.uri) {
            Ok(query) => Ok(Parameters(query.0)),
            Err(error) => {
                Err(Refusal::new(&kind::UNKNOWN_PARAMETER, in_plain_words(&error.body_text())).into())
            }
        }
    }
}

/// `?tenant=`: an id or a code.
#[derive(Debug, Default, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TenantParameter {
    /// Which tenant; an operator's principal needs it for a change, a tenant's principal never.
    pub tenant: Option<String>,
}

/// `?tenant=&limit=&cursor=` of plain lists.
#[derive(Debug, Default, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// Which tenant.
    pub tenant: Option<String>,
    /// 1 to 200, default 50.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

impl Page {
    /// How many items to answer.
    pub fn size(&self) -> Result<i64, Refusal> {
        match self.limit.unwrap_or(50) {
            limit @ 1..=200 => Ok(i64::from(limit)),
            other => Err(Refusal::new(&kind::INVALID, "`limit` is out of bounds.").field(
                "/limit",
                "out_of_bounds",
                format!("1 to 200, not {other}"),
            )),
        }
    }
}

/// The answer of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct List<T> {
    /// One page.
    pub items: Vec<T>,
    /// To be sent as `cursor` for the next page; `null` on the last.
    pub next_cursor: Option<String>,
}

impl<T> List<T> {
    /// Everything there is.
    pub fn whole(items: Vec<T>) -> Self {
        List { items, next_cursor: None }
    }
}
