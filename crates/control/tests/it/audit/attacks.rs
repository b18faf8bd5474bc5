//! What somebody with the database does to a log behind our back, each on its own copy, and what the verifier calls
//! it, on another machine, with the public key and perhaps an old checkpoint.

use rowhouse_domain::audit::finding::Verdict;
use rowhouse_domain::audit::tree::{Frontier, Hash};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_history_verifies_with_and_without_a_pin() {
    let history = History::write().await;
    let key = reader(&history.platform);
    let vkeys = keys(&history.platform, &key, "acme").await;
    let bundle = bundle(&history.platform, &key, "acme").await;
    let unpinned = judge(&bundle, &vkeys, None);
    assert_eq!((labels(&unpinned), unpinned.verdict), (vec![], Verdict::Clean));
    assert_eq!((unpinned.size, unpinned.verified_size), (2 * EACH as u64, 2 * EACH as u64));
    let pinned = judge(&bundle, &vkeys, Some(&history.pin));
    assert_eq!((labels(&pinned), pinned.verdict), (vec![], Verdict::Clean));
    assert!(bundle.checkpoints.len() >= 2 && bundle.checkpoints.contains(&history.pin));
    let sources: std::collections::BTreeSet<_> =
        leaves(&history.platform, A).await.into_iter().map(|leaf| leaf.place.emitter.node).collect();
    assert_eq!(Vec::from_iter(sources), ["db", "n2/g0"]);
}

/// What the attacker knows: A's and B's ids in SQL, and A's size.
struct Scene {
    a: String,
    b: String,
    size: i64,
    /// The frontier and root of A's first leaves, in hexadecimal.
    earlier: (String, String),
}

/// The size that A's log is set back to.
const EARLIER: i64 = 150;

