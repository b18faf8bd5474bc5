//! Random bytes for ids of requests and spans, fetched from the system a page at a time. Not for secrets.

use std::cell::RefCell;

use rowhouse_domain::entropy::Entropy;
use uuid::Uuid;

const PAGE: usize = 4096;

/// One core's stock of random bytes.
pub(crate) struct RandomStock {
    entropy: Entropy,
    page: RefCell<(Box<[u8; PAGE]>, usize)>,
}

impl RandomStock {
    /// An empty stock.
    pub(crate) fn new(entropy: Entropy) -> Self {
        RandomStock { entropy, page: RefCell::new((Box::new([0; PAGE]), PAGE)) }
    }

    /// `N` random bytes, each handed out once.
    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        let (page, at) = &mut *self.page.borrow_mut();
        if *at + N > PAGE {
            self.entropy.fill(&mut page[..]);
            *at = 0;
        }
        let bytes = page[*at..*at + N].try_into().expect("the slice has N bytes");
        *at += N;
        bytes
    }

    /// A UUIDv7 (RFC 9562 §5.7) of an instant.
    pub(crate) fn uuid_v7(&self, now_us: i64) -> Uuid {
        let millis = u64::try_from(now_us / 1000).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &self.bytes()).into_uuid()
    }
}
