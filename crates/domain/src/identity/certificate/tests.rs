//! Certificates that lie, one lie each, against a tenant that believes two authorities.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints, SanType, SerialNumber, date_time_ymd,
};
use rustls_pki_types::CertificateDer;

use super::*;
use crate::id::{AuthorityId, ServiceAccountId};

/// 2026-11-21T12:00:00Z.
const NOON_US: i64 = 1_795_262_400_000_000;
const ROBOT: ServiceAccountId = ServiceAccountId(uuid::Uuid::from_u128(9));
const OTHER: ServiceAccountId = ServiceAccountId(uuid::Uuid::from_u128(10));
const SPIFFE: &str = "spiffe://acme.test/robot";

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Acme");
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
    params
}

fn signing(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn client(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::URI(SPIFFE.try_into().unwrap())];
    params
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn root(params: CertificateParams) -> Issuer {
    CertifiedIssuer::self_signed(params, key()).unwrap()
}

fn below(params: CertificateParams, above: &Issuer) -> Issuer {
    CertifiedIssuer::signed_by(params, key(), above).unwrap()
}

fn leaf(params: CertificateParams, above: &Issuer) -> CertificateDer<'static> {
    params.signed_by(&key(), above).unwrap().der().clone()
}

fn authority(number: u128, issuer: &Issuer, rules: &[(MatchBy, &str, ServiceAccountId)]) -> Authority {
    let mut authority = Authority::new(AuthorityId::from_u128(number), issuer.der()).unwrap();
    let rule = |(by, value, account): &(MatchBy, &str, ServiceAccountId)| CertificateRule {
        by: *by,
        value: canonical(*by, value).unwrap().into(),
        account: *account,
    };
    authority.rules = rules.iter().map(rule).collect();
    authority
}

