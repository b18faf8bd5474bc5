//! What is not rendered, and why: each refusal of the command, and that nothing is written then.

use super::*;

const SETTINGS: &str = "[deploy.kubernetes]\nregistry = \"r.example\"\n[deploy.kubernetes.services.notes]\nimage = \"notes:1\"\n";
const CATALOG: &str = "[[service]]\nname = \"notes\"\nupstreams = [\"127.0.0.1:9000\"]\n";

/// What is said when settings and catalogue are these.
fn refusal(settings: &str, catalog: &str) -> String {
    let folder = Folder::new();
    let (settings, catalog) = (folder.put("settings.toml", settings), folder.put("catalog.toml", catalog));
    let output = render_with(&settings, &catalog, &folder.out(), &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!folder.out().exists(), "nothing was written");
    said
}

#[test]
fn each_refusal_says_what_to_do() {
    let with = |more: &str| format!("{more}\n{SETTINGS}");
    let route = "[[route]]\nname = \"notes.all\"\nservice = \"notes\"\npath = \"/v1/notes\"\npublic = true\n";
    let setting = |more: &str| {
        SETTINGS.replace("registry = \"r.example\"\n", &format!("registry = \"r.example\"\n{more}\n"))
    };
    let table = [
        (
            String::new(),
            CATALOG.to_owned(),
            "the service `notes` has no image: set deploy.kubernetes.services.notes.image",
        ),
        (
            "[deploy.kubernetes.services.notes]\nimage = \"notes:1\"".into(),
            CATALOG.into(),
            "set deploy.kubernetes.registry",
        ),
        (SETTINGS.replace("notes:1", "notes:latest"), CATALOG.into(), "it needs a tag other than `latest`"),
        (SETTINGS.into(), String::new(), "services.notes: the catalogue has no such service"),
        (with("[database]\nurl = \"postgres://x\""), CATALOG.into(), "deploy.kubernetes.database_networks"),
        (with("[limits]\nstore_url = \"redis://x\""), CATALOG.into(), "deploy.kubernetes.store_networks"),
        (with("[messages]\ntransport = \"smtp\""), CATALOG.into(), "deploy.kubernetes.mail_networks"),
        (
            with("[messages]\ntemplates = \"/home/x\""),
            CATALOG.into(),
            "messages.templates names `/home/x`, which no pod has",
        ),
        (with("[outbound]\nauthorities = \"ca.pem\""), CATALOG.into(), "outbound.authorities names `ca.pem`"),
        (
            with("[lifecycle]\nbackup_directory = \"/b\""),
            CATALOG.into(),
            "name a folder under /var/lib/rowhouse",
        ),
        (
            SETTINGS.into(),
            format!("{CATALOG}{route}request = {{ headers = {{ set = {{ x-api-secret = \"s\" }} }} }}\n"),
            "the route `notes.all` sets `x-api-secret`, which looks like a credential",
        ),
        (
            setting("quota = { pods = \"12\" }"),
            CATALOG.into(),
            "pods: 12 allowed; 13 needed with one pod missing at a time, 16 without",
        ),
        (setting("gateways = 1"), CATALOG.into(), "deploy.kubernetes.gateways is 1; it may be 2 to 100"),
        (setting("egress = [\"0.0.0.0/0\"]"), CATALOG.into(), "holds link-local addresses"),
        (setting("gatways = 2"), CATALOG.into(), "unknown field `gatways`"),
        (setting("control_storage = \"5 GB\""), CATALOG.into(), "`5 GB` is not of the form"),
    ];
    for (settings, catalog, expected) in table {
        let said = refusal(&settings, &catalog);
        assert!(said.contains(expected), "{said}\nlacks: {expected}");
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = Folder::new();
    let catalog = folder.put("catalog.toml", CATALOG);
    let output = render_with(&folder.0.join("none.toml"), &catalog, &folder.out(), &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("none.toml"), "{said}");
    let settings = folder.put("settings.toml", SETTINGS);
    let output = render_with(&settings, &folder.0.join("none.json"), &folder.out(), &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("none.json"), "{said}");
    let taken = folder.put("taken", "a file");
    let output = render_with(&settings, &catalog, &taken, &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("cannot use the folder"), "{said}");
}

/// Variables of whoever renders are no part of what is rendered.
#[test]
fn variables_change_nothing() {
    let folder = Folder::new();
    let before: Vec<String> = rendered(&folder, &[]).iter().map(|file| text_of(file)).collect();
    let path = |path: &Path| path.to_str().expect("text").to_owned();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowhouse"));
    let arguments =
        ["deploy", "render", "--out", &path(&folder.out()), "--catalog", &path(&own("catalog.toml"))];
    command.args(arguments).env_clear().env("ROWHOUSE_CONFIG", own("settings.toml"));
    command.env("ROWHOUSE_SERVER__REGION", "us1").env("ROWHOUSE_DEPLOY__KUBERNETES__PRODUCT", "other");
    let output = command.output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let after: Vec<String> = listed(&folder.out()).iter().map(|file| text_of(file)).collect();
    assert_eq!(before, after);
}
