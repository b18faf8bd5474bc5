//! Verifying an API key among 200,000, from the header's bytes to the address it came from, as the gateway does it.

use std::hint::black_box;
use std::net::IpAddr;

use rowhouse_domain::keys::{SentKey, bearer};

use crate::fixture::{Fixture, NOW_US};
use crate::measure::{Figures, Random, alone_p99, batches};

pub fn measure(fixture: &Fixture, count: usize, figures: &mut Figures) {
    let client: IpAddr = "10.1.2.3".parse().expect("an address");
    let verify = |header: &&str| {
        let token = bearer(header.as_bytes()).expect("a bearer");
        let text = std::str::from_utf8(token).expect("it is text");
        let key = SentKey::read(text).look_up(&fixture.directory).verify(&fixture.peppers, NOW_US).ok()?;
        key.refuse_other_address(client).ok()?;
        Some(key.id)
    };
    let ask = |header: &&str| assert!(black_box(verify(black_box(header))).is_some());
    let mut random = Random(0xD6E8_FEB8_6659_FD93);
    let cold: Vec<&str> =
        (0..count).map(|_| fixture.sent[random.below(fixture.sent.len())].as_str()).collect();
    figures.put("key_verify_p50_ns", batches(&cold, ask));
    figures.put("key_verify_p99_ns", alone_p99(&cold, ask));
    let hot = vec![fixture.sent[7].as_str(); count];
    figures.put("key_verify_hot_p50_ns", batches(&hot, ask));
    let malformed = vec!["Bearer rh_live_eu1_0000000000AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA1OX4sX"; count];
    let refused = |header: &&str| assert!(black_box(verify(black_box(header))).is_none());
    figures.put("key_malformed_p50_ns", batches(&malformed, refused));
    let counted = allocation_counter::measure(|| cold.iter().for_each(ask));
    figures.put("key_allocations", counted.count_total as f64);
}