fn judged(
    tenant: &TenantAuthorities,
    chain: &[CertificateDer<'static>],
) -> Result<ServiceAccountId, CertificateFault> {
    tenant.recognise(chain, NOON_US).map(|found| found.account)
}

/// A tenant that believes one authority, with a rule for the name that [`client`] has.
fn tenant(issuer: &Issuer) -> TenantAuthorities {
    TenantAuthorities::new(vec![authority(1, issuer, &[(MatchBy::Uri, SPIFFE, ROBOT)])], vec![])
}

#[test]
fn a_machine_is_known_directly_and_in_two_steps_and_not_in_three() {
    let top = root(signing("Root"));
    let tenant = tenant(&top);
    assert_eq!(judged(&tenant, &[leaf(client("robot"), &top)]), Ok(ROBOT));
    let middle = below(signing("Middle"), &top);
    let low = below(signing("Low"), &middle);
    let lowest = below(signing("Lowest"), &low);
    let der = |own: &Issuer| own.der().clone();
    assert_eq!(judged(&tenant, &[leaf(client("robot"), &low), der(&low), der(&middle)]), Ok(ROBOT));
    assert_eq!(
        judged(&tenant, &[leaf(client("robot"), &low), der(&middle), der(&low)]),
        Ok(ROBOT),
        "in any order"
    );
    let long = [leaf(client("robot"), &lowest), der(&lowest), der(&low), der(&middle)];
    assert_eq!(judged(&tenant, &long), Err(CertificateFault::TooLong));
    assert_eq!(judged(&tenant, &long[..3]), Err(CertificateFault::UnknownAuthority), "a step is missing");
    assert_eq!(judged(&tenant, &[]), Err(CertificateFault::Malformed));
}

#[test]
fn what_lies_is_not_believed() {
    use CertificateFault as F;
    let top = root(signing("Root"));
    let tenant = tenant(&top);
    let with = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = client("robot");
        change(&mut params);
        leaf(params, &top)
    };
    let between = |change: &dyn Fn(&mut CertificateParams), own: CertificateParams| {
        let mut params = signing("Middle");
        change(&mut params);
        let middle = below(params, &top);
        vec![leaf(own, &middle), middle.der().clone()]
    };
    let good = with(&|_| ());
    let twin = root(signing("Root"));
    let mut bent = good.to_vec();
    *bent.last_mut().unwrap() ^= 1;
    let own = client("robot").self_signed(&key()).unwrap().der().clone();
    let low = {
        let mut params = signing("Middle");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let middle = below(params, &top);
        let low = below(signing("Low"), &middle);
        vec![leaf(client("robot"), &low), low.der().clone(), middle.der().clone()]
    };
    let dns = |name: &str| {
        let mut params = client("robot");
        params.subject_alt_names.push(SanType::DnsName(name.try_into().unwrap()));
        params
    };
    let constrained = |own: &mut CertificateParams| {
        let permitted_subtrees = vec![GeneralSubtree::DnsName("acme.test".into())];
        own.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
    };
    let table: Vec<(&str, Vec<CertificateDer<'static>>, Result<ServiceAccountId, F>)> = vec![
        ("good", vec![good.clone()], Ok(ROBOT)),
        ("expired", vec![with(&|own| own.not_after = date_time_ymd(2026, 11, 20))], Err(F::Expired)),
        ("not yet", vec![with(&|own| own.not_before = date_time_ymd(2026, 11, 22))], Err(F::NotYet)),
        (
            "for servers",
            vec![with(&|own| own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth])],
            Err(F::WrongUse),
        ),
        (
            "for anything",
            vec![with(&|own| own.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any])],
            Err(F::WrongUse),
        ),
        ("for nothing said", vec![with(&|own| own.extended_key_usages = vec![])], Err(F::WrongUse)),
        (
            "an authority itself",
            vec![with(&|own| own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))],
            Err(F::WrongUse),
        ),
        ("signed by itself", vec![own], Err(F::UnknownAuthority)),
        ("the authority's own", vec![top.der().clone()], Err(F::WrongUse)),
        ("of an authority of the same name", vec![leaf(client("robot"), &twin)], Err(F::BadSignature)),
        (
            "with that authority beside it",
            vec![leaf(client("robot"), &twin), twin.der().clone()],
            Err(F::BadSignature),
        ),
        ("with another signature", vec![bent.into()], Err(F::BadSignature)),
        ("nonsense", vec![vec![0x30, 0x03, 1, 2, 3].into()], Err(F::Malformed)),
        (
            "below one that is no authority",
            between(&|own| own.is_ca = IsCa::ExplicitNoCa, client("robot")),
            Err(F::WrongUse),
        ),
        ("below a client", between(&|own| *own = client("robot"), client("robot")), Err(F::WrongUse)),
        (
            "below one that may not sign certificates",
            between(&|own| own.key_usages = vec![KeyUsagePurpose::DigitalSignature], client("robot")),
            Err(F::WrongUse),
        ),
        (
            "below one for servers",
            between(
                &|own| own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
                client("robot"),
            ),
            Err(F::WrongUse),
        ),
        (
            "below one that has expired",
            between(&|own| own.not_after = date_time_ymd(2026, 11, 20), client("robot")),
            Err(F::Expired),
        ),
        ("below one that may have nobody below it", low, Err(F::WrongUse)),
        ("a name that may be given", between(&constrained, dns("robot.acme.test")), Ok(ROBOT)),
        ("a name that may not be given", between(&constrained, dns("robot.bolt.test")), Err(F::WrongName)),
        ("another name", vec![with(&|own| own.subject_alt_names = vec![])], Err(F::Untrusted)),
        (
            "the name with more behind it",
            vec![with(&|own| {
                own.subject_alt_names = vec![SanType::URI(format!("{SPIFFE}/x").as_str().try_into().unwrap())]
            })],
            Err(F::Untrusted),
        ),
    ];
    for (what, chain, expected) in table {
        assert_eq!(judged(&tenant, &chain), expected, "{what}");
    }
    let old = TenantAuthorities::default();
    assert_eq!(judged(&old, &[good]), Err(F::UnknownAuthority), "no authority is believed any more");
}

