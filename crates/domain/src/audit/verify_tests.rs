//! Every kind of tampering is named, clean histories raise nothing, and no changed byte goes unseen.
use std::sync::LazyLock;

use proptest::prelude::*;

use super::{
    bundle::{Bundle, Trust, TrustError, TrustFile, TrustMode},
    canonical::{Object, Value},
    finding::Verdict,
    leaf::{Emitter, Leaf},
    row::Row,
    tree::{Hash, Head, leaf_hash, root},
    verify::{Report, verify},
    verify_history::{DAY_US, History, ORIGIN, hashes, rehash},
};

fn labels(report: &Report) -> Vec<String> {
    report.findings.iter().map(|finding| finding.label()).collect()
}

/// The honest bundle of forty events with checkpoints at 20 and 40, pinned at 20.
fn honest() -> (History, Bundle, Trust) {
    static HONEST: LazyLock<(History, Bundle, Trust)> = LazyLock::new(|| {
        let history = History::of_forty();
        let (bundle, trust) = (history.bundle(&[20, 40]), history.trust(Some(20)));
        (history, bundle, trust)
    });
    HONEST.clone()
}

fn edit(leaf: &mut Option<String>, from: &str, to: &str) {
    let text = leaf.take().unwrap();
    assert!(text.contains(from), "{text}");
    *leaf = Some(text.replacen(from, to, 1));
}

#[test]
fn a_clean_history_raises_nothing() {
    let (history, bundle, trust) = honest();
    let report = verify(&bundle, &trust, Some(history.now_us));
    assert_eq!(
        (labels(&report), report.verdict, report.trust_mode),
        (vec![], Verdict::Clean, TrustMode::Pinned)
    );
    assert_eq!(
        (report.size, report.verified_size, report.checkpoint_size, report.exit_code()),
        (40, 40, 40, 0)
    );
    let report = verify(&bundle, &history.trust(None), None);
    assert_eq!((report.verdict, report.trust_mode), (Verdict::Clean, TrustMode::Policy));
}

