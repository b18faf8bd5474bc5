//! What is written in questions. Fields that the standard does not know are ignored; those that it knows are checked.

use std::sync::LazyLock;

use axum::extract::{FromRequest, Request};
use axum::http::header;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::ApiError;

/// Largest body: 1,000 questions of a kilobyte.
const BODY_MAX: usize = 1024 * 1024;

/// Who or what is meant.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct Entity {
    /// Of a subject a principal's kind, of a resource its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id.
    pub id: String,
    /// What conditions can ask for, where nothing else is known of that name.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub properties: Map<String, Value>,
}

/// What is to be done.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = AuthzenAction)]
pub struct Action {
    /// The action of the resource's type.
    pub name: String,
    /// What conditions can ask for, where nothing else is known of that name.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub properties: Map<String, Value>,
}

/// The sought kind of thing; an id is ignored.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct Sought {
    /// Of a subject a principal's kind, of a resource its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Of a subject, its `session`.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub properties: Map<String, Value>,
}

impl Sought {
    /// One of them.
    pub fn with_id(&self, id: &str) -> Entity {
        Entity { kind: self.kind.clone(), id: id.to_owned(), properties: self.properties.clone() }
    }
}

/// Which page of results.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
pub struct PageBody {
    /// 1 to 1,000, default 100.
    pub limit: Option<u32>,
    /// `next_token` of the page before; empty for the first.
    #[serde(default)]
    pub token: String,
}

/// A JSON object as the standard wants it: 400 for anything else.
#[derive(Debug)]
pub struct Asked(pub Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Asked {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let media = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media = media.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !media.eq_ignore_ascii_case("application/json") {
            return Err(malformed("The content type is application/json.").into());
        }
        let bytes = axum::body::to_bytes(request.into_body(), BODY_MAX)
            .await
            .map_err(|_| malformed(&format!("The body is larger than {BODY_MAX} bytes.")))?;
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(asked)) => Ok(Asked(asked)),
            Ok(_) => Err(malformed("The body is a JSON object.").into()),
            Err(error) => Err(malformed(&format!("The body is not JSON: {error}.")).into()),
        }
    }
}

/// 400 with what is wrong.
pub fn malformed(detail: &str) -> Refusal {
    Refusal::new(&kind::MALFORMED_JSON, detail.to_owned())
}

/// A field that must be there.
pub fn field<T: DeserializeOwned>(asked: &Map<String, Value>, name: &str) -> Result<T, Refusal> {
    let value = asked.get(name).ok_or_else(|| malformed(&format!("`{name}` is missing.")))?;
    T::deserialize(value).map_err(|error| malformed(&format!("`{name}`: {error}.")))
}

/// The context, an object if it is there.
pub fn context(asked: &Map<String, Value>) -> Result<&Map<String, Value>, Refusal> {
    static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    match asked.get("context") {
        None => Ok(&NONE),
        Some(Value::Object(context)) => Ok(context),
        Some(_) => Err(malformed("`context`: expected an object.")),
    }
}
