//! `traceparent` (W3C Trace Context §3.2): passed on if it is well-formed, made if there is none.

use http::{HeaderMap, HeaderName};

use crate::random::RandomStock;

/// The header.
pub(crate) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const HEX: &[u8; 16] = b"0123456789abcdef";

/// The trace id of a request that carries a well-formed one.
pub(crate) fn trace_id(headers: &HeaderMap) -> Option<u128> {
    let mut values = headers.get_all(&TRACEPARENT).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let mut parts = value.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let sizes = (version.len(), trace.len(), span.len(), flags.len()) == (2, 32, 16, 2);
    let known_shape = version != "ff" && (version != "00" || parts.next().is_none());
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !sizes || !known_shape || ![version, trace, span, flags].into_iter().all(hex) {
        return None;
    }
    let trace = u128::from_str_radix(trace, 16).ok()?;
    let span = u64::from_str_radix(span, 16).ok()?;
    (trace != 0 && span != 0).then_some(trace)
}

/// The header's text for a trace that begins here.
pub(crate) fn begin(trace_id: u128, random: &RandomStock) -> [u8; 55] {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-01";
    hex_into(&mut text[3..35], &trace_id.to_be_bytes());
    let span = u64::from_be_bytes(random.bytes()).max(1);
    hex_into(&mut text[36..52], &span.to_be_bytes());
    text
}

fn hex_into(out: &mut [u8], bytes: &[u8]) {
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_well_formed_ones_are_believed() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(TRACEPARENT.clone(), HeaderValue::from_static(value));
            trace_id(&headers)
        };
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(of(good), Some(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736));
        for bad in [
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
