//! A browser without scripts: it keeps cookies by origin and goes where it is sent.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::platform::PATIENCE;

/// A page as it came, and where it was.
pub struct Page {
    pub url: String,
    pub status: u16,
    headers: HeaderMap,
    pub text: String,
}

/// A browser without scripts: it keeps cookies by origin and goes where it is sent.
#[derive(Default)]
pub struct Browser {
    jars: BTreeMap<String, BTreeMap<String, String>>,
    /// Where nobody listens: it does not go there, and says that it was sent.
    stops_at: Option<String>,
}

pub fn origin(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("not on loopback: {url}"));
    let at = rest.find('/').unwrap_or(rest.len());
    (&rest[..at], if at == rest.len() { "/" } else { &rest[at..] })
}

impl Browser {
    /// One that does not go to places that begin so.
    pub fn stopping_at(place: &str) -> Self {
        Browser { stops_at: Some(place.to_owned()), ..Browser::default() }
    }

    async fn send(&mut self, method: Method, url: &str, form: String) -> Page {
        let (host, path) = origin(url);
        let stream = TcpStream::connect(host).await.expect("a connection");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        let driver = tokio::spawn(connection);
        let jar = self.jars.entry(host.to_owned()).or_default();
        let cookies: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", host)
            .header("origin", format!("http://{host}"))
            .header("cookie", cookies.join("; "))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)))
            .expect("a request");
        let answer =
            timeout(PATIENCE, sender.send_request(request)).await.expect("in time").expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        drop(sender);
        let _ = driver.await;
        for set in headers.get_all("set-cookie") {
            let set = set.to_str().expect("text");
            let (name, value) =
                set.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            match value.is_empty() {
                true => jar.remove(name),
                false => jar.insert(name.to_owned(), value.to_owned()),
            };
        }
        Page { url: url.to_owned(), status, headers, text: String::from_utf8_lossy(&body).into_owned() }
    }

    /// Follows redirects to a page.
    async fn follow(&mut self, mut page: Page) -> Page {
        for _ in 0..20 {
            let Some(to) = page.headers.get("location") else { return page };
            let to = to.to_str().expect("text");
            if self.stops_at.as_ref().is_some_and(|stop| to.starts_with(stop.as_str())) {
                return Page { url: to.to_owned(), ..page };
            }
            let to = if to.starts_with('/') {
                format!("http://{}{to}", origin(&page.url).0)
            } else {
                to.to_owned()
            };
            page = self.send(Method::GET, &to, String::new()).await;
        }
        panic!("sent around in circles: {}", page.url);
    }

    /// Opens a page, and follows.
    pub async fn open(&mut self, url: &str) -> Page {
        let page = self.send(Method::GET, url, String::new()).await;
        self.follow(page).await
    }

    /// Sends a form, and follows.
    pub async fn submit(&mut self, url: &str, form: &str) -> Page {
        let page = self.send(Method::POST, url, form.to_owned()).await;
        self.follow(page).await
    }
}

/// The value of a hidden field.
pub fn hidden(page: &Page, name: &str) -> String {
    let mark = format!("name=\"{name}\" value=\"");
    let (_, rest) = page.text.split_once(&mark).unwrap_or_else(|| panic!("no {name}: {}", page.text));
    let value = rest.split('"').next().expect("an end");
    value.replace("&#x2f;", "/").replace("&amp;", "&")
}

/// Escapes all but unreserved characters.
pub fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}
