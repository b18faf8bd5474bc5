//! What comes from people and is put into a message. Nothing that breaks out of its line, reorders the text around it or
//! hides in it survives, so that a value can neither start a header nor look like something else than it is.

/// Longer values are cut, in characters.
pub const VALUE_MAX: usize = 2_000;

/// `value` without control characters (line breaks among them) and without what reorders or hides text.
pub fn clean(value: &str) -> String {
    value.chars().filter(|c| !c.is_control() && !is_invisible(*c)).take(VALUE_MAX).collect()
}

/// `value`, cleaned, kept apart from the direction of the text around it (Unicode UAX #9 §2.4.2) where that can matter.
pub fn isolate(value: &str) -> String {
    let value = clean(value);
    if value.is_ascii() { value } else { format!("\u{2068}{value}\u{2069}") }
}

/// Marks of direction, separators that mail programs take for line breaks, characters without width, tags.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_breaks_out_is_gone() {
        assert_eq!(clean("Ana\r\nBcc: eve@example.com\u{2028}x\0"), "AnaBcc: eve@example.comx");
        assert_eq!(clean("\u{202e}moc.live\u{202c} \u{200b}ok"), "moc.live ok");
        assert_eq!(isolate("Ana"), "Ana");
        assert_eq!(isolate("\u{05d0}\u{202e}"), "\u{2068}\u{05d0}\u{2069}");
        assert_eq!(clean(&"x".repeat(VALUE_MAX + 5)).len(), VALUE_MAX);
    }

    proptest! {
        #[test]
        fn nothing_controls_and_cleaning_twice_is_cleaning_once(text in ".*") {
            let once = clean(&text);
            prop_assert!(!once.chars().any(char::is_control));
            prop_assert_eq!(clean(&once), once);
        }
    }
}
