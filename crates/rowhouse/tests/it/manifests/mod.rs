//! `rowhouse deploy render`: the built binary writes manifests, and others read them: a person (`golden/`, whose diff is reviewed),
//! PyYAML, the API server's schemas, and the built binary itself, which must take the settings that it wrote.

mod files;
mod refused;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use rowhouse_domain::deploy::yaml;
use serde_json::{Value, json};

use crate::source::root;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A folder of its own, gone with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rowhouse-manifests-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    pub fn out(&self) -> PathBuf {
        self.0.join("out")
    }

    /// A file of this text.
    pub fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn own(name: &str) -> PathBuf {
    root().join("crates/rowhouse/tests/it/manifests").join(name)
}

fn text_of(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The binary, without variables of this machine.
fn rowhouse(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowhouse"));
    command.args(arguments).env_clear().output().expect("the binary runs")
}

pub fn render_with(settings: &Path, catalog: &Path, out: &Path, more: &[&str]) -> Output {
    let path = |path: &Path| path.to_str().expect("text").to_owned();
    let (settings, catalog, out) = (path(settings), path(catalog), path(out));
    let mut arguments =
        vec!["deploy", "render", "--settings", &settings, "--catalog", &catalog, "--out", &out];
    arguments.extend(more);
    rowhouse(&arguments)
}

/// The fleet of this folder, rendered.
fn rendered(folder: &Folder, more: &[&str]) -> Vec<PathBuf> {
    let output = render_with(&own("settings.toml"), &own("catalog.toml"), &folder.out(), more);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    listed(&folder.out())
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut all: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    all.sort();
    all
}

/// What another reader makes of files.
fn python(verb: &str, files: &[PathBuf]) -> Output {
    let program = root().join("target/venv/bin/python");
    let mut command = Command::new(&program);
    let output = command.arg(own("manifests.py")).arg(verb).args(files).output();
    output.unwrap_or_else(|error| panic!("{}: {error}; scripts/test makes it", program.display()))
}

/// All documents, as another reader reads them.
pub fn read(files: &[PathBuf]) -> Vec<Value> {
    let output = python("read", files);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a list")
}

fn manifests(files: &[PathBuf]) -> Vec<PathBuf> {
    files.iter().filter(|file| !file.ends_with("kustomization.yaml")).cloned().collect()
}

#[test]
fn the_fleet_is_what_was_reviewed() {
    let folder = Folder::new();
    let files = rendered(&folder, &["--format", "kustomize"]);
    if std::env::var_os("WRITE_GOLDEN").is_some() {
        let _ = std::fs::remove_dir_all(own("golden"));
        std::fs::create_dir_all(own("golden")).expect("a folder");
        for file in &files {
            std::fs::copy(file, own("golden").join(file.file_name().expect("a name"))).expect("ours");
        }
    }
    let names = |files: &[PathBuf]| {
        files.iter().map(|file| file.file_name().map(ToOwned::to_owned)).collect::<Vec<_>>()
    };
    let golden = listed(&own("golden"));
    assert_eq!(names(&files), names(&golden));
    for (made, reviewed) in files.iter().zip(&golden) {
        let (made, text) = (text_of(made), text_of(reviewed));
        let differs = made.lines().zip(text.lines()).find(|(made, own)| made != own);
        assert!(made == text, "{}: WRITE_GOLDEN=1 writes it anew; {differs:?}", reviewed.display());
    }
}

#[test]
fn the_schemas_of_each_version_take_every_document() {
    let folder = Folder::new();
    let mut files = manifests(&rendered(&folder, &[]));
    let (plain, catalog) =
        (folder.put("plain.toml", "[deploy.kubernetes]\nregistry = \"r.example\"\n"), own("plain.toml"));
    let output = render_with(&plain, &catalog, &folder.0.join("plain"), &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    files.extend(listed(&folder.0.join("plain")));
    let output = python("check", &files);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("valid in 8 versions"), "{said}");
}

/// The schemas would tell.
#[test]
fn the_schemas_refuse_what_is_wrong() {
    let folder = Folder::new();
    let text = text_of(&own("golden/30-gateway.yaml"));
    for (right, wrong) in
        [("replicas: 3", "replicas: three"), ("podManagementPolicy:", "podManagementPolicie:")]
    {
        assert!(text.contains(right), "{right}");
        let file = folder.put("wrong.yaml", &text.replace(right, wrong));
        let output = python("check", &[file]);
        assert_eq!(output.status.code(), Some(1), "{wrong}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn whatever_is_written_is_read_back_by_another_reader() {
    let value = json!({
        "texts": ["", " ", "yes", "No", "1", "1e3", "0x1f", "1_000", "12:30:45", "2026-01-01", "~", "null", "- a", "a: b", "a #b",
            "'", "\"", "\\", "%a", "@a", "`a`", "!a", "&a", "*a", "|", ">", "{a}", "[a]", "?", ": ", "=", "<<", "a\tb", "\u{7f}",
            "\u{85}", "\u{a0}", "\u{2028}", "\u{feff}", "Maß", "東京", "🅿", "a\r\nb", "line\nline", "line\n\nline\n", "a\n b\n",
            " a\nb", "a\n\n", "\n", "a \nb", "#a\nb", "---\na", "a:\n- b\n"],
        "yes": {"on": true, "~": null, "1": 1, "a: b": [[], {}, [1, [2]], {"a": {"b": [{"c": "d", "name": "e"}]}}]},
        "numbers": [0, -1, 18_446_744_073_709_551_615_u64],
    });
    let folder = Folder::new();
    let file =
        folder.put("any.yaml", &format!("{}---\n{}", yaml::document(&value), yaml::document(&json!("x: y"))));
    assert_eq!(read(&[file]), [value, json!("x: y")]);
}

/// The settings in the ConfigMaps are such as this binary takes, with the variables that the pods get.
#[test]
fn pods_get_settings_that_hold() {
    let folder = Folder::new();
    let all = read(&manifests(&rendered(&folder, &[])));
    let maps = all.iter().filter(|own| own["kind"] == "ConfigMap").collect::<Vec<_>>();
    assert_eq!(maps.len(), 2);
    for map in maps {
        let part = map["metadata"]["labels"]["app.kubernetes.io/name"].as_str().expect("a label");
        let file = folder.put("rowhouse.toml", map["data"]["rowhouse.toml"].as_str().expect("settings"));
        let mut sets = all.iter().filter(|own| own["kind"] == "StatefulSet");
        let set = sets.find(|own| own["metadata"]["name"] == part).expect("its pods");
        let shown = shown(&file, &set["spec"]["template"]["spec"]["containers"][0]["env"]);
        let value = |name: &str| shown[name].clone();
        assert_eq!(value("server.data_dir"), "\"/var/lib/rowhouse/data\"", "{part}");
        assert_eq!(value("server.admin_listen"), "\"0.0.0.0:8082\"", "{part}");
        assert_eq!(value("server.region"), "\"eu1\"", "{part}");
        match part {
            "shop-control" => {
                assert_eq!(value("server.node_listen"), "\"0.0.0.0:8083\"");
                assert_eq!(value("database.url"), "\"…\"");
                assert_eq!(value("messages.password_file"), "\"/etc/rowhouse-messages/password\"");
                assert_eq!(value("server.public_url"), "\"https://control.shop.example\"");
            }
            _ => {
                assert_eq!(value("gateway.control"), "[\"shop-control:8083\"]");
                assert_eq!(value("server.node"), "\"shop-gateway-0\"");
                assert_eq!(value("gateway.enrolment_file"), "\"/etc/rowhouse-enrolment/shop-gateway-0\"");
                assert_eq!(value("limits.store_url"), "\"…\"");
                assert_eq!(value("server.tls_listen"), "\"0.0.0.0:8443\"");
                assert_eq!(value("journal.size_mib_max"), "15360");
            }
        }
    }
}

/// All settings of a pod, by name: the file under the variables, as a kubelet makes them for the first pod.
fn shown(file: &Path, env: &Value) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowhouse"));
    command.args(["config", "show", "--json"]).env_clear();
    for own in env.as_array().expect("variables") {
        let name = own["name"].as_str().expect("a name");
        let value = match own["value"].as_str() {
            Some(value) => value.replace("$(ROWHOUSE_SERVER__NODE)", "shop-gateway-0"),
            None if own["valueFrom"]["fieldRef"].is_object() => "shop-gateway-0".to_owned(),
            None => "a://secret".to_owned(),
        };
        command.env(name, value);
    }
    let output = command.env("ROWHOUSE_CONFIG", file).output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let items = all["items"].as_array().expect("a list").iter();
    items.map(|own| (own["name"].as_str().expect("a name").to_owned(), own["value"].clone())).collect()
}

/// The catalogue that the control plane begins with leads to the Services that stand beside it.
#[test]
fn the_gateways_find_the_services() {
    let folder = Folder::new();
    let all = read(&manifests(&rendered(&folder, &[])));
    let map = all.iter().find(|own| own["data"].get("catalog.json").is_some()).expect("a catalogue");
    let catalog = folder.put("catalog.json", map["data"]["catalog.json"].as_str().expect("text"));
    let catalog: Value = serde_json::from_str(&text_of(&catalog)).expect("JSON");
    let mut addresses = Vec::new();
    for service in catalog["services"].as_array().expect("services") {
        addresses.extend(service["upstreams"].as_array().expect("addresses").iter().cloned());
        for release in service["releases"].as_array().into_iter().flatten() {
            addresses.extend(release["upstreams"].as_array().expect("addresses").iter().cloned());
        }
        assert!(service.get("weights").is_none(), "{service}");
    }
    let mut expected: Vec<Value> = Vec::new();
    for own in all.iter().filter(|own| own["kind"] == "Deployment") {
        let name = own["metadata"]["name"].as_str().expect("a name");
        let mut services = all.iter().filter(|one| one["kind"] == "Service");
        let port =
            services.find(|one| one["metadata"]["name"] == name).map(|one| &one["spec"]["ports"][0]["port"]);
        expected.push(json!(format!("{name}:{}", port.expect("its Service"))));
    }
    addresses.sort_by_key(Value::to_string);
    expected.sort_by_key(Value::to_string);
    assert_eq!((addresses.len(), addresses), (3, expected));
}

#[test]
fn no_file_holds_a_secret() {
    let folder = Folder::new();
    let settings = text_of(&own("settings.toml"));
    assert!(settings.contains("hunter2") && settings.contains("hunter3"));
    for file in rendered(&folder, &["--format", "kustomize"]) {
        let text = text_of(&file);
        for secret in ["hunter2", "hunter3", "db.shop.example", "redis.shop.example", "kind: Secret\n"] {
            assert!(!text.contains(secret), "{}: {secret}", file.display());
        }
    }
}