#[test]
fn an_authority_that_is_over_vouches_for_nobody() {
    let mut params = signing("Root");
    params.not_after = date_time_ymd(2026, 11, 20);
    let top = root(params);
    assert_eq!(judged(&tenant(&top), &[leaf(client("robot"), &top)]), Err(CertificateFault::Expired));
    let mut params = signing("Root");
    params.not_before = date_time_ymd(2026, 11, 22);
    let top = root(params);
    assert_eq!(judged(&tenant(&top), &[leaf(client("robot"), &top)]), Err(CertificateFault::NotYet));
}

#[test]
fn one_subject_under_two_authorities_is_two_machines() {
    let (first, second) = (root(signing("First")), root(signing("Second")));
    let subject = "CN=robot,O=Acme";
    let by = MatchBy::Subject;
    let tenant = TenantAuthorities::new(
        vec![authority(1, &first, &[(by, subject, ROBOT)]), authority(2, &second, &[(by, subject, OTHER)])],
        vec![],
    );
    assert_eq!(judged(&tenant, &[leaf(client("robot"), &first)]), Ok(ROBOT));
    assert_eq!(judged(&tenant, &[leaf(client("robot"), &second)]), Ok(OTHER));
    // Whose authority it is says the path, not what else was shown.
    assert_eq!(judged(&tenant, &[leaf(client("robot"), &second), first.der().clone()]), Ok(OTHER));
    let without = TenantAuthorities::new(
        vec![authority(1, &first, &[(by, subject, ROBOT)]), authority(2, &second, &[])],
        vec![],
    );
    let unknown = judged(&without, &[leaf(client("robot"), &second)]);
    assert_eq!(unknown, Err(CertificateFault::Untrusted), "an authority by itself lets nobody in");
}

#[test]
fn the_surest_kind_of_rule_decides_and_a_tie_is_refused() {
    let top = root(signing("Root"));
    let mut params = client("robot");
    let more = "spiffe://acme.test/second";
    params.subject_alt_names.push(SanType::URI(more.try_into().unwrap()));
    params.subject_alt_names.push(SanType::DnsName("Robot.acme.test".try_into().unwrap()));
    let key = key();
    let certificate = params.signed_by(&key, &top).unwrap().der().clone();
    let spki: String = fingerprint(&rcgen::PublicKeyData::subject_public_key_info(&key))
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect::<Vec<_>>()
        .join(":");
    let by = |rules: &[(MatchBy, &str, ServiceAccountId)]| {
        let tenant = TenantAuthorities::new(vec![authority(1, &top, rules)], vec![]);
        tenant.recognise(std::slice::from_ref(&certificate), NOON_US).map(|found| (found.account, found.by))
    };
    let subject = (MatchBy::Subject, "CN=robot,O=Acme", OTHER);
    let dns = (MatchBy::Dns, "ROBOT.acme.test", OTHER);
    assert_eq!(by(&[subject]), Ok((OTHER, MatchBy::Subject)));
    assert_eq!(by(&[subject, dns]), Ok((OTHER, MatchBy::Dns)));
    assert_eq!(by(&[subject, (MatchBy::Uri, SPIFFE, ROBOT), dns]), Ok((ROBOT, MatchBy::Uri)));
    assert_eq!(by(&[dns, (MatchBy::SpkiSha256, &spki, ROBOT), subject]), Ok((ROBOT, MatchBy::SpkiSha256)));
    let both = [(MatchBy::Uri, SPIFFE, ROBOT), (MatchBy::Uri, more, OTHER)];
    assert_eq!(by(&both), Err(CertificateFault::Ambiguous));
    assert_eq!(by(&[both[0], (MatchBy::Uri, more, ROBOT)]), Ok((ROBOT, MatchBy::Uri)), "both mean the same");
}

