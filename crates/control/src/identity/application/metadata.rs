//! What programs may ask here (RFC 8414, OpenID Connect Discovery).

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::Shared;

pub async fn metadata(State(control): State<Shared>) -> Json<Value> {
    let issuer = control.settings.public_url.as_str();
    let at = |path: &str| format!("{}{path}", issuer.trim_end_matches('/'));
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": at("/oauth2/authorize"),
        "token_endpoint": at("/oauth2/token"),
        "device_authorization_endpoint": at("/oauth2/device_authorization"),
        "revocation_endpoint": at("/oauth2/revoke"),
        "introspection_endpoint": at("/oauth2/introspect"),
        "userinfo_endpoint": at("/oauth2/userinfo"),
        "jwks_uri": at("/.well-known/jwks.json"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials", "urn:ietf:params:oauth:grant-type:device_code"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA"],
        "scopes_supported": ["openid", "profile", "email"],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "email", "email_verified", "name"],
        "authorization_response_iss_parameter_supported": true,
    }))
}
