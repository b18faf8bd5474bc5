//! The pages' templates: one for the way around, one for each page.

use minijinja::Environment;
use minijinja::value::Value as Shown;
use serde_json::Value;

const NAVIGATION: &str = include_str!("navigation.html");
const TEMPLATES: [(&str, &str); 11] = [
    ("people", include_str!("people.html")),
    ("roles", include_str!("roles.html")),
    ("groups", include_str!("groups.html")),
    ("sign_in", include_str!("sign_in.html")),
    ("domains", include_str!("domains.html")),
    ("connections", include_str!("connections.html")),
    ("keys", include_str!("keys.html")),
    ("approvals", include_str!("approvals.html")),
    ("constraints", include_str!("constraints.html")),
    ("audit", include_str!("audit.html")),
    ("ask", include_str!("asking.html")),
];

/// A page of this name. Its forms carry `{{ hidden('step') }}`.
pub fn rendered(part: &str, token: &str, view: &Value) -> Shown {
    let own = TEMPLATES.iter().find(|(name, _)| *name == part).map_or("", |(_, text)| *text);
    let mut environment = Environment::new();
    // Both are ours: letters, digits and underscores.
    let token = token.to_owned();
    environment.add_function("hidden", move |step: String| {
        let field =
            |name: &str, value: &str| format!("<input type=\"hidden\" name=\"{name}\" value=\"{value}\">");
        Shown::from_safe_string(format!("{}{}", field("form", &token), field("step", &step)))
    });
    let html = environment.render_named_str("page.html", &format!("{NAVIGATION}{own}"), shown(view));
    Shown::from_safe_string(html.expect("tests render each page"))
}

/// The template engine's own values, which take no others.
fn shown(value: &Value) -> Shown {
    match value {
        Value::Null => Shown::from(()),
        Value::Bool(own) => Shown::from(*own),
        Value::Number(own) => own.as_i64().map_or_else(|| Shown::from(own.as_f64()), Shown::from),
        Value::String(own) => Shown::from(own.as_str()),
        Value::Array(own) => own.iter().map(shown).collect(),
        Value::Object(own) => {
            Shown::from_pairs(own.iter().map(|(name, value)| (name.as_str(), shown(value))))
        }
    }
}
