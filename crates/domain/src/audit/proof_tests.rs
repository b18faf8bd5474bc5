//! Proof files and tiles.
use proptest::prelude::*;

use super::{
    note::{Checkpoint, NoteError, SignerKey},
    proof::{Proof, ProofError},
    tile::{Tile, WIDTH, entry_bundle, hashes_above, read_entry_bundle, tiles_of},
    tree::{Hash, Head, inclusion_proof, leaf_hash, root},
};

fn proven(index: u64) -> (Proof, SignerKey) {
    let hashes: Vec<Hash> = (0u8..21).map(|leaf| leaf_hash(&[leaf])).collect();
    let key = SignerKey::from_seed("log", &[1; 32]).unwrap();
    let checkpoint = Checkpoint { origin: "log".into(), head: Head { size: 21, root: root(&hashes) } };
    let proof = Proof {
        index,
        hashes: inclusion_proof(index, &hashes).unwrap(),
        checkpoint: checkpoint.sign(&[&key]).unwrap(),
    };
    (proof, key)
}

#[test]
fn a_proof_file_proves_one_leaf_of_one_log() {
    let (proof, key) = proven(7);
    let keys = [key.verifier().clone()];
    let text = proof.text();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex 7\n"), "{text}");
    assert_eq!(Proof::parse(&text), Ok(proof.clone()));
    assert_eq!(proof.verify(&[7], "log", &keys).unwrap().head.size, 21);
    assert_eq!(proof.verify(&[8], "log", &keys), Err(ProofError::Inclusion));
    assert_eq!(proof.verify(&[7], "other", &keys), Err(ProofError::Inclusion));
    assert_eq!(proof.verify(&[7], "log", &[]), Err(ProofError::Checkpoint(NoteError::NoKnownSignature)));
    let extra = text.replacen("index", "extra AAAA\nindex", 1);
    assert_eq!(Proof::parse(&extra), Ok(proof));
}

#[test]
fn what_is_no_proof_file_is_refused() {
    let text = proven(7).0.text();
    for (from, to) in [
        ("@v1", "@v2"),
        ("index 7", "index 07"),
        ("index 7", "index +7"),
        ("index 7", "index -1"),
        ("index 7\n", ""),
        ("\n\n", "\n"),
    ] {
        assert_eq!(Proof::parse(&text.replacen(from, to, 1)), Err(ProofError::Malformed), "{from} → {to}");
    }
}

#[test]
fn a_tree_of_70000_has_the_published_tiles() {
    let of = |level: u8| tiles_of(70_000, level).collect::<Vec<_>>();
    let counts: Vec<_> =
        (0u8..4).map(|level| (of(level).len(), of(level).last().map(|tile| tile.width))).collect();
    assert_eq!(counts, [(274, Some(112)), (2, Some(17)), (1, Some(1)), (0, None)]);
    assert!((0u8..3).flat_map(of).all(|tile| tile.is_in(70_000)));
    assert!(!Tile { level: Some(0), number: 273, width: 113 }.is_in(70_000));
    assert!(!Tile { level: Some(0), number: u64::MAX, width: 1 }.is_in(70_000));
    assert_eq!(Tile { level: Some(2), number: 0, width: 1 }.leaves(0), (0, 65_536));
}

#[test]
fn paths_group_digits() {
    for (level, number, width, path) in [
        (Some(0), 1_234_067, 256, "tile/0/x001/x234/067"),
        (Some(1), 0, 17, "tile/1/000.p/17"),
        (None, 999, 256, "tile/entries/999"),
        (None, 1000, 1, "tile/entries/x001/000.p/1"),
    ] {
        let tile = Tile { level, number, width };
        assert_eq!(tile.path(), path);
        assert_eq!(Tile::parse(path), Some(tile));
    }
    for bad in [
        "tile/0/1",
        "tile/0/000.p/256",
        "tile/0/000.p/0",
        "tile/6/000",
        "tile/00/000",
        "tile/0/x000/001",
        "tile/0/",
        "tile/0/x001",
        "entries/000",
        "tile/0/000.p/01",
    ] {
        assert_eq!(Tile::parse(bad), None, "{bad}");
    }
}

#[test]
fn higher_tiles_hash_whole_lower_ones() {
    let leaves: Vec<Hash> = (0u32..600).map(|leaf| leaf_hash(&leaf.to_be_bytes())).collect();
    let above = hashes_above(&leaves);
    assert_eq!(above, [root(&leaves[..WIDTH as usize]), root(&leaves[WIDTH as usize..512])]);
}

proptest! {
    #[test]
    fn bundles_are_read_back(leaves in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
        let bundle = entry_bundle(leaves.iter().map(Vec::as_slice)).unwrap();
        prop_assert_eq!(read_entry_bundle(&bundle).unwrap(), leaves);
        if !bundle.is_empty() {
            let shorter = read_entry_bundle(&bundle[..bundle.len() - 1]);
            prop_assert!(shorter.is_none_or(|shorter| shorter.len() < bundle.len()));
        }
    }

    #[test]
    fn a_changed_character_of_a_proof_file_is_seen(at in any::<prop::sample::Index>(), character in "[ -~]", index in 0u64..21) {
        let (proof, key) = proven(index);
        let mut text: Vec<char> = proof.text().chars().collect();
        let at = at.index(text.len());
        let replacement = character.chars().next().unwrap();
        prop_assume!(text[at] != replacement);
        text[at] = replacement;
        let text: String = text.into_iter().collect();
        let result = Proof::parse(&text).and_then(|proof| proof.verify(&[index as u8], "log", &[key.verifier().clone()]));
        prop_assert!(result.is_err(), "{}", text);
    }
}

#[test]
fn a_leaf_too_long_for_a_bundle_is_refused() {
    assert!(entry_bundle([vec![0u8; 65_536].as_slice()]).is_none());
    assert!(read_entry_bundle(&[0, 2, 1]).is_none() && read_entry_bundle(&[0]).is_none());
}
