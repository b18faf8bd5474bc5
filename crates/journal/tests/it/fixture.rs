//! A journal written by format version 1 stays readable.
//!
//! `tests/fixtures/v1` was made by this crate: node `fixture`, one lane, one segment cut behind its end. It is never
//! made anew: a change of the format gets a new version, and a fixture beside this one.

use std::path::Path;

use rowhouse_journal::{
    AuditMark, Class, Dropped, Fault, Kind, Outcome, PrincipalKind, Protocol, Reader, RequestRecord,
    UsagePairs, verify_dir,
};

fn fixture() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/v1"))
}

/// The full record in the fixture.
fn record() -> RequestRecord<'static> {
    let mut usage = UsagePairs::default();
    usage.push("api_calls", 1_000_000_000_000).unwrap();
    usage.push("stamps_created", -2_500_000_000_000).unwrap();
    RequestRecord {
        request_id: 0x0190_1234_5678_7abc_8def_0123_4567_89ab,
        started_at_us: 1_790_000_000_123_456,
        clock_stepped: true,
        continues: false,
        duration_us: 1_234,
        upstream_us: 1_000,
        directory_version: 42,
        tenant: Some(0x0190_0000_0000_7000_8000_0000_0000_0001),
        principal_kind: PrincipalKind::ApiKey,
        principal: Some(0x0190_0000_0000_7000_8000_0000_0000_0002),
        api_key: "k3yk3yk3yk",
        service: "stamping",
        route: "stamps.create",
        endpoint: "POST /v1/stamps",
        upstream: "127.0.0.1:9000",
        release: "2026.11.1",
        protocol: Protocol::Http2,
        method: "POST",
        status: 429,
        outcome: Outcome::Refused,
        fault: Fault::Caller,
        refusal: "limits.exceeded",
        permission: "stamps:create",
        limit_hit: "tenant",
        limit_remaining: -1,
        bytes_in: 310,
        bytes_out: 640,
        usage,
        client_ip: "203.0.113.0",
        user_agent: "Zürich/1.0",
        trace_id: Some(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736),
        region: "local",
        audit: Some(AuditMark { counter: 7, target_kind: "stamp", target_id: "stamp_1", application: None }),
    }
}

#[test]
fn a_journal_of_version_1_is_read_to_the_last_field() {
    let reader = Reader::open_dir(fixture()).unwrap();
    assert_eq!(reader.node().unwrap().as_deref(), Some("fixture"));
    assert_eq!(reader.lanes().unwrap(), ["core-0"]);
    let batch = reader.tail("core-0", 0).next_batch(100, 100_000).unwrap();
    let frames: Vec<_> = batch.frames().collect();
    let kinds: Vec<_> = frames.iter().map(|frame| (frame.sequence, frame.class, frame.kind)).collect();
    assert_eq!(
        kinds,
        [
            (1, Class::R, Kind::LaneStart),
            (2, Class::R, Kind::Request),
            (3, Class::R, Kind::Request),
            (4, Class::S, Kind::Usage),
            (5, Class::S, Kind::Audit),
            (6, Class::R, Kind::Dropped),
            (7, Class::R, Kind::LaneStop),
        ]
    );
    assert_eq!(frames[1].record(), Ok(record()));
    assert_eq!(frames[2].record(), Ok(RequestRecord::default()));
    assert_eq!(frames[3].payload, br#"{"meter":"stamps_created","quantity":"1"}"#);
    assert_eq!(frames[4].payload, br#"{"type":"access.role_assigned"}"#);
    assert!(matches!(frames[5].dropped(), Some(Dropped { count: 3, .. })));
    assert!(verify_dir(fixture()).unwrap().is_right());
}
