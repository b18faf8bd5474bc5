//! `rowhouse resolve`: which tenant a request would be for, and why.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::{Map, json};

use super::client::Client;
use super::exit_code_of;
use super::show::show;

/// `rowhouse resolve <url> [-H …]`
#[derive(Debug, Args)]
pub struct Resolve {
    /// As in `https://acme.example.com/v1/stamps`; a path alone names no host.
    // Not named `url`: that is the control API's, an option of every command.
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
pub async fn resolve(client: &Client, asked: Resolve, json: bool) -> anyhow::Result<ExitCode> {
    let (authority, path) = split_url(&asked.target);
    let mut headers = Map::new();
    for header in &asked.headers {
        let (name, value) = split_header(header)?;
        if headers.insert(name.to_owned(), value.into()).is_some() {
            anyhow::bail!("`{name}` is given twice; a request with it twice is refused");
        }
    }
    let question = json!({ "authority": authority, "path": path, "headers": headers, "token_tenant": asked.token_tenant });
    let answer = client.post("/v1/resolution/explain", question).await?;
    show(&answer, &[], json);
    Ok(exit_code_of(answer["status"].as_u64().map_or(200, |status| status as u16)))
}

/// The authority, if there is one, and the path without its query.
pub(super) fn split_url(url: &str) -> (Option<&str>, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    ((!authority.is_empty()).then_some(authority), path)
}

/// Name and value; of a credential no value.
pub(super) fn split_header(header: &str) -> anyhow::Result<(&str, &str)> {
    let (name, value) =
        header.split_once(':').with_context(|| format!("`{header}` is not of the form NAME: VALUE"))?;
    let is_credential =
        ["authorization", "x-api-key", "cookie"].contains(&name.trim().to_ascii_lowercase().as_str());
    if is_credential {
        eprintln!("the value of {} is not sent; next: name its tenant with --token-tenant", name.trim());
    }
    Ok((name.trim(), if is_credential { "" } else { value.trim() }))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn the_url_that_is_asked_about_is_not_the_one_that_is_asked() {
        let parsed =
            Cli::try_parse_from(["rowhouse", "--url", "http://control:1", "resolve", "http://acme.test/x"]);
        let parsed = parsed.expect("a command");
        let Command::Resolve(asked) = parsed.command else { panic!("another command") };
        assert_eq!(
            (parsed.global.url.as_str(), asked.target.as_str()),
            ("http://control:1", "http://acme.test/x")
        );
    }

    #[test]
    fn urls_are_split_and_credentials_stay_at_home() {
        assert_eq!(
            split_url("https://acme.example.com:8080/v1/x?a=/b#c"),
            (Some("acme.example.com:8080"), "/v1/x")
        );
        assert_eq!(split_url("acme.example.com"), (Some("acme.example.com"), "/"));
        assert_eq!(split_url("/t/acme/v1"), (None, "/t/acme/v1"));
        assert_eq!(split_header("X-Tenant-Code:  acme ").expect("a header"), ("X-Tenant-Code", "acme"));
        assert_eq!(split_header("x-api-key: rh_live_secret").expect("a header"), ("x-api-key", ""));
        assert!(split_header("nothing").is_err());
    }
}