#[test]
fn what_is_taken_back_is_not_believed() {
    let top = root(signing("Root"));
    let middle = below(signing("Middle"), &top);
    let mut params = client("robot");
    params.serial_number = Some(SerialNumber::from(vec![0x0a, 0xbc]));
    let chain = [leaf(params, &middle), middle.der().clone()];
    let rules = [(MatchBy::Uri, SPIFFE, ROBOT)];
    let told =
        serde_json::to_string(&TenantAuthorities::new(vec![authority(1, &top, &rules)], vec![[7; 32]]))
            .unwrap();
    let heard: TenantAuthorities = serde_json::from_str(&told).unwrap();
    assert_eq!(judged(&heard, &chain), Ok(ROBOT), "another process believes the same");
    assert!(heard.is_revoked(&[7; 32]));
    assert!(
        serde_json::from_str::<Authority>(r#"{"id":1,"certificate":[48,0],"rules":[],"revoked":[]}"#)
            .is_err()
    );
    let taken = |authority: Authority, revoked: Vec<[u8; 32]>| {
        judged(&TenantAuthorities::new(vec![authority], revoked), &chain)
    };
    let own = || authority(1, &top, &rules);
    assert_eq!(taken(own(), vec![]), Ok(ROBOT));
    assert_eq!(taken(own(), vec![[7; 32], fingerprint(&chain[0])]), Err(CertificateFault::Revoked));
    assert_eq!(taken(own(), vec![fingerprint(&chain[1])]), Err(CertificateFault::Revoked), "one above it");
    let by_serial = Authority { revoked: vec!["abc".into()], ..own() };
    assert_eq!(taken(by_serial, vec![]), Err(CertificateFault::Revoked));
    let other_serial = Authority { revoked: vec!["0abc".into(), "abd".into()], ..own() };
    assert_eq!(taken(other_serial, vec![]), Ok(ROBOT));
}

#[test]
fn only_an_authority_is_one() {
    let id = AuthorityId::from_u128(1);
    let refused =
        |params: CertificateParams| Authority::new(id, params.self_signed(&key()).unwrap().der()).err();
    assert_eq!(refused(signing("Root")), None);
    assert_eq!(refused(client("robot")), Some(AuthorityFault::NoAuthority));
    let mut no_signing = signing("Root");
    no_signing.key_usages = vec![KeyUsagePurpose::CrlSign];
    assert_eq!(refused(no_signing), Some(AuthorityFault::NoAuthority));
    assert_eq!(Authority::new(id, b"nonsense").err(), Some(AuthorityFault::Malformed));
    let top = root(signing("Root"));
    let pem = top.pem();
    assert_eq!(one_certificate(&pem).as_deref(), Some(&top.der()[..]));
    assert_eq!(one_certificate(&format!("{pem}\n{pem}")), None, "two are not one");
    assert_eq!(one_certificate("nonsense"), None);
}

#[test]
fn a_rule_has_one_form() {
    let table = [
        (MatchBy::SpkiSha256, "AB".repeat(32), Some("ab".repeat(32))),
        (MatchBy::SpkiSha256, "ab".repeat(31), None),
        (MatchBy::Uri, SPIFFE.to_owned(), Some(SPIFFE.to_owned())),
        (MatchBy::Uri, "spiffe://acme.test/*".to_owned(), None),
        (MatchBy::Uri, "robot".to_owned(), None),
        (MatchBy::Dns, "Robot.Acme.test".to_owned(), Some("robot.acme.test".to_owned())),
        (MatchBy::Dns, "*.acme.test".to_owned(), None),
        (MatchBy::Dns, String::new(), None),
        (MatchBy::Subject, "CN=robot,O=Acme".to_owned(), Some("CN=robot,O=Acme".to_owned())),
        (MatchBy::Subject, "robot".to_owned(), None),
        (MatchBy::Subject, format!("CN={}", "x".repeat(255)), None),
    ];
    for (by, value, expected) in table {
        assert_eq!(canonical(by, &value), expected, "{by:?} {value}");
    }
}