/// Attack, and the findings it must raise, all of them.
type Attack = (&'static str, fn(&History, &mut Bundle), &'static [&'static str]);

const ATTACKS: &[Attack] = &[
    ("column edited", |_, b| b.rows.as_mut().unwrap()[13].out = "failure".into(), &["PROJECTION@13.out"]),
    (
        "columns edited",
        |_, b| {
            let row = &mut b.rows.as_mut().unwrap()[2];
            row.actor = "user:x".into();
            row.tgt.clear();
        },
        &["PROJECTION@2.actor", "PROJECTION@2.tgt"],
    ),
    (
        "leaf edited",
        |_, b| edit(&mut b.leaves[5], "success", "failure"),
        &["LEAF_MODIFIED@5", "PROJECTION@5.out"],
    ),
    (
        "leaf and tile edited",
        |_, b| {
            edit(&mut b.leaves[5], "success", "failure");
            rehash(b);
            b.rows.as_mut().unwrap()[5].out = "failure".into();
        },
        &["ROOT_MISMATCH@20", "ROOT_MISMATCH@40", "PINNED_INCONSISTENT@20"],
    ),
    (
        "tile edited",
        |_, b| b.leaf_hashes[7] = "00".repeat(32),
        &["LEAF_MODIFIED@7", "ROOT_MISMATCH@20", "ROOT_MISMATCH@40", "PINNED_INCONSISTENT@20"],
    ),
    ("tile garbled", |_, b| b.leaf_hashes[7] = "zz".into(), &["LEAF_MODIFIED@7"]),
    (
        "non-canonical",
        |_, b| {
            edit(&mut b.leaves[5], "{\"ac\"", "{ \"ac\"");
            rehash(b);
        },
        &[
            "LEAF_NON_CANONICAL@5",
            "EMITTER_GAP@node-b:2->4",
            "ROOT_MISMATCH@20",
            "ROOT_MISMATCH@40",
            "PINNED_INCONSISTENT@20",
        ],
    ),
    (
        "duplicate key",
        |_, b| edit(&mut b.leaves[6], "\"v\":1", "\"v\":1,\"v\":1"),
        &["LEAF_MODIFIED@6", "LEAF_DUP_KEY@6", "EMITTER_GAP@node-a:3->5"],
    ),
    (
        "float smuggled in",
        |_, b| edit(&mut b.leaves[6], "\"v\":1", "\"v\":1.0"),
        &["LEAF_MODIFIED@6", "LEAF_FLOAT_FORBIDDEN@6", "EMITTER_GAP@node-a:3->5"],
    ),
    (
        "head record in a tenant's log",
        |_, b| b.leaves[6] = Some(r#"{"epoch":1,"k":"head","log":"x","root":"","size":1,"v":1}"#.into()),
        &["LEAF_MODIFIED@6", "LEAF_NON_CANONICAL@6", "EMITTER_GAP@node-a:3->5"],
    ),
    (
        "middle deleted",
        |_, b| {
            b.leaves.remove(24);
            b.leaf_hashes.remove(24);
            b.rows = None;
        },
        &["EMITTER_GAP@node-a:12->14", "TRUNCATED@39<40"],
    ),
    (
        "tail deleted",
        |_, b| {
            b.leaves.truncate(36);
            b.leaf_hashes.truncate(36);
            b.rows.as_mut().unwrap().truncate(36);
        },
        &["TRUNCATED@36<40"],
    ),
    (
        "tail and checkpoint deleted",
        |h, b| {
            *b = h.bundle(&[]);
            b.leaves.truncate(18);
            b.leaf_hashes.truncate(18);
            b.rows.as_mut().unwrap().truncate(18);
            let note = h.sign(&hashes(b), 18);
            b.checkpoints.push(note);
        },
        &["PINNED_TRUNCATED@18<20", "ROLLBACK_VS_PINNED@18<20"],
    ),
    (
        "whole log deleted",
        |_, b| {
            b.leaves.clear();
            b.leaf_hashes.clear();
            b.rows = None;
            b.checkpoints.clear();
        },
        &["NO_VALID_CHECKPOINT", "PINNED_TRUNCATED@0<20"],
    ),
    ("payload dropped without authority", |_, b| b.leaves[9] = None, &["MISSING_UNAUTHORISED@9"]),
    (
        "row hidden",
        |_, b| {
            b.rows.as_mut().unwrap().remove(8);
        },
        &["ROW_MISSING@8"],
    ),
    (
        "ghost row",
        |_, b| {
            let mut row = b.rows.as_ref().unwrap()[3].clone();
            row.idx = 40;
            b.rows.as_mut().unwrap().push(row);
        },
        &["ROW_WITHOUT_LEAF@40"],
    ),
    (
        "row doubled",
        |_, b| {
            let row = b.rows.as_ref().unwrap()[3].clone();
            b.rows.as_mut().unwrap().push(row);
        },
        &["ROW_WITHOUT_LEAF@3"],
    ),
    ("hashes of more leaves", |_, b| b.leaf_hashes.push("00".repeat(32)), &["TILE_LONGER_THAN_LOG@41>40"]),
    (
        "rewritten below the pin with the real key",
        |h, b| {
            edit(&mut b.leaves[5], "success", "failure");
            b.rows.as_mut().unwrap()[5].out = "failure".into();
            rehash(b);
            b.checkpoints = vec![h.sign(&hashes(b), 40)];
        },
        &["PINNED_INCONSISTENT@20"],
    ),
    (
        "split view",
        |h, b| {
            let other = Head { size: 40, root: leaf_hash(b"other") };
            b.checkpoints.push(h.sign_head(ORIGIN, other));
        },
        &["EQUIVOCATION@40", "ROOT_MISMATCH@40"],
    ),
    ("stale checkpoint last", |_, b| b.checkpoints.swap(0, 1), &["CKPT_ROLLBACK@1"]),
    (
        "edited checkpoint",
        |_, b| b.checkpoints[1] = b.checkpoints[1].replacen("\n40\n", "\n39\n", 1),
        &["CKPT_INVALID_SIGNATURE@1", "UNCHECKPOINTED_TAIL@20..40"],
    ),
    (
        "checkpoint of another log",
        |h, b| {
            let head = Head { size: 40, root: root(&hashes(b)) };
            b.checkpoints[1] = h.sign_head("audit.example.com/t/other", head);
        },
        &["CKPT_ORIGIN@1", "UNCHECKPOINTED_TAIL@20..40"],
    ),
    (
        "no checkpoint at all",
        |_, b| b.checkpoints[1] = "nothing".into(),
        &["CKPT_MALFORMED_NOTE@1", "UNCHECKPOINTED_TAIL@20..40"],
    ),
    (
        "unproven tail",
        |_, b| {
            b.checkpoints.pop();
        },
        &["UNCHECKPOINTED_TAIL@20..40"],
    ),
];

#[test]
fn each_attack_is_named() {
    for (name, attack, expected) in ATTACKS {
        let (history, mut bundle, trust) = honest();
        attack(&history, &mut bundle);
        let report = verify(&bundle, &trust, None);
        assert_eq!(labels(&report), *expected, "{name}");
        let only_tail = expected.iter().all(|label| label.starts_with("UNCHECKPOINTED_TAIL"));
        assert_eq!(report.verdict == Verdict::Attention, only_tail, "{name}");
        assert_ne!(report.exit_code(), 0, "{name}");
    }
}

/// Attacks by whoever can write the log anew and sign it: change the history, keep everything consistent.
type Rewrite = (&'static str, fn(&mut History), &'static [&'static str]);

const REWRITES: &[Rewrite] = &[
    (
        "transplanted from another tenant",
        |h| h.leaves[30].place.log = "audit.example.com/t/tenant_02".into(),
        &["LEAF_ORIGIN@30"],
    ),
    ("replayed", |h| h.leaves[32].draft.id = "event_0031".into(), &["DUP_ID@32"]),
    ("swapped", |h| h.leaves.swap(30, 31), &["RX_NOT_MONOTONIC@31"]),
    ("backdated insertion", |h| h.leaves[30].place.recorded_at_us -= 10_000_000, &["RX_NOT_MONOTONIC@30"]),
    ("from the future", |h| h.leaves[39].place.recorded_at_us += DAY_US, &["FUTURE_RX@39", "BACKDATED@39"]),
    (
        "suppressed before sequencing",
        |h| {
            h.leaves.remove(36);
            h.add("tenancy.tenant_changed", Object::new());
            h.leaves[39].draft.id = "event_new".into();
        },
        &["EMITTER_GAP@node-a:18->20"],
    ),
    (
        "one suppressed",
        |h| {
            h.leaves[38].place.emitter.counter += 1;
        },
        &["EMITTER_GAP@node-a:19->21"],
    ),
    (
        "the first suppressed",
        |h| h.leaves[39].place.emitter = Emitter { node: "node-c".into(), boot: 1, counter: 2 },
        &["EMITTER_GAP@node-c:0->2"],
    ),
    ("counter repeated", |h| h.leaves[39].place.emitter.counter = 19, &["EMITTER_REPLAY@node-b:19->19"]),
    ("claimed days ago", |h| h.leaves[35].draft.occurred_at_us -= 3 * DAY_US, &["BACKDATED@35"]),
    ("claimed for later", |h| h.leaves[35].draft.occurred_at_us += DAY_US, &["POSTDATED@35"]),
];

#[test]
fn each_rewrite_that_is_consistently_signed_is_named() {
    for (name, rewrite, expected) in REWRITES {
        let (mut history, _, trust) = honest();
        rewrite(&mut history);
        let report = verify(&history.bundle(&[20, 40]), &trust, None);
        assert_eq!(labels(&report), *expected, "{name}");
    }
}

#[test]
fn a_log_rewritten_with_a_new_key_is_never_clean() {
    let (history, mut bundle, _) = honest();
    bundle.log_vkeys = vec![history.key()];
    let nobody = Trust::read(&TrustFile::default()).unwrap();
    let report = verify(&bundle, &nobody, None);
    assert_eq!(
        (report.trust_mode, report.verdict, labels(&report)),
        (TrustMode::Tofu, Verdict::Untrusted, vec![])
    );
    bundle.log_vkeys.clear();
    let report = verify(&bundle, &nobody, None);
    assert_eq!((report.trust_mode, report.verdict), (TrustMode::None, Verdict::Untrusted));
    assert_eq!(labels(&report), ["CKPT_UNVERIFIED_NOTE@0", "CKPT_UNVERIFIED_NOTE@1"]);
    let stranger = super::note::SignerKey::from_seed(ORIGIN, &[9; 32]).unwrap();
    let file = TrustFile { log_vkeys: vec![stranger.verifier().to_string()], ..TrustFile::default() };
    let report = verify(&bundle, &Trust::read(&file).unwrap(), None);
    assert_eq!(labels(&report), ["CKPT_NO_LOG_SIG@0", "CKPT_NO_LOG_SIG@1", "NO_VALID_CHECKPOINT"]);
    assert_eq!(report.exit_code(), 12);
}

#[test]
fn losses_the_log_itself_names_only_ask_for_attention() {
    let mut history = History::of_forty();
    history.leaves[38].place.emitter.counter = 23;
    let told = |from: i64, to: i64| {
        let mut details: Object = [("n", "node-a")].into_iter().collect();
        [("b", 1), ("from_c", from), ("to_c", to)]
            .into_iter()
            .for_each(|(key, number)| details.set(key, number));
        details
    };
    history.add("audit.gap.dropped", told(20, 22));
    history.leaves[35].draft.occurred_at_us -= DAY_US;
    history.leaves[36].draft.occurred_at_us -= DAY_US;
    history.add("audit.pipeline.resume", told(19, 19));
    let report = verify(&history.bundle(&[42]), &history.trust(None), None);
    assert_eq!(labels(&report), ["EMITTER_GAP@node-a:19->23", "BACKDATED@35"], "36 is counter 19 of node-a");
    assert_eq!(report.exit_code(), 11);
}

/// Forty events, then their deletion from 3 to 10 by these approvers, `days` later.
fn retention(approvers: &[&str], days: i64, gone: std::ops::Range<usize>) -> Report {
    let mut history = History::of_forty();
    history.now_us += days * DAY_US;
    let mut details = Object::new();
    details.set("lo", 3i64);
    details.set("hi", 10i64);
    details.set("approvers", approvers.iter().map(|name| Value::from(*name)).collect::<Vec<_>>());
    history.add("audit.retention.drop", details);
    let mut bundle = history.bundle(&[41]);
    let trust = history.trust(Some(40));
    gone.for_each(|index| bundle.leaves[index] = None);
    verify(&bundle, &trust, None)
}

#[test]
fn bytes_may_go_only_late_and_with_two_approvers() {
    let report = retention(&["a", "b"], 366, 3..9);
    assert_eq!((labels(&report), report.verdict), (vec![], Verdict::Clean));
    assert_eq!((report.notices[0].code, report.notices[0].count), ("W_REDACTED", 6));
    assert_eq!(labels(&retention(&["a", "a"], 366, 3..9)), ["RETENTION_NOT_DUAL_APPROVED@40"]);
    assert_eq!(labels(&retention(&["a", "b"], 364, 3..9)), ["RETENTION_EARLY@40"]);
    assert_eq!(
        labels(&retention(&["a", "b"], 366, 3..12)),
        ["MISSING_UNAUTHORISED@10", "MISSING_UNAUTHORISED@11"]
    );
}

#[test]
fn the_platform_log_holds_a_log_to_its_size() {
    let (history, mut bundle, trust) = honest();
    let head = Head { size: 40, root: root(&hashes(&bundle)) };
    bundle.platform = Some(history.platform(head));
    assert_eq!(labels(&verify(&bundle, &trust, None)), Vec::<String>::new());
    bundle.platform = Some(history.platform(Head { size: 44, ..head }));
    assert_eq!(labels(&verify(&bundle, &trust, None)), ["HEAD_TRUNCATED@40<44"]);
    bundle.platform = Some(history.platform(Head { root: leaf_hash(b"x"), ..head }));
    assert_eq!(labels(&verify(&bundle, &trust, None)), ["HEAD_MISMATCH@40"]);
    let mut part = history.platform(head);
    part.heads[0].index = 2;
    bundle.platform = Some(part);
    assert_eq!(labels(&verify(&bundle, &trust, None)), ["INCLUSION@platform.2"]);
    let mut part = history.platform(head);
    part.checkpoint = part.checkpoint.replacen("\n3\n", "\n4\n", 1);
    bundle.platform = Some(part);
    assert_eq!(labels(&verify(&bundle, &trust, None)), ["PLATFORM_ROOT_MISMATCH"]);
}

#[test]
fn the_verifiers_clock_outranks_the_bundles() {
    let (history, mut bundle, trust) = honest();
    bundle.now += 365 * DAY_US;
    assert_eq!(labels(&verify(&bundle, &trust, Some(history.now_us))), Vec::<String>::new());
    let report = verify(&bundle, &trust, Some(history.now_us - DAY_US));
    assert_eq!(report.findings.len(), 40, "every event is ahead of a clock a day behind");
}

#[test]
fn a_trust_file_that_lies_is_refused() {
    let file = TrustFile { log_vkeys: vec!["nobody".into()], ..TrustFile::default() };
    assert_eq!(Trust::read(&file).map(|_| ()), Err(TrustError::Key("nobody".into())));
    let history = History::of_forty();
    let bundle = history.bundle(&[40]);
    let forged = bundle.checkpoints[0].replacen("\n40\n", "\n41\n", 1);
    for (pinned, fine) in [
        (bundle.checkpoints[0].clone(), true),
        (forged, false),
        ("x".into(), false),
        (format!("{ORIGIN}\n1\n{}\n", leaf_hash(b"")), true),
    ] {
        let file = TrustFile { log_vkeys: vec![history.key()], pinned: Some(pinned), ..TrustFile::default() };
        assert_eq!(Trust::read(&file).is_ok(), fine);
    }
}

#[test]
fn a_bundle_without_hashes_is_judged_by_its_leaves() {
    let (_, mut bundle, trust) = honest();
    bundle.leaf_hashes.clear();
    assert_eq!(labels(&verify(&bundle, &trust, None)), Vec::<String>::new());
    edit(&mut bundle.leaves[25], "success", "failure");
    assert_eq!(labels(&verify(&bundle, &trust, None)), ["PROJECTION@25.out", "ROOT_MISMATCH@40"]);
}

#[test]
fn a_report_reads_as_specified() {
    let (_, mut bundle, trust) = honest();
    bundle.rows.as_mut().unwrap()[13].out = "failure".into();
    let json = serde_json::to_value(verify(&bundle, &trust, None)).unwrap();
    assert_eq!(json["verdict"], "tampered");
    assert_eq!(json["trust_mode"], "pinned");
    assert_eq!(json["findings"][0]["code"], "PROJECTION");
    assert_eq!(json["findings"][0]["at"], "13.out");
    assert_eq!(json["findings"][0]["severity"], "tampered");
}

/// Changes one character of one of the bundle's texts: a leaf, a hash, a checkpoint or a column.
fn spoil(bundle: &mut Bundle, part: usize, at: usize, replacement: char) -> bool {
    let rows = bundle.rows.as_mut().unwrap();
    let text: &mut String = match part % 4 {
        0 => bundle.leaves[part / 4 % 40].as_mut().unwrap(),
        1 => &mut bundle.leaf_hashes[part / 4 % 40],
        2 => &mut bundle.checkpoints[part / 4 % 2],
        _ => {
            let Row { id, ev, out, actor, tgt, .. } = &mut rows[part / 4 % 40];
            [id, ev, out, actor, &mut tgt[0]].into_iter().nth(at % 5).unwrap()
        }
    };
    let mut characters: Vec<char> = text.chars().collect();
    let place = at % characters.len();
    let changed = characters[place] != replacement;
    characters[place] = replacement;
    *text = characters.into_iter().collect();
    // Hexadecimal digits mean the same in either case.
    changed
        && Hash::from_hex(text).is_none_or(|hash| {
            Some(hash) != Hash::from_hex(&text.to_lowercase()) || !replacement.is_ascii_uppercase()
        })
}

proptest! {
    #[test]
    fn no_changed_character_goes_unseen(part in 0usize..1000, at in 0usize..1000, replacement in "[ -~]") {
        let (_, mut bundle, trust) = honest();
        prop_assume!(spoil(&mut bundle, part, at, replacement.chars().next().unwrap()));
        let report = verify(&bundle, &trust, None);
        prop_assert_ne!(report.verdict, Verdict::Clean);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn clean_histories_of_any_size_raise_nothing(extra in 0usize..60, middle in any::<prop::sample::Index>(), pin in any::<prop::sample::Index>()) {
        let mut history = History::of_forty();
        (0..extra).for_each(|_| history.add("access.role_assigned", Object::new()));
        let size = history.leaves.len() as u64;
        let bundle = history.bundle(&[middle.index(size as usize) as u64, size]);
        let pinned = history.trust(Some(pin.index(size as usize) as u64));
        let report = verify(&bundle, &pinned, Some(history.now_us));
        prop_assert_eq!(labels(&report), Vec::<String>::new());
    }

    #[test]
    fn any_bundle_is_answered(leaf in ".{0,60}", note in ".{0,60}", index in any::<u64>(), now in any::<i64>()) {
        let (_, mut bundle, trust) = honest();
        bundle.leaves[3] = Some(leaf);
        bundle.checkpoints.push(note);
        bundle.rows.as_mut().unwrap()[0].idx = index;
        bundle.now = now;
        prop_assert_ne!(verify(&bundle, &trust, Some(now)).verdict, Verdict::Clean);
    }
}

#[test]
fn leaves_survive_the_way_through_json() {
    let (_, bundle, trust) = honest();
    let text = serde_json::to_string(&bundle).unwrap();
    let read: Bundle = serde_json::from_str(&text).unwrap();
    assert_eq!(labels(&verify(&read, &trust, None)), Vec::<String>::new());
    let leaf = Leaf::read(read.leaves[0].as_ref().unwrap().as_bytes()).unwrap();
    assert_eq!(leaf.draft.id, "event_0000");
}
