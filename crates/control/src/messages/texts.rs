//! What messages say: the shipped texts, and the operator's own in their place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};
use rowhouse_domain::messages::{Template, isolate, template};
use serde::Deserialize;

const SHIPPED: &str = include_str!("texts.toml");
const LAYOUT: &str = include_str!("layout.html");
/// Steps of the template engine that one part may take.
const FUEL: u64 = 50_000;
/// Stand around a button's label and link while it is rendered; no value can contain them.
const BUTTON: [char; 3] = ['\u{1}', '\u{2}', '\u{3}'];

/// A file of the operator's is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no text of a message.
    #[error("{path}: {detail}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    subject: String,
    body: String,
}

/// The texts in force.
#[derive(Debug)]
pub struct Texts(BTreeMap<String, Text>);

/// A message, rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// One line.
    pub subject: String,
    /// The part that every program shows.
    pub text: String,
    /// The same with looks.
    pub html: String,
}

/// Values by name; what a text may use.
pub type Values = BTreeMap<String, String>;

impl Texts {
    /// The shipped ones.
    pub fn shipped() -> Self {
        Texts(toml::from_str(SHIPPED).expect("a test reads the shipped texts"))
    }

    /// The shipped ones, replaced by what is in `folder`: files `<template>.toml`.
    ///
    /// # Errors
    /// For a file that cannot be read, is named after no template, or does not render with the values that its template has.
    pub fn with_folder(folder: &Path) -> Result<Self, TextError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            |source| TextError::Unreadable { path, source }
        };
        let mut texts = Texts::shipped();
        for entry in std::fs::read_dir(folder).map_err(unreadable(folder))? {
            let path = entry.map_err(unreadable(folder))?.path();
            if path.extension().is_none_or(|end| end != "toml") {
                continue;
            }
            let wrong = |detail: String| TextError::Wrong { path: path.clone(), detail };
            let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            let template =
                template::named(name).ok_or_else(|| wrong("no template has this name".to_owned()))?;
            let file = std::fs::read_to_string(&path).map_err(unreadable(&path))?;
            let text = toml::from_str(&file).map_err(|error| wrong(error.message().to_owned()))?;
            texts.0.insert(name.to_owned(), text);
            texts.render(template, "en", &sample(template)).map_err(|error| wrong(describe(&error)))?;
        }
        Ok(texts)
    }

    /// A message's parts. `values` are cleaned here: whatever they hold stays within its line and its quotes.
    ///
    /// # Errors
    /// For a text that uses a value that is not there, or does not end.
    pub fn render(&self, template: &Template, language: &str, values: &Values) -> Result<Rendered, Error> {
        let text = self.0.get(template.name).expect("a test finds a text for each template");
        let engine = engine();
        let values: Values = values.iter().map(|(name, value)| (name.clone(), isolate(value))).collect();
        let known = || Value::from_pairs(values.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let subject = one_line(&engine.render_named_str("subject.txt", &text.subject, known())?);
        let plain = engine.render_named_str("body.txt", &text.body, known())?;
        let html = engine.render_named_str("body.html", &text.body, known())?;
        let brand = values.get("brand").cloned().unwrap_or_default();
        let page = Value::from_pairs([
            ("language", language.to_owned()),
            ("subject", subject.clone()),
            ("brand", brand),
            ("content", paragraphs(&html).map(html_of).collect()),
        ]);
        let html = engine.render_named_str("layout.html", LAYOUT, page)?;
        let text = paragraphs(&plain).map(text_of).collect::<Vec<_>>().join("\n\n") + "\n";
        Ok(Rendered { subject, text, html })
    }
}

