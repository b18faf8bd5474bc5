//! Paths with their parameters, and lists page by page.

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::Client;

/// Which part of a list.
#[derive(Debug, Clone, Default, Args)]
pub struct Page {
    /// At most so many.
    #[arg(long, conflicts_with = "all")]
    limit: Option<u32>,
    /// Go on where a page ended.
    #[arg(long)]
    cursor: Option<String>,
    /// Every page, one after the other.
    #[arg(long)]
    all: bool,
}

/// One parameter of a query that may be absent.
pub type Parameter<'a> = (&'a str, Option<String>);

impl Page {
    /// The page of the list at `path`; with `--all`, all of them as one.
    pub async fn of(self, client: &Client, path: &str, filters: &[Parameter<'_>]) -> anyhow::Result<Value> {
        let limit = if self.all { Some(200) } else { self.limit };
        let mut parameters = filters.to_vec();
        parameters.push(("limit", limit.map(|limit| limit.to_string())));
        parameters.push(("cursor", self.cursor));
        let mut answer = client.get(&at(path, &parameters)).await?;
        while let Some(cursor) = answer["next_cursor"].as_str().filter(|_| self.all) {
            let last = parameters.len() - 1;
            parameters[last].1 = Some(cursor.to_owned());
            let mut more = client.get(&at(path, &parameters)).await?;
            let mut items = list(&mut answer["items"]);
            items.append(&mut list(&mut more["items"]));
            answer["items"] = items.into();
            answer["next_cursor"] = more["next_cursor"].take();
        }
        Ok(answer)
    }
}

fn list(value: &mut Value) -> Vec<Value> {
    match value.take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

/// A path with the query parameters that are given.
pub fn at(path: &str, parameters: &[Parameter<'_>]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let query: Vec<_> = given.map(|(name, value)| format!("{name}={}", escape(value))).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

/// A principal as a body names it: its kind is read off its id.
pub fn principal(id: &str) -> Value {
    let kind = match id.split('_').next() {
        Some("user") => "user",
        Some("key") => "api_key",
        Some("group") => "group",
        Some("everyone") => return json!({"kind": "everyone"}),
        _ => "service_account",
    };
    json!({"kind": kind, "id": id})
}

/// `type:id` as a thing in a body; `null` for none.
pub fn thing(text: Option<&str>) -> anyhow::Result<Value> {
    let Some(text) = text else { return Ok(Value::Null) };
    let (kind, id) = text.split_once(':').with_context(|| format!("`{text}` is not of the form type:id"))?;
    Ok(json!({"type": kind, "id": id}))
}

/// Percent-encodes what is not unreserved (RFC 3986 §2.3).
pub fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:".contains(&b);
    text.bytes().map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded_and_absent_ones_left_out() {
        let given = [
            ("tenant", Some("a b".to_owned())),
            ("step", None),
            ("from", Some("2026-01-01T00:00:00Z".to_owned())),
        ];
        assert_eq!(at("/v1/usage", &given), "/v1/usage?tenant=a%20b&from=2026-01-01T00:00:00Z");
        assert_eq!(at("/v1/usage", &[("tenant", None)]), "/v1/usage");
        assert_eq!(escape("../x?y"), "..%2Fx%3Fy");
    }
}
