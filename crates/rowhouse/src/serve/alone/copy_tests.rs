use std::path::PathBuf;

use rowhouse_domain::directory::Naming;
use uuid::Uuid;

use super::*;

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("rowhouse-copy-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Place(path)
    }

    fn open(&self) -> (Copy, Option<Read>) {
        Copy::open(&self.0, &[7; 32], entropy()).expect("the folder is there")
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.0.join("directory.copy")).expect("it is there")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn entropy() -> Entropy {
    Entropy::new(|out| getrandom::fill(out).expect("random bytes"))
}

fn welcome() -> Welcome {
    Welcome { node: "n".into(), life: Uuid::nil(), peppers: vec![(1, "00".repeat(32))], docs_url: "d".into() }
}

/// A version; two of them have another content.
fn version(number: u64) -> Directory {
    let mut directory = Directory { version: number, ..Directory::empty() };
    directory.naming = std::sync::Arc::new(Naming { region: format!("r{number}"), ..Naming::default() });
    directory.hosts.insert(format!("h{number}.example").into(), rowhouse_domain::id::OPERATOR_TENANT);
    directory
}

fn keep(copy: &mut Copy, older: Option<&Directory>, newer: &Directory) {
    let parts = Change::between(older, newer).parts(1);
    for (place, part) in parts.into_iter().enumerate() {
        let (is_first, is_last) = (older.is_none() && place == 0, part.is_last);
        let packed = Message::Change(Box::new(part)).pack();
        copy.keep(&welcome(), (&packed, is_first), is_last.then_some(newer)).expect("the disk takes it");
    }
}

#[test]
fn what_was_kept_is_read_up_to_the_last_whole_version() {
    let place = Place::new("whole");
    let (mut copy, none) = place.open();
    assert!(none.is_none());
    let (first, second) = (version(1), version(2));
    keep(&mut copy, None, &first);
    let whole = place.bytes().len();
    keep(&mut copy, Some(&first), &second);
    copy.note_heard(77).expect("noted");
    let read = place.open().1.expect("a version");
    assert_eq!((read.directory.version, read.directory.naming.region.as_str(), read.heard_us), (2, "r2", 77));
    assert_eq!((read.welcome, read.directory.hosts.len()), (welcome(), 1));
    // Torn at any byte it is the version before, or none.
    let bytes = place.bytes();
    for length in 0..bytes.len() {
        std::fs::write(place.0.join("directory.copy"), &bytes[..length]).expect("ours");
        let found = place.open().1.map(|read| read.directory.version);
        assert_eq!(found, if length < whole { None } else { Some(1) }, "torn at {length} of {}", bytes.len());
    }
}

#[test]
fn a_flipped_bit_ends_it_and_another_key_opens_nothing() {
    let place = Place::new("bits");
    let (mut copy, _) = place.open();
    keep(&mut copy, None, &version(1));
    let bytes = place.bytes();
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        other[at] ^= 1;
        std::fs::write(place.0.join("directory.copy"), &other).expect("ours");
        assert!(place.open().1.is_none(), "byte {at}");
    }
    std::fs::write(place.0.join("directory.copy"), &bytes).expect("ours");
    let (_, read) = Copy::open(&place.0, &[8; 32], entropy()).expect("the folder is there");
    assert!(read.is_none());
    // After a start everything is written anew with the next version.
    let (mut copy, read) = place.open();
    let first = read.expect("whole").directory;
    keep(&mut copy, Some(&first), &version(5));
    assert_eq!(place.open().1.map(|read| read.directory.version), Some(5));
    copy.forget().expect("removed");
    assert!(place.open().1.is_none() && !place.0.join("directory.copy").exists());
}
