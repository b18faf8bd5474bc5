//! `rowhouse api …`: any call.

use std::process::ExitCode;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use http::Method;
use serde_json::{Map, Value};

use super::Client;
use crate::cli::exit_code_of;
use crate::cli::show::line;

/// `rowhouse api METHOD PATH [field=value …]`
#[derive(Debug, Args)]
pub struct ApiCall {
    /// GET, POST, PUT, PATCH or DELETE.
    method: String,
    /// As in `/v1/tenants?status=active`.
    path: String,
    /// Fields of the body: `name=text`, or `name:=json`. `-` alone reads the body from stdin.
    fields: Vec<String>,
    /// A header, as in `If-Match: "3"`; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
}

/// Runs any call and prints the body as it came.
pub async fn api(client: &Client, call: ApiCall) -> anyhow::Result<ExitCode> {
    let method: Method = call.method.to_uppercase().parse().context("not a method")?;
    if !call.path.starts_with('/') {
        bail!("`{}` is no path; next: begin it with a slash, as in /v1/tenants", call.path);
    }
    let body = match call.fields.as_slice() {
        [] => None,
        [dash] if dash == "-" => Some(Bytes::from(std::io::read_to_string(std::io::stdin())?)),
        fields => Some(Bytes::from(fields_to_body(fields)?.to_string())),
    };
    let body = body.or_else(|| (method == Method::POST).then(|| Bytes::from_static(b"{}")));
    let headers = call.headers.iter().map(|header| split(header)).collect::<anyhow::Result<Vec<_>>>()?;
    let answer = client.send(method, &call.path, &headers, body).await?;
    line(&String::from_utf8_lossy(&answer.body));
    Ok(exit_code_of(answer.status.as_u16()))
}

fn split(header: &str) -> anyhow::Result<(&str, &str)> {
    let (name, value) =
        header.split_once(':').with_context(|| format!("`{header}` is not of the form NAME: VALUE"))?;
    Ok((name.trim(), value.trim()))
}

fn fields_to_body(fields: &[String]) -> anyhow::Result<Value> {
    let mut body = Map::new();
    for field in fields {
        let (name, value) = match (field.split_once(":="), field.split_once('=')) {
            (Some((name, json)), _) if !name.contains('=') => {
                let value = serde_json::from_str(json);
                (
                    name,
                    value.with_context(|| {
                        format!("what follows `:=` in `{field}` is not JSON; for text write {name}=…")
                    })?,
                )
            }
            (_, Some((name, text))) => (name, Value::from(text)),
            _ => bail!("`{field}` is not of the form name=text or name:=json"),
        };
        body.insert(name.to_owned(), value);
    }
    Ok(body.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_become_text_or_json() {
        let fields = ["a=x=y", "b:=[1,true]", "c=:=", "d="].map(str::to_owned);
        assert_eq!(
            fields_to_body(&fields).expect("good"),
            json!({"a": "x=y", "b": [1, true], "c": ":=", "d": ""})
        );
        assert!(fields_to_body(&["a".to_owned()]).is_err() && fields_to_body(&["a:=x".to_owned()]).is_err());
    }
}
