//! Refusals on their way out: a handler returns one, the frame renders it with the request's id.

use axum::response::{IntoResponse, Response};
use rowhouse_domain::refusal::Refusal;
use rowhouse_store::StoreError;

/// What handlers return.
pub type Answer<T> = Result<T, ApiError>;

/// A refusal as the error of a handler.
#[derive(Debug, Clone)]
pub struct ApiError(pub Refusal);

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        ApiError(refusal)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        ApiError(error.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status =
            axum::http::StatusCode::from_u16(self.0.status()).expect("the catalogue has real statuses");
        let mut response = status.into_response();
        response.extensions_mut().insert(self.0);
        response
    }
}