/// Values to try a template with.
pub fn sample(template: &Template) -> Values {
    let mut values: Values = [("brand", "Example"), ("tenant_name", "Acme GmbH"), ("tenant_code", "acme")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    for name in template.needs {
        let value = match *name {
            "link" => "https://example.com/a-link".to_owned(),
            "code" => "123456".to_owned(),
            "percentage" => "81".to_owned(),
            other => format!("({})", other.replace('_', " ")),
        };
        values.insert((*name).to_owned(), value);
    }
    values
}

/// An error of the engine with what caused it, in one line.
pub fn describe(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

fn engine() -> Environment<'static> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_fuel(Some(FUEL));
    engine.add_function("button", |link: String, label: String| {
        let [start, middle, end] = BUTTON;
        match link.starts_with("https://") || link.starts_with("http://") {
            true => Ok(format!("{start}{label}{middle}{link}{end}")),
            false => Err(Error::new(ErrorKind::InvalidOperation, "a button needs a link to a web page")),
        }
    });
    engine
}

/// A subject is one line, and not without end.
fn one_line(subject: &str) -> String {
    subject.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect()
}

fn paragraphs(body: &str) -> impl Iterator<Item = &str> {
    body.split("\n\n").map(str::trim).filter(|part| !part.is_empty())
}

fn button(paragraph: &str) -> Option<(&str, &str)> {
    let [start, middle, end] = BUTTON;
    paragraph.strip_prefix(start)?.strip_suffix(end)?.split_once(middle)
}

fn text_of(paragraph: &str) -> String {
    match button(paragraph) {
        Some((label, link)) => format!("{label}:\n{link}"),
        None => paragraph.replace(BUTTON, " "),
    }
}

fn html_of(paragraph: &str) -> String {
    match button(paragraph) {
        Some((label, link)) => format!(
            "<p style=\"margin:24px 0\"><a href=\"{link}\" style=\"display:inline-block;padding:10px 20px;\
             border-radius:6px;background:#1f5fbf;color:#ffffff;text-decoration:none\">{label}</a></p>\n"
        ),
        None => format!("<p>{}</p>\n", paragraph.replace(BUTTON, " ").replace('\n', "<br>\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_has_a_text_that_renders_with_what_it_needs() {
        let texts = Texts::shipped();
        for template in template::ALL {
            let rendered = texts.render(template, "en", &sample(template));
            let rendered = rendered.unwrap_or_else(|error| panic!("{}: {}", template.name, describe(&error)));
            assert!(!rendered.subject.is_empty() && rendered.text.len() > 20, "{}", template.name);
            for name in template.needs {
                let shown = &sample(template)[*name];
                assert!(
                    rendered.text.contains(shown) || rendered.subject.contains(shown),
                    "{} {name}",
                    template.name
                );
            }
        }
        let known: Vec<_> = template::ALL.iter().map(|template| template.name).collect();
        assert!(texts.0.keys().all(|name| known.contains(&name.as_str())));
    }

    #[test]
    fn values_stay_within_their_place() {
        let mut values = sample(&template::INVITATION);
        let hostile = "<a href='http://evil.example'>x</a>\r\nBcc: eve@evil.example\n\n\u{1}Click\u{2}http://evil.example\u{3} {{ 7*7 }}";
        values.insert("inviter".to_owned(), hostile.to_owned());
        let rendered = Texts::shipped().render(&template::INVITATION, "en", &values).expect("renders");
        assert!(!rendered.subject.contains(['\r', '\n']) && rendered.subject.len() <= 200);
        assert!(
            !rendered.html.contains("<a href='http://evil") && !rendered.html.contains("href=\"http://evil")
        );
        assert!(
            rendered.html.contains("&lt;a href=")
                && rendered.html.contains("href=\"https:&#x2f;&#x2f;example.com")
        );
        assert!(
            !rendered.text.contains("\nBcc:") && rendered.text.contains("{{ 7*7 }}"),
            "{}",
            rendered.text
        );
    }

    #[test]
    fn a_missing_value_a_bad_link_and_an_endless_text_are_refused() {
        let mut texts = Texts::shipped();
        let mut values = sample(&template::WELCOME);
        values.insert("link".to_owned(), "javascript:alert(1)".to_owned());
        assert!(texts.render(&template::WELCOME, "en", &values).is_err());
        values.remove("link");
        assert!(texts.render(&template::WELCOME, "en", &values).is_err());
        let endless = Text {
            subject: "x".into(),
            body: "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}".into(),
        };
        texts.0.insert("welcome".into(), endless);
        assert!(texts.render(&template::WELCOME, "en", &sample(&template::WELCOME)).is_err());
    }

    #[test]
    fn the_operators_texts_replace_ours_and_wrong_ones_are_named() {
        let folder = std::env::temp_dir().join(format!("rowhouse-texts-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("own folder");
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("own file");
        write("welcome.toml", "subject = \"Hello {{ tenant_name }}\"\nbody = \"Start at {{ link }}\"\n");
        let texts = Texts::with_folder(&folder).expect("good");
        let rendered = texts.render(&template::WELCOME, "en", &sample(&template::WELCOME)).expect("renders");
        assert_eq!(
            (rendered.subject.as_str(), rendered.text.as_str()),
            ("Hello Acme GmbH", "Start at https://example.com/a-link\n")
        );
        for (name, text, told) in [
            ("welcome.toml", "subject = \"x\"\nbody = \"{{ nothing }}\"", "undefined"),
            ("welcome.toml", "subject = \"x\"", "body"),
            ("wellcome.toml", "subject = \"x\"\nbody = \"y\"", "no template"),
        ] {
            std::fs::remove_dir_all(&folder).expect("own folder");
            std::fs::create_dir_all(&folder).expect("own folder");
            write(name, text);
            let error = Texts::with_folder(&folder).expect_err("wrong").to_string();
            assert!(error.contains(name) && error.contains(told), "{error}");
        }
        std::fs::remove_dir_all(&folder).expect("own folder");
    }
}
