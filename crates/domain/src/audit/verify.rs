//! Verification of a bundle, offline: every leaf, the tree over them, what was signed and pinned, the counters
//! inside the leaves, the stored columns, and what the platform's log says. Every kind of tampering has a code.
//! Time is linear in the leaves; nothing is fetched and no clock is read.

use serde::Serialize;

use super::{
    bundle::{Bundle, Trust, TrustMode},
    finding::{Finding, Verdict},
    verify_checkpoints::{Checkpoints, Roots},
    verify_events::EventWalk,
    verify_heads,
};

/// What verification says. Its first line, everywhere it is shown, is the trust mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    pub verdict: Verdict,
    pub trust_mode: TrustMode,
    pub level: &'static str,
    pub origin: String,
    /// Leaves in the bundle.
    pub size: u64,
    /// Leaves under a checkpoint that holds.
    pub verified_size: u64,
    /// Size of the newest checkpoint that can be relied on.
    pub checkpoint_size: u64,
    pub findings: Vec<Finding>,
    pub notices: Vec<Notice>,
}

/// A count of what is fine and worth knowing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    pub code: &'static str,
    pub count: u64,
}

impl Report {
    pub fn exit_code(&self) -> u8 {
        self.verdict.exit_code()
    }

    /// Whether a finding with this code is there.
    pub fn found(&self, code: &str) -> bool {
        self.findings.iter().any(|finding| finding.code == code)
    }
}

/// Verifies everything a bundle holds (level V2). `now_us` is the verifier's own clock, if it has one: a bundle
/// could lie about its own time.
pub fn verify(bundle: &Bundle, trust: &Trust, now_us: Option<i64>) -> Report {
    let trust_mode = TrustMode::of(trust, bundle);
    let mut findings = Vec::new();
    let checkpoints = Checkpoints::read(bundle, trust, trust_mode, &mut findings);
    let mut sizes = checkpoints.sizes();
    sizes.extend(verify_heads::sizes(bundle));
    let latest_us = now_us.map_or(bundle.now, |now| now.min(bundle.now));
    let mut walk = EventWalk::new(bundle, trust, latest_us);
    let roots = Roots::of(bundle, sizes, &mut walk, &mut findings);
    let dropped = walk.finish(&mut findings);
    checkpoints.compare(&roots, &mut findings);
    verify_heads::compare(bundle, trust, &roots, &mut findings);
    Report {
        verdict: verdict(&findings, trust_mode),
        trust_mode,
        level: "V2",
        origin: bundle.origin.clone(),
        size: roots.size,
        verified_size: checkpoints.verified_size(&roots),
        checkpoint_size: checkpoints.newest_size(),
        findings,
        notices: if dropped > 0 { vec![Notice { code: "W_REDACTED", count: dropped }] } else { Vec::new() },
    }
}

fn verdict(findings: &[Finding], mode: TrustMode) -> Verdict {
    let worst = findings.iter().map(|finding| finding.severity).max().unwrap_or(Verdict::Clean);
    if mode.can_be_clean() { worst } else { worst.max(Verdict::Untrusted) }
}
