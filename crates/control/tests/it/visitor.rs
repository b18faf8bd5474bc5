//! A browser that has no scripts: it keeps cookies and reads forms. A page that sends a form's sender back to itself is loaded anew; elsewhere
//! it goes only if it is told to.

use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;

use crate::platform::Platform;

/// One browser.
pub struct Visitor<'a> {
    platform: &'a Platform,
    pub cookies: BTreeMap<String, String>,
}

/// A page as it came.
#[derive(Debug)]
pub struct Seen {
    pub status: u16,
    pub location: Option<String>,
    pub text: String,
}

impl Seen {
    /// The value of a hidden field, of its first form that has it.
    pub fn hidden(&self, name: &str) -> String {
        let mark = format!("name=\"{name}\" value=\"");
        let rest = self.text.split_once(&mark).map(|(_, rest)| rest);
        let value = rest.and_then(|rest| rest.split_once('"')).map(|(value, _)| value);
        let value = value.unwrap_or_else(|| panic!("no field {name}: {}", self.text));
        value.replace("&#x2f;", "/").replace("&#x27;", "'").replace("&quot;", "\"").replace("&amp;", "&")
    }

    /// A parameter of where it leads.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let (_, query) = self.location.as_deref()?.split_once('?')?;
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(own, _)| *own == name).map(|(_, value)| value.replace("%3A", ":").replace("%2F", "/"))
    }
}

pub fn encoded(fields: &[(&str, &str)]) -> String {
    let escaped = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                true => char::from(byte).to_string(),
                false => format!("%{byte:02X}"),
            })
            .collect()
    };
    let pairs = fields.iter().map(|(name, value)| format!("{name}={}", escaped(value)));
    pairs.collect::<Vec<_>>().join("&")
}

impl<'a> Visitor<'a> {
    pub fn new(platform: &'a Platform) -> Self {
        Visitor { platform, cookies: BTreeMap::new() }
    }

    pub async fn get(&mut self, path: &str) -> Seen {
        self.send("GET", path, String::new()).await
    }

    /// Sends a form, and sees what comes of it.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Seen {
        let seen = self.only_post(path, fields).await;
        match seen.status == 303 && seen.location.as_deref() == Some(path) {
            true => self.get(path).await,
            false => seen,
        }
    }

    /// Sends a form and looks no further.
    pub async fn only_post(&mut self, path: &str, fields: &[(&str, &str)]) -> Seen {
        self.send("POST", path, encoded(fields)).await
    }

    async fn send(&mut self, method: &str, path: &str, body: String) -> Seen {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "127.0.0.1:8081")
            .header("origin", "http://127.0.0.1:8081")
            .header("cookie", cookies.join("; "))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(body)))
            .expect("a request");
        let (status, headers, body) = self.platform.exchange(request).await;
        for set in headers.get_all("set-cookie") {
            let set = set.to_str().expect("text");
            assert!(set.contains("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{set}");
            let (name, value) =
                set.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            match value.is_empty() {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        let location = headers.get("location").map(|value| value.to_str().expect("text").to_owned());
        Seen { status, location, text: String::from_utf8_lossy(&body).into_owned() }
    }

    /// Signs in with a password; where it leads.
    pub async fn sign_in(&mut self, name: &str, password: &str) -> Seen {
        let page = self.get("/account/sign_in").await;
        let form = page.hidden("form");
        self.post("/account/sign_in", &[("form", &form), ("identifier", name), ("password", password)]).await
    }
}
