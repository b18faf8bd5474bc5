//! Which passwords are taken (NIST SP 800-63B-4 §3.1.1.2; OWASP ASVS 5.0 §6.2): long ones that are neither common nor made
//! of what everybody knows about the person. No rule asks for digits or signs, none makes anybody change it.

use unicode_normalization::UnicodeNormalization;

/// Longest password, in code points and in bytes; longer ones are refused before anything is computed.
const POINTS_MAX: usize = 256;
const BYTES_MAX: usize = 1_024;
/// Fewest code points that must be left when runs and repetitions are taken out.
const VARIED_MIN: usize = 8;
/// The commonest passwords, as skeletons.
const COMMON: &str = include_str!("common_passwords.txt");
/// Rows of keyboards; runs along them are as easy as the alphabet.
const ROWS: [&str; 7] = [
    "1234567890",
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qwertzuiop",
    "azertyuiop",
    "abcdefghijklmnopqrstuvwxyz",
];

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFault {
    /// Fewer characters than asked for.
    #[error("at least {0} characters")]
    TooShort(usize),
    /// More than 256 characters or 1,024 bytes.
    #[error("at most 256 characters")]
    TooLong,
    /// Control characters.
    #[error("no control characters")]
    Control,
    /// One of the commonest.
    #[error("it is one of the passwords that are tried first")]
    Common,
    /// A name of the person, the tenant or the product.
    #[error("it is made of a name that others know")]
    Known,
    /// Mostly runs or repetitions.
    #[error("it is mostly runs or repetitions")]
    Monotonous,
}

/// What is hashed: NFKC, so that the same characters typed on another machine are the same password.
pub fn normal_form(password: &str) -> String {
    password.nfkc().collect()
}

/// Checks a password that is to be set. `known` are names that others know: local part of the address, names of person,
/// tenant, product, domain.
///
/// # Errors
/// Everything that is wrong with it; for one that is too long only that.
pub fn check_password(password: &str, length_min: usize, known: &[&str]) -> Result<(), Vec<PasswordFault>> {
    if password.len() > BYTES_MAX || password.chars().count() > POINTS_MAX {
        return Err(vec![PasswordFault::TooLong]);
    }
    let password = normal_form(password);
    let mut faults = Vec::new();
    let is_short = password.chars().count() < length_min;
    if is_short {
        faults.push(PasswordFault::TooShort(length_min));
    }
    if password.chars().any(char::is_control) {
        faults.push(PasswordFault::Control);
    }
    let bare = skeleton(&password);
    if COMMON.lines().any(|common| common == bare || common == password.to_lowercase()) {
        faults.push(PasswordFault::Common);
    }
    if known.iter().any(|name| is_made_of(&bare, &skeleton(name))) {
        faults.push(PasswordFault::Known);
    }
    // Of a short one that says nothing more: there is too little of it to vary.
    if !is_short && varied(&password.to_lowercase()) < VARIED_MIN {
        faults.push(PasswordFault::Monotonous);
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// What is left when tricks that everybody knows are taken back: case, digits for letters, signs around it.
fn skeleton(text: &str) -> String {
    let plain = |c: char| match c {
        '0' => 'o',
        '1' => 'l',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    };
    let lower = text.nfkc().collect::<String>().to_lowercase();
    let trimmed = lower.trim_matches(|c: char| !c.is_alphabetic());
    trimmed.chars().map(plain).collect()
}

/// Whether `text` is `name`, alone or again and again, with at most three other characters.
fn is_made_of(text: &str, name: &str) -> bool {
    name.chars().count() >= 3 && text.contains(name) && text.replace(name, "").chars().count() <= 3
}

/// Code points left when runs (`abcd`, `9876`, `qwer`, `aaaa`) count as two and a repeated block counts once.
fn varied(text: &str) -> usize {
    let points: Vec<char> = text.chars().collect();
    let block = smallest_block(&points);
    let mut left = 0;
    let mut run = 0;
    for at in 0..block.len() {
        let follows = at > 0 && is_neighbour(block[at - 1], block[at]);
        run = if follows { run + 1 } else { 1 };
        left += usize::from(run <= 2);
    }
    left
}

/// The block that the text repeats, or the text.
fn smallest_block(points: &[char]) -> &[char] {
    let repeats = |length: &usize| (0..points.len()).all(|at| points[at] == points[at % length]);
    let length = (1..=points.len() / 2).find(repeats).unwrap_or(points.len());
    &points[..length]
}

fn is_neighbour(a: char, b: char) -> bool {
    let along = |row: &str| {
        let place = |c: char| row.chars().position(|own| own == c);
        matches!((place(a), place(b)), (Some(a), Some(b)) if a.abs_diff(b) == 1)
    };
    a == b || ROWS.iter().any(|row| along(row))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::PasswordFault::*;
    use super::*;

    fn faults(password: &str) -> Vec<PasswordFault> {
        check_password(password, 15, &["ana", "acme gmbh", "acme", "rowhouse"]).err().unwrap_or_default()
    }

    #[test]
    fn good_ones_are_taken_whatever_they_are_made_of() {
        for good in [
            "correct horse battery staple",
            "Fahrrad unter dem Mond",
            "пароль из многих слов",
            "7391 8264 5510 2847",
            "🐝 over the lavender field",
        ] {
            assert_eq!(faults(good), [], "{good}");
        }
    }

    #[test]
    fn bad_ones_are_told_why() {
        for (bad, why) in [
            ("short", TooShort(15)),
            ("P@ssw0rd!!!!!!!!", Common),
            ("1234567890123456789", Monotonous),
            ("qwertyuiopasdfghjkl", Monotonous),
            ("aaaaaaaaaaaaaaaaaaa", Monotonous),
            ("abcabcabcabcabcabcabc", Monotonous),
            ("AcmeAcmeAcmeAcme1", Known),
            ("rowhouserowhouse!!", Known),
            ("a\u{7}bcdefnxklqoweiru", Control),
        ] {
            assert!(faults(bad).contains(&why), "{bad}: {:?}", faults(bad));
        }
        assert_eq!(faults(&"x y".repeat(400)), [TooLong]);
        assert_eq!(faults(&"ä".repeat(600)), [TooLong]);
    }

    #[test]
    fn the_same_characters_are_the_same_password() {
        assert_eq!(normal_form("Ａe\u{301}"), normal_form("Aé"));
        assert_ne!(normal_form("a b"), normal_form("ab"), "spaces are kept");
    }

    proptest! {
        #[test]
        fn no_input_panics_and_long_ones_are_cheap(text in ".{0,300}", known in ".{0,20}") {
            let _ = check_password(&text, 15, &[&known]);
        }
    }
}
