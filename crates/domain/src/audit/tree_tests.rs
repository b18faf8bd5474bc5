//! The tree against the public vectors of RFC 6962 implementations, its own recursive definition, and properties.
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::tree::{
    Frontier, Hash, Head, consistency_proof, empty_root, inclusion_proof, leaf_hash, node_hash, root,
    verify_consistency, verify_inclusion,
};

/// The eight leaves used by transparency-dev's tests.
fn public_leaves() -> Vec<Hash> {
    let leaves: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    leaves.iter().map(|leaf| leaf_hash(leaf)).collect()
}

#[test]
fn roots_agree_with_the_public_vectors() {
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let leaves = public_leaves();
    assert_eq!(empty_root().to_hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(root(&[]), empty_root());
    for (index, expected) in roots.iter().enumerate() {
        assert_eq!(root(&leaves[..=index]).to_hex(), *expected, "size {}", index + 1);
    }
}

#[test]
fn an_inclusion_proof_has_the_published_hashes() {
    // Leaf 0 of 8, from the test data of certificate-transparency.
    let proof: Vec<_> =
        inclusion_proof(0, &public_leaves()).unwrap().iter().map(|hash| hash.to_hex()).collect();
    assert_eq!(
        proof,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ]
    );
}

/// MTH of RFC 6962 §2.1, word for word: an oracle for the frontier.
fn definition(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash(Sha256::digest([]).into()),
        [one] => *one,
        _ => {
            let middle = leaves.len().next_power_of_two() / 2;
            node_hash(&definition(&leaves[..middle]), &definition(&leaves[middle..]))
        }
    }
}

fn numbered(size: usize) -> Vec<Hash> {
    (0..size).map(|number| leaf_hash(&number.to_be_bytes())).collect()
}

#[test]
fn every_proof_of_every_small_tree_verifies() {
    let leaves = numbered(40);
    for size in 1..=leaves.len() {
        let (tree, whole) = (&leaves[..size], root(&leaves[..size]));
        for (index, leaf) in tree.iter().enumerate() {
            let proof = inclusion_proof(index as u64, tree).unwrap();
            assert!(verify_inclusion(leaf, index as u64, size as u64, &proof, &whole), "{index} of {size}");
        }
        for old in 1..=size {
            let proof = consistency_proof(old as u64, tree).unwrap();
            let before = Head { size: old as u64, root: root(&leaves[..old]) };
            assert!(
                verify_consistency(&before, &Head { size: size as u64, root: whole }, &proof),
                "{old} to {size}"
            );
        }
    }
    assert_eq!(inclusion_proof(40, &leaves), None);
    assert_eq!(consistency_proof(0, &leaves), None);
    assert_eq!(consistency_proof(41, &leaves), None);
}

#[test]
fn the_empty_tree_begins_every_tree() {
    let new = Head { size: 3, root: root(&numbered(3)) };
    assert!(verify_consistency(&Head { size: 0, root: empty_root() }, &new, &[]));
    assert!(!verify_consistency(&Head { size: 0, root: new.root }, &new, &[]));
    assert!(!verify_consistency(&new, &Head { size: 0, root: empty_root() }, &[]));
    assert!(!verify_consistency(&new, &Head { size: 3, root: empty_root() }, &[]));
}

#[test]
fn a_kept_frontier_is_read_back_or_refused() {
    let mut frontier = Frontier::default();
    numbered(11).into_iter().for_each(|leaf| frontier.append(leaf));
    let bytes = frontier.to_bytes();
    assert_eq!(Frontier::from_bytes(11, &bytes), Some(frontier));
    assert_eq!(Frontier::from_bytes(12, &bytes), None);
    assert_eq!(Frontier::from_bytes(11, &bytes[1..]), None);
}

#[test]
fn each_complete_subtree_is_told_once_when_it_completes() {
    let leaves = numbered(300);
    let mut frontier = Frontier::default();
    let mut told = Vec::new();
    for leaf in &leaves {
        let end = frontier.size() + 1;
        frontier.append_telling(*leaf, |height, root| told.push((end, height, root)));
    }
    let expected = (1..=300u64).flat_map(|end| (1..=end.trailing_zeros()).map(move |height| (end, height)));
    assert_eq!(
        told.iter().map(|(end, height, _)| (*end, *height)).collect::<Vec<_>>(),
        Vec::from_iter(expected)
    );
    for (end, height, hash) in told {
        let range = (end - (1 << height)) as usize..end as usize;
        assert_eq!(hash, root(&leaves[range]), "{height} at {end}");
    }
}

proptest! {
    #[test]
    fn the_frontier_has_the_root_of_the_definition(size in 0usize..300) {
        let leaves = numbered(size);
        prop_assert_eq!(root(&leaves), definition(&leaves));
    }

    #[test]
    fn a_changed_bit_breaks_an_inclusion_proof(
        size in 1usize..200, index in any::<prop::sample::Index>(), bit in 0usize..256, place in any::<prop::sample::Index>()
    ) {
        let leaves = numbered(size);
        let index = index.index(size);
        let mut hashes = vec![leaves[index], root(&leaves)];
        hashes.extend(inclusion_proof(index as u64, &leaves).unwrap());
        let place = place.index(hashes.len());
        hashes[place].0[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!verify_inclusion(&hashes[0], index as u64, size as u64, &hashes[2..], &hashes[1]));
    }

    #[test]
    fn an_inclusion_proof_fits_one_place_in_one_tree(size in 1usize..120, index in any::<prop::sample::Index>(), other in 0u64..130, cut in any::<bool>()) {
        let leaves = numbered(size);
        let index = index.index(size) as u64;
        let whole = root(&leaves);
        let mut proof = inclusion_proof(index, &leaves).unwrap();
        if other != index {
            prop_assert!(!verify_inclusion(&leaves[index as usize], other, size as u64, &proof, &whole));
        }
        if cut { proof.pop() } else { proof.push(whole); None };
        let unchanged = cut && size == 1;
        prop_assert!(unchanged || !verify_inclusion(&leaves[index as usize], index, size as u64, &proof, &whole));
    }

    #[test]
    fn a_changed_bit_breaks_a_consistency_proof(
        size in 2usize..200, old in any::<prop::sample::Index>(), bit in 0usize..256, place in any::<prop::sample::Index>()
    ) {
        let leaves = numbered(size);
        let old = old.index(size - 1) + 1;
        let mut hashes = vec![root(&leaves[..old]), root(&leaves)];
        hashes.extend(consistency_proof(old as u64, &leaves).unwrap());
        let place = place.index(hashes.len());
        hashes[place].0[bit / 8] ^= 1 << (bit % 8);
        let (before, after) = (Head { size: old as u64, root: hashes[0] }, Head { size: size as u64, root: hashes[1] });
        prop_assert!(!verify_consistency(&before, &after, &hashes[2..]));
    }

    #[test]
    fn any_proof_is_answered(size in any::<u64>(), index in any::<u64>(), length in 0usize..70) {
        let proof = vec![empty_root(); length];
        prop_assert!(!verify_inclusion(&empty_root(), index, size, &proof, &leaf_hash(b"x")) || size == 1);
        let head = |size| Head { size, root: leaf_hash(b"x") };
        let _ = verify_consistency(&head(index), &head(size), &proof);
    }
}
