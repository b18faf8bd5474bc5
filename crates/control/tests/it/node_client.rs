//! A node as a test plays one, and what it has recorded. The binary's tests use it, too.

use std::time::Duration;

use rowhouse_control::deploy::nodes::link::LinkError;
use rowhouse_control::deploy::nodes::wire::{
    BATCH_BYTES, BATCH_FRAMES, Enrolment, FORMAT, Follow, TokenText, hex,
};
use rowhouse_domain::context::ContextSigner;
use rowhouse_journal::{Batch, Class, Journal, Options, RequestRecord, UsagePairs};
use uuid::Uuid;

/// How it enrols.
pub fn asked(name: &str, token: &str) -> Enrolment {
    let secret = hex(&TokenText::parse(token).expect("a token").secret);
    let context_key = hex(ContextSigner::new("n", &[4; 32]).verifier().as_bytes());
    Enrolment { name: name.to_owned(), secret, context_key }
}

/// One of its processes.
pub fn process(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// How a process of it begins.
pub fn start_of(boot: u64, number: u128) -> Follow {
    let (life, version) = (None, None);
    Follow { format: FORMAT, boot, process: process(number), release: "1".to_owned(), life, version }
}

/// The code of a refusal; `in` for none.
pub fn code<T>(answer: Result<T, LinkError>) -> String {
    match answer {
        Ok(_) => "in".to_owned(),
        Err(error) => error.code().to_owned(),
    }
}

/// What a gateway of its own has recorded from `at_us` on: the start of a lane and so many calls, each one unit of `meter`.
pub fn recorded((tenant, calls): (u128, u64), meter: &str, at_us: i64) -> (Folder, Batch) {
    let folder = Folder(std::env::temp_dir().join(format!("rowhouse-far-{}-{tenant:x}", std::process::id())));
    let options = Options { segment_bytes: 1 << 20, keep: Duration::ZERO, ..Options::new("east") };
    let (journal, _) = Journal::open(&folder.0, options).expect("a journal");
    let mut lane = journal.lane("gateway-0").expect("a lane");
    for number in 0..calls {
        let mut usage = UsagePairs::default();
        usage.push(meter, 1_000_000_000_000).expect("room");
        let record = RequestRecord {
            request_id: u128::from(number) + 1,
            started_at_us: at_us + number as i64,
            tenant: Some(tenant),
            endpoint: "GET /v1/notes",
            status: 200,
            usage,
            ..RequestRecord::default()
        };
        lane.append_record(Class::R, &record).expect("room");
    }
    journal.synchronise();
    let mut tail = journal.reader().tail("gateway-0", 0);
    let batch = tail.next_batch(BATCH_FRAMES, BATCH_BYTES).expect("it is readable");
    drop(lane);
    (folder, batch)
}

/// Is removed with the test.
pub struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
