//! Each endpoint of the API × who calls it, as a table that is read: `endpoints.txt`. The endpoints come from the router itself, so none
//! can be forgotten. `WRITE_MATRIX=1` writes it anew; its diff is reviewed.
//!
//! A cell is what an empty-handed call gets: `401` not known, `403` not allowed, `404` not there or not shown, `in` let in (whatever is
//! then said of the made-up body or of parameters, which some are refused for before they are asked who they are). The columns: nobody; an administrator of another tenant; of acme a viewer, a user, a
//! developer, an administrator; a key of that administrator that may only read stamps; the operator.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::house::House;

const COLUMNS: [&str; 8] =
    ["nobody", "stranger", "viewer", "user", "developer", "admin", "narrow_key", "operator"];
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/endpoints.txt");
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The value that a schema asks for at least; what else there may be is left out.
fn made_up(document: &Value, schema: &Value, depth: u32) -> Value {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return made_up(document, &document["components"]["schemas"][name], depth + 1);
    }
    if depth > 8 {
        return json!({});
    }
    if let Some(first) = schema["enum"].as_array().and_then(|all| all.first()) {
        return first.clone();
    }
    for one_of in ["oneOf", "anyOf"] {
        if let Some(first) = schema[one_of].as_array().and_then(|all| all.last()) {
            return made_up(document, first, depth + 1);
        }
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let mut all = Map::new();
        for part in parts {
            if let Value::Object(own) = made_up(document, part, depth + 1) {
                all.extend(own);
            }
        }
        return Value::Object(all);
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("object");
    match kind {
        "string" => json!("x"),
        "integer" | "number" => json!(1),
        "boolean" => json!(false),
        "array" => json!([]),
        _ => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let fields = required
                .map(|name| (name.to_owned(), made_up(document, &schema["properties"][name], depth + 1)));
            Value::Object(fields.collect())
        }
    }
}

struct Endpoint {
    method: String,
    path: String,
    body: Option<Value>,
    names_tenant: bool,
}

fn endpoints(document: &Value) -> Vec<Endpoint> {
    let mut all = Vec::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for method in METHODS {
            let operation = &operations[method];
            if operation.is_null() {
                continue;
            }
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let body = (!schema.is_null()).then(|| made_up(document, schema, 0));
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let names_tenant = parameters.iter().any(|one| one["in"] == "query" && one["name"] == "tenant");
            all.push(Endpoint { method: method.to_uppercase(), path: path.clone(), body, names_tenant });
        }
    }
    all
}

impl Endpoint {
    /// Its path for a call about acme.
    fn asked(&self) -> String {
        let filled: String = self
            .path
            .split('/')
            .map(|segment| match segment {
                "{tenant}" => "acme",
                segment if segment.starts_with('{') => "x",
                segment => segment,
            })
            .collect::<Vec<_>>()
            .join("/");
        if self.names_tenant { format!("{filled}?tenant=acme") } else { filled }
    }
}

async fn cell(house: &House, key: Option<&str>, endpoint: &Endpoint) -> String {
    let (path, body) = (endpoint.asked(), endpoint.body.clone());
    let (status, _) = match key {
        Some(key) => house.platform.call(key, &endpoint.method, &path, body).await,
        None => house.platform.call_as_nobody(&endpoint.method, &path, body.unwrap_or(Value::Null)).await,
    };
    match status {
        401 | 403 | 404 => status.to_string(),
        _ => "in".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_endpoint_lets_in_who_the_table_says() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    house.tenant("globex", "basic").await;
    let document = serde_json::to_value(rowhouse_control::api::openapi()).expect("it is JSON");
    let stranger = house.member("globex", "tenant_admin").await.key;
    let mut keys = vec![None, Some(stranger)];
    for role in ["viewer", "user", "developer"] {
        keys.push(Some(house.member("acme", role).await.key));
    }
    let admin = house.member("acme", "tenant_admin").await;
    let owner = json!({ "kind": "service_account", "id": admin.account });
    let narrow = json!({ "name": "narrow", "owner": owner, "permissions": ["metadata_stamp:read"] });
    let narrow = house.created(&house.root, "/v1/keys?tenant=acme", narrow).await;
    house.settled().await;
    let narrow = narrow["key"].as_str().expect("text").to_owned();
    keys.extend([Some(admin.key), Some(narrow), Some(house.root.clone())]);

    let mut table = format!("{:<7}{:<62}", "", "");
    COLUMNS.iter().for_each(|column| write!(table, " {column:<10}").expect("a string grows"));
    let mut lines = vec![table.trim_end().to_owned()];
    let endpoints = endpoints(&document);
    lines.extend(endpoints.iter().map(|endpoint| format!("{:<7}{:<62}", endpoint.method, endpoint.path)));
    // One caller after the other, the mightiest last: what they are let in to do is done.
    for key in &keys {
        for (endpoint, line) in endpoints.iter().zip(&mut lines[1..]) {
            let cell = cell(&house, key.as_deref(), endpoint).await;
            write!(line, " {cell:<10}").expect("a string grows");
        }
    }
    let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
    let made = lines.join("\n") + "\n";
    if std::env::var_os("WRITE_MATRIX").is_some() {
        std::fs::write(TABLE, &made).expect("the table is ours");
    }
    let own = std::fs::read_to_string(TABLE).unwrap_or_default();
    let differs = own.lines().zip(made.lines()).find(|(own, made)| own != made);
    assert!(own == made, "the table is not what the API does; first difference: {differs:#?}");
}

/// Names of what is described in a source text: as it is said, or as the type is called.
fn described(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (derives, item) in source.split("#[derive(").skip(1).filter_map(|rest| rest.split_once(")]")) {
        if !derives.split([',', ' ', ':']).any(|name| name.trim() == "ToSchema") {
            continue;
        }
        let item = item.split("\n}").next().unwrap_or_default();
        let said = item.split_once("schema(as = ").map(|(_, rest)| rest);
        let called =
            || ["struct ", "enum "].iter().find_map(|word| item.split_once(word)).map(|(_, rest)| rest);
        let name = said.or_else(called).expect("a type");
        names.push(name.chars().take_while(|letter| letter.is_alphanumeric()).collect());
    }
    names
}

/// Two shapes of one name are one in the document, and programs that are made from it send the wrong one.
#[test]
fn each_shape_of_the_document_has_a_name_of_its_own() {
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut names = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.extension() {
                None => folders.push(path),
                Some(end) if end == "rs" => {
                    names.extend(described(&std::fs::read_to_string(path).expect("text")))
                }
                Some(_) => {}
            }
        }
    }
    assert!(names.len() > 200, "{} were found", names.len());
    names.sort_unstable();
    let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
    assert!(twice.is_empty(), "{twice:?}: say `#[schema(as = …)]`");
}
