//! Services and routes: looked at, and tried with a request that is not sent.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, json};

use super::{Client, ListVerb};
use crate::cli::exit_code_of;
use crate::cli::resolve::{split_header, split_url};
use crate::cli::show::show;

/// `rowhouse service …`
#[derive(Debug, Subcommand)]
pub enum ServiceVerb {
    #[command(flatten)]
    Look(ListVerb),
    #[command(flatten)]
    Release(super::splits::ReleaseVerb),
}

/// `rowhouse route …`
#[derive(Debug, Subcommand)]
pub enum RouteVerb {
    #[command(flatten)]
    Look(ListVerb),
    /// Where a request would go: tenant, route, service, permission, limits. Nothing is sent.
    Test(TestedRequest),
}

/// A request as it might arrive.
#[derive(Debug, Args)]
pub struct TestedRequest {
    /// `GET`, `POST` …
    method: String,
    /// As in `https://acme.example.com/v1/stamps/42`; a path alone names no host.
    #[arg(value_name = "URL")]
    target: String,
    /// A header, as in `X-Tenant-Code: acme`; may be repeated. The value of a credential is not sent.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Id or code of the tenant that the credential belongs to.
    #[arg(long)]
    token_tenant: Option<String>,
}

/// Asks, and prints the answer; what would be refused ends as that refusal does.
pub async fn test(client: &Client, asked: TestedRequest, json: bool) -> anyhow::Result<ExitCode> {
    let (host, path) = split_url(&asked.target);
    let target = with_query(path, &asked.target);
    let mut headers = Map::new();
    for header in &asked.headers {
        let (name, value) = split_header(header)?;
        if headers.insert(name.to_owned(), value.into()).is_some() {
            anyhow::bail!("`{name}` is given twice; a request with it twice is refused");
        }
    }
    let method = asked.method.to_ascii_uppercase();
    let question = json!({ "method": method, "host": host, "path": target, "headers": headers,
        "token_tenant": asked.token_tenant });
    let answer = client.post("/v1/routes/test", question).await?;
    show(&answer, &[], json);
    Ok(exit_code_of(answer["refusal"]["status"].as_u64().map_or(200, |status| status as u16)))
}

/// The path with the query of the address, which routes may look at.
fn with_query(path: &str, url: &str) -> String {
    let url = url.split('#').next().unwrap_or_default();
    url.split_once('?').map_or_else(|| path.to_owned(), |(_, query)| format!("{path}?{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_asked_about_too() {
        for (url, target) in [
            ("https://acme.example.com/v1/x?a=/b&c#d", "/v1/x?a=/b&c"),
            ("/v1/x?a?b", "/v1/x?a?b"),
            ("/v1/x#?a", "/v1/x"),
            ("acme.example.com?a", "/?a"),
        ] {
            assert_eq!(with_query(split_url(url).1, url), target, "{url}");
        }
    }
}
