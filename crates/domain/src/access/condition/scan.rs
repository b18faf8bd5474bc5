//! How much a condition's text may ask for, looked at before it is read: what is read and evaluated by recursion, and what looks
//! through texts, is bounded here.

/// At most so many brackets within each other: far more than anybody reads.
pub(super) const NESTING_MAX: usize = 32;
/// At most so many operators: a chain of them is as deep as it is long.
pub(super) const OPERATORS_MAX: usize = 256;
/// At most so many patterns of `like`, each of so many bytes.
pub(super) const PATTERNS_MAX: usize = 8;
pub(super) const PATTERN_MAX: usize = 128;

/// What evaluating a text can cost at most, in steps, by how long the texts are that it looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// However long they are.
    fixed: u64,
    /// For each byte of the longest.
    each: u64,
    /// The longest text that it names itself, in bytes.
    longest: usize,
}

impl Weight {
    /// Steps at most when no text that it is given is longer than `longest` bytes.
    pub(super) fn steps(self, longest: usize) -> u64 {
        let longest = u64::try_from(longest.max(self.longest)).unwrap_or(u64::MAX);
        self.fixed.saturating_add(self.each.saturating_mul(longest))
    }

    /// Cedar's matcher goes back to the last `*` at most once for each character of the text, and then compares no more than what stands
    /// between two of them. How many there are does not matter.
    fn add(&mut self, pattern: &[u8]) {
        let (mut head, mut longest, mut current, mut starred) = (0_u64, 0_u64, 0_u64, false);
        let mut escaped = false;
        for byte in pattern {
            match byte {
                // `\u{2a}` may stand for a star; it ends the head and parts nothing.
                b'u' if escaped => starred = true,
                b'*' if !escaped => (starred, longest, current) = (true, longest.max(current), 0),
                _ if starred => current += 1,
                _ => head += 1,
            }
            escaped = !escaped && *byte == b'\\';
        }
        self.fixed += head;
        // Each text is copied first, and each beginning costs a step back.
        self.each += if starred { longest.max(current) + 2 } else { 1 };
    }
}

/// What a text weighs.
///
/// # Errors
/// Where it asks for too much, and for what.
pub(super) fn weigh(text: &str) -> Result<Weight, (usize, String)> {
    let bytes = text.as_bytes();
    let (mut weight, mut depth, mut operators, mut words) = (Weight::default(), 0_usize, 0_usize, 0_usize);
    let (mut patterns, mut after_like, mut at) = (0, false, 0);
    while let Some(byte) = bytes.get(at) {
        let begin = at;
        at += 1;
        match byte {
            b'/' if bytes.get(at) == Some(&b'/') => {
                at = end(bytes, at, |byte| matches!(byte, b'\n' | b'\r'));
                continue;
            }
            b'"' => {
                at = end_of_literal(bytes, at);
                let literal = &bytes[begin + 1..at.saturating_sub(1).max(begin + 1)];
                weight.longest = weight.longest.max(literal.len());
                if after_like {
                    patterns += 1;
                    if patterns > PATTERNS_MAX || literal.len() > PATTERN_MAX {
                        let most = format!(
                            "at most {PATTERNS_MAX} patterns of `like`, each of at most {PATTERN_MAX} bytes"
                        );
                        return Err((begin, most));
                    }
                    weight.add(literal);
                }
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                at = end(bytes, at, |byte| !byte.is_ascii_alphanumeric() && byte != b'_');
                after_like = &bytes[begin..at] == b"like";
                continue;
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'!' | b'&' | b'|' | b'+' | b'-' | b'*' | b'.' | b'<' | b'>' | b'=' => operators += 1,
            // Words are operators too: `if`, `in`, `has`, `like`, `is`.
            _ if byte.is_ascii_whitespace() => words += 1,
            // White space of other scripts is white space, too.
            _ if !byte.is_ascii() => continue,
            _ => {}
        }
        after_like = after_like && byte.is_ascii_whitespace();
        if depth > NESTING_MAX || operators > OPERATORS_MAX || words > 2 * OPERATORS_MAX {
            let most =
                format!("at most {NESTING_MAX} brackets within each other and {OPERATORS_MAX} operators");
            return Err((begin, most));
        }
    }
    Ok(weight)
}

pub(super) fn end(bytes: &[u8], from: usize, ends: impl Fn(u8) -> bool) -> usize {
    bytes[from..].iter().position(|byte| ends(*byte)).map_or(bytes.len(), |length| from + length)
}

/// Behind the quotation mark that ends the literal.
pub(super) fn end_of_literal(bytes: &[u8], from: usize) -> usize {
    let mut escaped = false;
    let ends = bytes[from..].iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = !escaped && *byte == b'\\';
        ends
    });
    ends.map_or(bytes.len(), |length| from + length + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(text: &str, longest: usize) -> u64 {
        weigh(text).expect("it may be read").steps(longest)
    }

    #[test]
    fn what_stands_between_two_stars_is_looked_for_from_each_place_of_the_text() {
        assert_eq!(steps("context.mfa", 1_000), 0);
        assert_eq!(steps("context.path == \"/a*\"", 1_000), 0, "no pattern");
        assert_eq!(steps("context.path like \"/docs/*\"", 1_000), 6 + 2 * 1_000);
        assert_eq!(steps("context.path like \"/docs\"", 1_000), 5 + 1_000);
        assert_eq!(steps("context.path like \"*abc*de*\"", 1_000), 5 * 1_000);
        assert_eq!(steps("context.path like//\"\r// \"\n \"*abc\"", 1_000), 5 * 1_000, "remarks are none");
        assert_eq!(steps("context.path like\u{a0}\"*abc\"", 1_000), 5 * 1_000);
        assert_eq!(steps("context.path like \"\\u{2a}abc\"", 1_000), 1 + 9 * 1_000, "a star in other words");
        let own = format!("\"{}\" like \"*a\"", "a".repeat(2_000));
        assert_eq!(steps(&own, 10), 3 * 2_000, "a text of its own");
        let twice = "context.path like \"*a\" || context.path like \"*ab\"";
        assert_eq!(steps(twice, 100), (3 + 4) * 100);
    }

    #[test]
    fn a_quotation_mark_in_a_remark_hides_nothing() {
        for end in ["\n", "\r"] {
            let deep = format!("// \"{end}{}context.mfa", "(".repeat(NESTING_MAX + 1));
            assert!(weigh(&deep).is_err());
            let long = format!("// \"{end}context.path like \"{}\"", "a".repeat(PATTERN_MAX + 1));
            assert!(weigh(&long).is_err());
        }
        let many = ["context.path like \"a\""; PATTERNS_MAX + 1].join(" || ");
        assert!(weigh(&many).is_err() && weigh(&many[25..]).is_ok());
    }
}
