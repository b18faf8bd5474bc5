//! A decision under a condition on the request and on time, asked with all of it known.

use std::hint::black_box;

use rowhouse_domain::access::*;

use crate::fixture::{Fixture, NOW_US, grant, principal};
use crate::measure::{Figures, calls_us};

const TEXT: &str =
    "context.mfa && context.ip.isInRange(ip(\"10.0.0.0/8\")) && context.now < datetime(\"2030-01-01\")";
/// Reads who asks, too.
const ABOUT_WHO: &str = "context.mfa && principal.kind == \"user\"";

pub fn measure(fixture: &Fixture, count: usize, figures: &mut Figures) {
    let (permissions, roles) = (&*fixture.permissions, &fixture.roles);
    for (name, text) in [("conditional", TEXT), ("conditional_about_who", ABOUT_WHO)] {
        let set = permissions.matching("type01:read").expect("declared");
        let condition =
            Condition::check(text, Default::default(), &permissions.kinds(&set)).expect("well-formed");
        let read = GrantTarget::Permission("type01:read".into());
        let who = principal(0, 0);
        let grants = [Grant { condition: Some(condition), ..grant(who, read, None) }];
        let model = Model {
            permissions,
            roles,
            grants: &grants,
            memberships: &[],
            resources: &[],
            principals: &[],
            sessions: Sessions::default(),
        };
        let table = model.compile(1);
        let bit = permissions.id("type01:read").expect("declared");
        let facts = Facts { mfa: Some(true), ip: "10.1.2.3".parse().ok(), ..Facts::NONE };
        let (p50, p99) = calls_us(count, |_| {
            let decision = decide(&table, None, black_box(who), bit, (NOW_US, &facts));
            assert!(black_box(decision).is_ok());
        });
        figures.put(&format!("{name}_p50_us"), p50);
        figures.put(&format!("{name}_p99_us"), p99);
    }
}