/// What is done, in SQL, and the codes that must be named.
type Attack = (&'static str, fn(&Scene) -> String, &'static [&'static str]);

fn a_row(scene: &Scene, set: &str, idx: i64) -> String {
    format!("UPDATE audit.events SET {set} WHERE tenant_id = '{}' AND idx = {idx};", scene.a)
}

/// Sets what `audit.logs` says of A back.
fn log_set_back(scene: &Scene) -> String {
    let (frontier, root) = &scene.earlier;
    format!(
        "UPDATE audit.logs SET size = {EARLIER}, frontier = '\\x{frontier}', root = '\\x{root}', \
         checkpoint_size = least(checkpoint_size, {EARLIER}) WHERE tenant_id = '{}';",
        scene.a
    )
}

fn tail_removed(scene: &Scene) -> String {
    format!("DELETE FROM audit.events WHERE tenant_id = '{}' AND idx >= {EARLIER};", scene.a)
        + &log_set_back(scene)
}

/// Makes room for a row at `idx`, or closes one there.
fn shifted(scene: &Scene, idx: i64, by: i64) -> String {
    format!(
        "UPDATE audit.events SET idx = idx + 1000000 WHERE tenant_id = '{a}' AND idx >= {idx}; \
         UPDATE audit.events SET idx = idx - 1000000 + {by} WHERE tenant_id = '{a}' AND idx >= 1000000; \
         UPDATE audit.logs SET size = size + {by} WHERE tenant_id = '{a}';",
        a = scene.a
    )
}

fn copied(scene: &Scene, source: &str, from: i64, to: i64) -> String {
    format!(
        "INSERT INTO audit.events SELECT '{}', {to}, rx, ts, id, ev, ty, out, actor, tgt, leaf, leaf_hash \
         FROM audit.events WHERE tenant_id = '{source}' AND idx = {from};",
        scene.a
    )
}

const REHASH: &str = "leaf_hash = sha256('\\x00'::bytea || convert_to(leaf, 'UTF8'))";

const ATTACKS: [Attack; 14] = [
    (
        "leaf",
        |s| a_row(s, "leaf = replace(leaf, '\"success\"', '\"failure\"')", 50),
        &["LEAF_MODIFIED", "PROJECTION"],
    ),
    ("only a column", |s| a_row(s, "out = 'failure'", 50), &["PROJECTION"]),
    ("only the actor's column", |s| a_row(s, "actor = 'user:nobody'", 50), &["PROJECTION"]),
    (
        "leaf, hash and column, all fitting",
        |s| {
            a_row(s, "leaf = replace(leaf, '\"success\"', '\"failure\"'), out = 'failure'", 50)
                + &a_row(s, REHASH, 50)
        },
        &["PINNED_INCONSISTENT", "ROOT_MISMATCH"],
    ),
    (
        "a row in the middle removed",
        |s| format!("DELETE FROM audit.events WHERE tenant_id = '{}' AND idx = 50;", s.a),
        &["LEAF_MODIFIED", "MISSING_UNAUTHORISED", "PINNED_INCONSISTENT", "ROOT_MISMATCH"],
    ),
    (
        "a row removed and the gap closed",
        |s| {
            format!("DELETE FROM audit.events WHERE tenant_id = '{}' AND idx = 50;", s.a)
                + &shifted(s, 51, -1)
        },
        &["EMITTER_GAP", "PINNED_INCONSISTENT", "ROOT_MISMATCH", "TRUNCATED"],
    ),
    ("a row added at the end", |s| copied(s, &s.a, 50, s.size), &["ROW_WITHOUT_LEAF"]),
    (
        "a row slipped in",
        |s| shifted(s, 50, 1) + &copied(s, &s.a, 30, 50),
        &[
            "DUP_ID",
            "EMITTER_REPLAY",
            "PINNED_INCONSISTENT",
            "ROOT_MISMATCH",
            "RX_NOT_MONOTONIC",
            "UNCHECKPOINTED_TAIL",
        ],
    ),
    (
        "two rows swapped",
        |s| a_row(s, "idx = 1000000", 50) + &a_row(s, "idx = 50", 51) + &a_row(s, "idx = 51", 1_000_000),
        &["PINNED_INCONSISTENT", "ROOT_MISMATCH", "RX_NOT_MONOTONIC"],
    ),
    ("the tail removed", tail_removed, &["TRUNCATED"]),
    (
        "another tenant's leaf in place of one",
        |s| {
            let row =
                format!("FROM audit.events b WHERE b.tenant_id = '{}' AND b.idx = 3 AND e.idx = 50", s.b);
            format!(
                "UPDATE audit.events e SET (rx, ts, id, ev, ty, out, actor, tgt, leaf, leaf_hash) = \
                 (b.rx, b.ts, b.id, b.ev, b.ty, b.out, b.actor, b.tgt, b.leaf, b.leaf_hash) {row} \
                 AND e.tenant_id = '{}';",
                s.a
            )
        },
        // Whether the stranger's leaf is also out of its time depends on which log was written first.
        &["EMITTER_GAP", "LEAF_ORIGIN", "PINNED_INCONSISTENT", "ROOT_MISMATCH"],
    ),
    ("what the log says of itself set back", log_set_back, &["ROW_WITHOUT_LEAF", "TRUNCATED"]),
    (
        "a checkpoint's size",
        |s| {
            let changed = format!("note = replace(note, E'\\n{0}\\n', E'\\n{1}\\n')", s.size, s.size - 1);
            format!(
                "UPDATE audit.checkpoints SET {changed} WHERE tenant_id = '{}' AND size = {};",
                s.a, s.size
            )
        },
        &["CKPT_INVALID_SIGNATURE"],
    ),
    (
        "the whole log removed",
        |s| {
            format!(
                "DELETE FROM audit.events WHERE tenant_id = '{0}'; DELETE FROM audit.checkpoints WHERE tenant_id = '{0}'; \
                 UPDATE audit.logs SET size = 0, frontier = '', root = sha256(''), checkpoint_size = 0 WHERE tenant_id = '{0}';",
                s.a
            )
        },
        &["NO_VALID_CHECKPOINT", "PINNED_TRUNCATED"],
    ),
];

async fn scene(platform: &Platform) -> Scene {
    let (a, b) = (id(A).0.to_string(), id(B).0.to_string());
    let hashes = platform
        .ask(&format!(
            "SELECT string_agg(encode(leaf_hash, 'hex'), ' ' ORDER BY idx) FROM audit.events \
             WHERE tenant_id = '{a}' AND idx < {EARLIER}"
        ))
        .await;
    let mut frontier = Frontier::default();
    hashes.split(' ').for_each(|hash| frontier.append(Hash::from_hex(hash).expect("a hash")));
    let bytes: String = frontier.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let size = platform.ask(&format!("SELECT size FROM audit.logs WHERE tenant_id = '{a}'")).await;
    Scene { a, b, size: size.parse().expect("a number"), earlier: (bytes, frontier.root().to_hex()) }
}

/// The codes of a report, each once.
fn codes(report: &Report) -> Vec<String> {
    let codes: std::collections::BTreeSet<_> =
        report.findings.iter().map(|finding| finding.code.clone()).collect();
    Vec::from_iter(codes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_change_behind_the_log_is_named() {
    let history = History::write().await;
    let (pin, newest) = (history.pin, history.newest);
    let key = reader(&history.platform);
    let vkeys = keys(&history.platform, &key, "acme").await;
    let scene = scene(&history.platform).await;
    let copies: [Platform; ATTACKS.len()] = history.platform.copies().await;
    for ((name, attack, expected), copy) in ATTACKS.iter().zip(copies) {
        copy.execute(&attack(&scene)).await;
        let report = judge(&bundle(&copy, &reader(&copy), "acme").await, &vkeys, Some(&pin));
        // Which codes come besides depends on which source the neighbours are from.
        let named = codes(&report);
        assert!(expected.iter().all(|code| named.iter().any(|n| n == code)), "{name}: {:?}", labels(&report));
        assert_eq!(report.exit_code(), 1, "{name}");
        // The pin is what somebody outside kept; all but the last would be found without it too.
        let report = judge(&bundle(&copy, &reader(&copy), "acme").await, &vkeys, None);
        assert_eq!(report.exit_code(), if *name == "the whole log removed" { 12 } else { 1 }, "{name}");
    }
    assert_ne!(pin, newest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_that_went_with_its_checkpoints_is_found_by_who_kept_one() {
    let history = History::write().await;
    let key = reader(&history.platform);
    let vkeys = keys(&history.platform, &key, "acme").await;
    let scene = scene(&history.platform).await;
    let [copy] = history.platform.copies().await;
    let forget =
        format!("DELETE FROM audit.checkpoints WHERE tenant_id = '{}' AND size > {EARLIER}", scene.a);
    copy.execute(&(tail_removed(&scene) + &forget)).await;
    let bundle = bundle(&copy, &reader(&copy), "acme").await;
    let pinned = judge(&bundle, &vkeys, Some(&history.newest));
    assert_eq!(codes(&pinned), ["PINNED_TRUNCATED", "ROLLBACK_VS_PINNED"]);
    assert_eq!(pinned.exit_code(), 1);
    // Without one, all that can be said is that the end is not proven.
    let unpinned = judge(&bundle, &vkeys, None);
    assert_eq!((codes(&unpinned), unpinned.exit_code()), (vec!["UNCHECKPOINTED_TAIL".to_owned()], 11));
}
