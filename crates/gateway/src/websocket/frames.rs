//! Frames of a WebSocket (RFC 6455 §5.2), followed as they pass: how many messages there were, and whether the bytes so
//! far end with a frame. Nothing is kept of what they say.

/// One direction of a WebSocket.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD_MAX],
    have: usize,
    /// Bytes of the frame that are still to come, once its head is known.
    left: u64,
    messages: u64,
}

/// Two bytes, a long length and a mask.
const HEAD_MAX: usize = 14;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
/// Continuation, text and binary; the others are reserved or control the connection.
const DATA_OPCODE_MAX: u8 = 2;

impl Frames {
    /// What passes.
    pub(super) fn hear(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let passed = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= passed as u64;
                bytes = &bytes[passed..];
                continue;
            }
            self.head[self.have] = bytes[0];
            self.have += 1;
            bytes = &bytes[1..];
            if self.have >= 2 && self.have == self.head_length() {
                self.begin();
            }
        }
    }

    /// Messages that ended or are about to: their last frame has begun.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// Whether another frame may begin here.
    pub(super) fn at_boundary(&self) -> bool {
        self.left == 0 && self.have == 0
    }

    fn head_length(&self) -> usize {
        let length = match self.head[1] & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + if self.head[1] & MASKED != 0 { 4 } else { 0 }
    }

    fn begin(&mut self) {
        let big_endian = |bytes: &[u8]| bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        self.left = match self.head[1] & !MASKED {
            126 => big_endian(&self.head[2..4]),
            127 => big_endian(&self.head[2..10]),
            short => u64::from(short),
        };
        self.have = 0;
        let opcode = self.head[0] & 0x0f;
        self.messages += u64::from(self.head[0] & FINAL != 0 && opcode <= DATA_OPCODE_MAX);
    }
}

/// A frame that ends the connection, as a server sends it; `reason` has at most 123 bytes.
pub(super) fn close(code: u16, reason: &str) -> Vec<u8> {
    let reason = reason.as_bytes();
    let reason = &reason[..reason.len().min(123)];
    let length = u8::try_from(reason.len() + 2).expect("at most 125");
    [&[FINAL | 8, length], &code.to_be_bytes()[..], reason].concat()
}

/// The same as a client sends it: masked (RFC 6455 §5.3).
pub(super) fn masked_close(code: u16, mask: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![FINAL | 8, MASKED | 2];
    frame.extend(mask);
    frame.extend(code.to_be_bytes().iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(head: u8, masked: bool, length: usize) -> Vec<u8> {
        let mask = if masked { MASKED } else { 0 };
        let mut bytes = vec![head];
        match length {
            0..126 => bytes.push(mask | length as u8),
            126..=0xffff => {
                bytes.push(mask | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(std::iter::repeat_n(0x81, if masked { 4 } else { 0 } + length));
        bytes
    }

    proptest! {
        /// However the bytes are cut.
        #[test]
        fn messages_are_counted_and_boundaries_found(
            frames in proptest::collection::vec(
                (any::<bool>(), 0_u8..16, any::<bool>(), prop_oneof![0_usize..130, 65_530..65_540_usize]), 1..8,
            ),
            cut in 1_usize..4_000,
        ) {
            let expected = frames.iter().filter(|(last, opcode, ..)| *last && *opcode <= 2).count() as u64;
            let head = |last: bool, opcode: u8| if last { FINAL | opcode } else { opcode };
            let bytes: Vec<u8> =
                frames.iter().flat_map(|(last, opcode, masked, n)| frame(head(*last, *opcode), *masked, *n)).collect();
            let mut heard = Frames::default();
            bytes.chunks(cut).for_each(|piece| heard.hear(piece));
            prop_assert_eq!(heard.messages(), expected);
            prop_assert!(heard.at_boundary());
            let mut cut_short = Frames::default();
            cut_short.hear(&bytes[..bytes.len() - 1]);
            prop_assert!(!cut_short.at_boundary() || bytes.len() == 1);
        }
    }

    #[test]
    fn a_close_says_why() {
        assert_eq!(close(1008, "no"), [0x88, 4, 0x03, 0xf0, b'n', b'o']);
        assert_eq!(masked_close(1008, [1, 2, 3, 4]), [0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xf0 ^ 2]);
        assert_eq!(close(1001, &"x".repeat(200)).len(), 2 + 125);
    }
}
