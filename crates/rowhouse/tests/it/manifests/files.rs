//! The folder: twice is once, what goes is removed, and what is not ours is left alone.

use rowhouse_domain::deploy::MARK;

use super::*;

fn actions(output: &Output) -> Vec<(String, String)> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let pairs = said.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(action, name)| (action.to_owned(), name.to_owned())).collect()
}

#[test]
fn twice_is_once() {
    let folder = Folder::new();
    let render = || {
        render_with(&own("settings.toml"), &own("catalog.toml"), &folder.out(), &["--format", "kustomize"])
    };
    let first = actions(&render());
    assert!(first.len() >= 8 && first.iter().all(|(action, _)| action == "written"), "{first:?}");
    let texts = |folder: &Folder| listed(&folder.out()).iter().map(|file| text_of(file)).collect::<Vec<_>>();
    let before = texts(&folder);
    let second = actions(&render());
    assert!(second.iter().all(|(action, _)| action == "kept"), "{second:?}");
    assert_eq!((second.len(), texts(&folder)), (first.len(), before));
}

#[test]
fn what_goes_is_removed_and_what_is_not_ours_stays() {
    let folder = Folder::new();
    rendered(&folder, &["--format", "kustomize"]);
    let others = [("notes.yaml", "a: b\n"), ("README", "x"), ("old.yaml", "# Written by somebody else\n")];
    for (name, text) in others {
        std::fs::write(folder.out().join(name), text).expect("a file");
    }
    let mut catalog = text_of(&own("catalog.toml"));
    let from = catalog.find("[[service]]\nname = \"mailer\"").expect("there");
    let to = catalog.find("[[resource_type]]").expect("there");
    catalog.replace_range(from..to, "");
    let settings = text_of(&own("settings.toml"));
    let (settings, _) = settings.split_once("[deploy.kubernetes.services.mailer]").expect("there");
    let (settings, catalog) = (folder.put("settings.toml", settings), folder.put("catalog.toml", &catalog));
    let done = actions(&render_with(&settings, &catalog, &folder.out(), &[]));
    let removed: Vec<_> =
        done.iter().filter(|(action, _)| action == "removed").map(|(_, name)| name.as_str()).collect();
    assert_eq!(removed, ["40-service-mailer.yaml", "kustomization.yaml"]);
    for (name, text) in others {
        assert_eq!(text_of(&folder.out().join(name)), text);
    }
    assert!(!folder.out().join("40-service-mailer.yaml").exists());
}

#[test]
fn nothing_is_written_over_what_is_not_ours() {
    for make in [a_file, a_link, a_folder] {
        let folder = Folder::new();
        std::fs::create_dir_all(folder.out()).expect("a folder");
        make(&folder, &folder.out().join("20-control.yaml"));
        let before = listed(&folder.out());
        let output = render_with(&own("settings.toml"), &own("catalog.toml"), &folder.out(), &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("20-control.yaml was not written by"), "{said}");
        assert_eq!(listed(&folder.out()), before, "nothing at all was written");
    }
}

fn a_file(_: &Folder, path: &Path) {
    std::fs::write(path, "mine: true\n").expect("a file");
}

/// A link to a file of ours, elsewhere: writing through it would change what lies there.
fn a_link(folder: &Folder, path: &Path) {
    let target = folder.put("target", &format!("{MARK}\nx: y\n"));
    std::os::unix::fs::symlink(target, path).expect("a link");
}

fn a_folder(_: &Folder, path: &Path) {
    std::fs::create_dir(path).expect("a folder");
}
