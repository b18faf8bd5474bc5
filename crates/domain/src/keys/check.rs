//! The check of a presented key, the same in both planes. No database, no network.

use std::sync::Arc;

use super::{KeyText, Peppers, PublicId};
use crate::directory::{Directory, Key};
use crate::refusal::{Refusal, kind};

/// A text that was sent as a key: grammar and checksum are read, nothing is looked up.
#[derive(Debug, Clone, Copy)]
pub struct SentKey<'t> {
    text: &'t str,
    parsed: Option<KeyText<'t>>,
}

impl<'t> SentKey<'t> {
    /// Reads grammar and checksum.
    pub fn read(text: &'t str) -> Self {
        SentKey { text, parsed: KeyText::parse(text).ok() }
    }

    /// Looks the key up.
    pub fn look_up(self, directory: &Directory) -> Presented<'t, '_> {
        let SentKey { text, parsed } = self;
        let region = directory.naming.region.as_str();
        let ours = parsed.filter(|parsed| parsed.region == region);
        let key = ours.and_then(|parsed| directory.keys.get(&parsed.public_id));
        if let Some(key) = key {
            key.touch();
        }
        Presented { text, parsed, key, region }
    }
}

/// A text that was presented as a key: read and looked up, **not yet verified**.
#[derive(Clone, Copy)]
pub struct Presented<'t, 'd> {
    text: &'t str,
    parsed: Option<KeyText<'t>>,
    key: Option<&'d Arc<Key>>,
    /// Short name of the region that keys must be of.
    region: &'d str,
}

impl<'t, 'd> Presented<'t, 'd> {
    /// Reads grammar and checksum, and looks the key up.
    pub fn read(directory: &'d Directory, text: &'t str) -> Self {
        SentKey::read(text).look_up(directory)
    }

    /// The part of it that may be shown; none if it has not the form of a key.
    pub fn public_id(&self) -> Option<PublicId> {
        self.parsed.map(|parsed| parsed.public_id)
    }

    /// The key that it claims to be: for the tenant signal and for limits only.
    pub fn claims(&self) -> Option<&'d Arc<Key>> {
        self.key
    }

    /// Verifies it in the order grammar, region, look-up, digest, standing. `malformed`, `not_found` and
    /// `wrong_secret` look alike from outside; the private detail tells them apart.
    ///
    /// # Errors
    /// 401 `keys.invalid`, 421 `keys.wrong_region`, or what stands against a genuine key.
    pub fn verify(&self, peppers: &Peppers, now_us: i64) -> Result<&'d Arc<Key>, Refusal> {
        let Some(parsed) = self.parsed else { return Err(invalid("malformed")) };
        if parsed.region != self.region {
            let words = format!("The key is of the region `{}`, not of this one.", parsed.region);
            return Err(Refusal::new(&kind::KEY_WRONG_REGION, words));
        }
        let Some(key) = self.key else {
            peppers.waste(self.text);
            return Err(invalid("not_found"));
        };
        if !peppers.matches(self.text, key.pepper, &key.digest) {
            return Err(invalid("wrong_secret"));
        }
        match key.standing.refuses(now_us) {
            Some(kind) => Err(Refusal::new(kind, format!("{}.", kind.title))),
            None => Ok(key),
        }
    }
}

impl std::fmt::Debug for Presented<'_, '_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Presented({:?})", self.parsed)
    }
}

/// The token of `Bearer <token>`; the scheme is compared without case (RFC 9110 §11.1). `None` for another scheme.
pub fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(6)?;
    let separated = token.first().is_none_or(|byte| *byte == b' ');
    (scheme.eq_ignore_ascii_case(b"bearer") && separated).then(|| token.trim_ascii())
}

fn invalid(private: &str) -> Refusal {
    Refusal::new(&kind::KEY_INVALID, "The API key is not valid here.").private(private)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Principal, PrincipalKind};
    use crate::directory::Naming;
    use crate::entropy::Entropy;
    use crate::id::{KeyId, TenantId};
    use crate::keys::{Environment, KeyStanding, KeyState, Pepper, generate};

    fn key(digest: [u8; 32]) -> Key {
        let standing = KeyStanding {
            state: KeyState::Active,
            not_before_us: None,
            expires_at_us: Some(1_000),
            owner_enabled: true,
        };
        Key {
            id: KeyId::from_u128(1),
            tenant: TenantId::from_u128(2),
            owner: Principal { kind: PrincipalKind::ServiceAccount, id: uuid::Uuid::from_u128(3) },
            environment: Environment::Live,
            standing,
            digest,
            pepper: 1,
            permits: Default::default(),
            narrowed: None,
            family: KeyId::from_u128(1),
        }
    }

    #[test]
    fn each_step_of_the_check_has_its_own_answer() {
        let peppers = Peppers::new(vec![Pepper::new(1, &[7; 32])]);
        let drawn = |byte: u8| generate(Environment::Live, "eu1", &Entropy::new(move |out| out.fill(byte)));
        let ((text, public_id), (stranger, _)) = (drawn(1), drawn(2));
        let (elsewhere, _) = generate(Environment::Live, "us1", &Entropy::new(|out| out.fill(1)));
        let known = |digest| {
            let mut directory = Directory::empty();
            directory.naming = Arc::new(Naming { region: "eu1".to_owned(), ..Naming::default() });
            directory.keys.insert(public_id, Arc::new(key(digest)));
            directory
        };
        let (good, forged) = (known(peppers.current().digest(&text)), known([0; 32]));
        for (directory, text, now_us, code, private) in [
            (&good, "rh_live_eu1_x", 0, "keys.invalid", Some("malformed")),
            (&good, &*elsewhere, 0, "keys.wrong_region", None),
            (&good, &*stranger, 0, "keys.invalid", Some("not_found")),
            (&forged, &*text, 0, "keys.invalid", Some("wrong_secret")),
            (&good, &*text, 1_000, "keys.expired", None),
        ] {
            let refusal = Presented::read(directory, text).verify(&peppers, now_us).expect_err(code);
            assert_eq!((refusal.code(), refusal.private_detail()), (code, private));
        }
        assert!(
            Presented::read(&good, &elsewhere).claims().is_none(),
            "nothing is said of a key by its region alone"
        );
        let presented = Presented::read(&good, &text);
        assert_eq!(presented.verify(&peppers, 999).map(|key| key.id), Ok(KeyId::from_u128(1)));
        assert_eq!(presented.public_id(), Some(public_id));
    }

    #[test]
    fn a_scheme_is_read_without_case_and_only_as_a_word() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bEARER  abc ", Some("abc")),
            ("Bearer", Some("")),
            ("Bearerabc", None),
            ("Basic abc", None),
            ("", None),
        ] {
            assert_eq!(bearer(value.as_bytes()), token.map(str::as_bytes), "{value}");
        }
    }
}
