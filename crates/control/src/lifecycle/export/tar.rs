//! The headers of a tar (POSIX.1-1988 `ustar`), as far as plain files need them.

const BLOCK: usize = 512;
/// Two blocks of zeros end an archive.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The header of a file. `name` is at most 255 bytes with a slash after at most 155; `at_s` is its time.
pub fn header(name: &str, bytes: u64, at_s: i64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let (prefix, short) = split(name);
    put(&mut block, 0, short.as_bytes());
    put(&mut block, 100, b"0000600\0");
    put(&mut block, 108, b"0000000\0");
    put(&mut block, 116, b"0000000\0");
    size(&mut block, bytes);
    put(&mut block, 136, format!("{:011o}\0", at_s.max(0)).as_bytes());
    put(&mut block, 148, b"        ");
    block[156] = b'0';
    put(&mut block, 257, b"ustar\x0000");
    put(&mut block, 345, prefix.as_bytes());
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    put(&mut block, 148, format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Zeros after a file of this length.
pub fn padding(bytes: u64) -> usize {
    let over = usize::try_from(bytes % BLOCK as u64).expect("less than a block");
    if over == 0 { 0 } else { BLOCK - over }
}

/// Eleven octal digits hold 8 GiB; more is told in base 256, as GNU tar and pax read it.
fn size(block: &mut [u8; BLOCK], bytes: u64) {
    if bytes < 8 << 30 {
        put(block, 124, format!("{bytes:011o}\0").as_bytes());
    } else {
        block[124] = 0x80;
        put(block, 128, &bytes.to_be_bytes());
    }
}

fn split(name: &str) -> (&str, &str) {
    match name.rsplit_once('/') {
        Some((prefix, short)) if name.len() > 100 => (prefix, short),
        _ => ("", name),
    }
}

fn put(block: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
    block[at..at + bytes.len()].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_sums_up_and_tells_its_length() {
        let block = header("stamping/stamps.jsonl", 1_234, 86_400);
        assert!(block.starts_with(b"stamping/stamps.jsonl\0"));
        assert_eq!(&block[124..136], b"00000002322\0");
        let told = std::str::from_utf8(&block[148..154]).expect("digits");
        let mut blank = block;
        blank[148..156].fill(b' ');
        let sum: u32 = blank.iter().map(|byte| u32::from(*byte)).sum();
        assert_eq!(u32::from_str_radix(told, 8), Ok(sum));
        assert_eq!((padding(0), padding(1), padding(512), padding(513)), (0, 511, 0, 511));
        let long = format!("{}/{}", "a".repeat(120), "b".repeat(60));
        assert!(header(&long, 9 << 30, 0)[345..].starts_with(&[b'a'; 120]));
        assert_eq!(header(&long, 9 << 30, 0)[124], 0x80);
    }
}
