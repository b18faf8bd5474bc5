use proptest::prelude::*;

use super::*;

fn full<'a>() -> RequestRecord<'a> {
    let mut usage = UsagePairs::default();
    usage.push("api_calls", 1_000_000_000_000).unwrap();
    usage.push("stamps_created", -5).unwrap();
    RequestRecord {
        request_id: 0x0190_0000_0000_7000_8000_0000_0000_0001,
        started_at_us: 1_790_000_000_000_000,
        clock_stepped: true,
        continues: true,
        duration_us: 1_234,
        upstream_us: 1_000,
        directory_version: 42,
        tenant: Some(7),
        principal_kind: PrincipalKind::ApiKey,
        principal: Some(8),
        api_key: "k3y",
        service: "stamping",
        route: "stamps.create",
        endpoint: "POST /v1/stamps",
        upstream: "127.0.0.1:9000",
        release: "r1",
        protocol: Protocol::Http2,
        method: "POST",
        status: 201,
        outcome: Outcome::Served,
        fault: Fault::None,
        refusal: "",
        permission: "stamps:create",
        limit_hit: "tenant",
        limit_remaining: -1,
        bytes_in: 10,
        bytes_out: 20,
        usage,
        client_ip: "203.0.113.0",
        user_agent: "curl/8",
        trace_id: Some(9),
        region: "eu",
        audit: Some(AuditMark { counter: 3, target_kind: "stamp", target_id: "s-1", application: Some(11) }),
    }
}

fn encoded(record: &RequestRecord<'_>) -> Vec<u8> {
    let mut bytes = vec![0xAA; record.encoded_len()];
    record.encode(&mut bytes);
    bytes
}

#[test]
fn a_record_reads_back_as_it_was_written() {
    for record in [full(), RequestRecord::default()] {
        assert_eq!(RequestRecord::decode(&encoded(&record)), Ok(record));
    }
}

#[test]
fn a_typical_record_is_small() {
    let mut usage = UsagePairs::default();
    usage.push("api_calls", 1).unwrap();
    let record = RequestRecord { user_agent: "", audit: None, usage, ..full() };
    assert!(record.encoded_len() <= 300, "{}", record.encoded_len());
}

#[test]
fn every_cut_short_record_is_refused() {
    let bytes = encoded(&full());
    for end in 0..bytes.len() {
        assert!(
            matches!(RequestRecord::decode(&bytes[..end]), Err(DecodeError::Short { .. })),
            "cut at {end}"
        );
    }
}

#[test]
fn what_is_not_this_version_or_not_known_is_refused() {
    let cases = [
        (0, DecodeError::Version { found: 99 }),
        (2, DecodeError::Unknown { field: "principal_kind", found: 99 }),
        (3, DecodeError::Unknown { field: "protocol", found: 99 }),
        (4, DecodeError::Unknown { field: "outcome", found: 99 }),
        (5, DecodeError::Unknown { field: "fault", found: 99 }),
    ];
    for (at, error) in cases {
        let mut bytes = encoded(&full());
        bytes[at] = 99;
        assert_eq!(RequestRecord::decode(&bytes), Err(error));
    }
    let mut bytes = encoded(&full());
    bytes.push(0);
    assert_eq!(RequestRecord::decode(&bytes), Err(DecodeError::Trailing { bytes: 1 }));
}

#[test]
fn long_strings_are_cut_at_a_character() {
    let agent = "é".repeat(200);
    let method = "M".repeat(100);
    let record = RequestRecord { user_agent: &agent, method: &method, ..full() };
    let bytes = encoded(&record);
    let read = RequestRecord::decode(&bytes).unwrap();
    assert_eq!(read.user_agent, "é".repeat(128));
    assert_eq!(read.method, "M".repeat(32));
}

#[test]
fn a_ninth_usage_pair_is_refused_and_never_lost_silently() {
    let mut usage = UsagePairs::default();
    for _ in 0..USAGE_PAIRS_MAX {
        usage.push("meter", 1).unwrap();
    }
    assert_eq!(usage.push("meter", 1), Err(UsageFull));
}

proptest! {
    #[test]
    fn any_record_reads_back(
        numbers in any::<[u64; 6]>(),
        ids in any::<[Option<u128>; 3]>(),
        texts in prop::array::uniform4("\\PC{0,60}"),
        pairs in prop::collection::vec(("[a-z_]{1,30}", any::<i128>()), 0..=USAGE_PAIRS_MAX),
    ) {
        let mut usage = UsagePairs::default();
        for (meter, quantity) in &pairs {
            usage.push(meter, *quantity).unwrap();
        }
        let record = RequestRecord {
            started_at_us: numbers[0] as i64,
            duration_us: numbers[1],
            upstream_us: numbers[2],
            bytes_in: numbers[3],
            bytes_out: numbers[4],
            limit_remaining: numbers[5] as i64,
            tenant: ids[0],
            principal: ids[1],
            trace_id: ids[2],
            endpoint: &texts[0],
            user_agent: &texts[1],
            permission: &texts[2],
            region: &texts[3],
            usage,
            ..full()
        };
        let bytes = encoded(&record);
        prop_assert_eq!(RequestRecord::decode(&bytes), Ok(record));
    }

    #[test]
    fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = RECORD_VERSION;
        }
        let _ = RequestRecord::decode(&bytes);
    }
}
