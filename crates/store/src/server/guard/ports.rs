//! Holds a tenant's own process to its port, so that it cannot listen where another tenant's process is about to: the gateway would send
//! that tenant's requests there.
//!
//! The kernel keeps to it for this thread and all that it starts (Landlock, `landlock(7)`); there is no way back. The guard itself
//! listens nowhere.

use std::io;

use landlock::{
    AccessNet, CompatLevel, Compatible, NetPort, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
};

/// From now on only `port` can be listened on. False: this kernel cannot (before 6.7, or Landlock is switched off).
pub(super) fn only(port: u16) -> io::Result<bool> {
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessNet::BindTcp)
        .and_then(|ruleset| ruleset.create())
        .and_then(|ruleset| ruleset.add_rule(NetPort::new(port, AccessNet::BindTcp)))
        .and_then(|ruleset| ruleset.restrict_self())
        .map_err(io::Error::other)?;
    Ok(status.ruleset == RulesetStatus::FullyEnforced)
}
