//! Who calls: access tokens of people. What stands against one, and what a service is told of its bearer.

use std::sync::Arc;

use rowhouse_domain::id::{ApplicationId, SessionId, TenantId, UserId};
use rowhouse_domain::identity::token::{
    AUDIENCE_CONTROL, AUDIENCE_GATEWAY, Subject, TokenClaims, TokenKeys, TokenRing,
};

use crate::client::Answer;
use crate::directory::{ACME, BOLT};
use crate::stage::{NOON_US, Stage};

const ISSUER: &str = "https://console.example.test";
const SESSION: SessionId = SessionId(uuid::Uuid::from_u128(77));

fn ring() -> TokenRing {
    TokenRing::new([5; 32], 1)
}

fn claims(tenant: TenantId, user: u128) -> TokenClaims {
    let now_s = NOON_US / 1_000_000;
    TokenClaims {
        issuer: ISSUER.into(),
        subject: Subject::User(UserId::from_u128(user)),
        audience: vec![AUDIENCE_GATEWAY.into(), AUDIENCE_CONTROL.into()],
        tenant,
        session: SESSION,
        id: "1".into(),
        issued_at: now_s,
        not_before: now_s,
        expires_at: now_s + 600,
        auth_time: now_s,
        assurance: "1".into(),
        methods: vec!["pwd".into()],
        application: None,
        scope: None,
    }
}

fn signed(claims: &TokenClaims) -> String {
    ring().signer(NOON_US / 1_000_000).sign(claims)
}

fn stage() -> Stage {
    Stage::with(|plan| {
        plan.tokens = Arc::new(TokenKeys { issuer: ISSUER.into(), keys: ring().keys(NOON_US / 1_000_000) });
    })
}

fn get(stage: &Stage, host: &str, token: &str) -> Answer {
    stage.bare("GET", "/v1/stamps").host(host).header("Authorization", format!("Bearer {token}")).send()
}

#[test]
fn a_person_is_let_in_by_their_own_rights() {
    let stage = stage();
    for (user, method, expected) in
        [(1, "GET", 200), (1, "POST", 200), (2, "GET", 200), (2, "POST", 403), (3, "GET", 403)]
    {
        let token = signed(&claims(ACME, user));
        for _ in 0..2 {
            let ask = stage.bare(method, "/v1/stamps").host("acme.example.test");
            let answer = ask.header("Authorization", format!("Bearer {token}")).send();
            assert_eq!(answer.status, expected, "{user} {method}: {}", answer.text());
            assert!(!answer.text().contains(&token), "no service ever sees a token");
        }
    }
    let records = stage.records(10);
    let by = |user: u128| {
        let own = |record: &rowhouse_journal::RequestRecord<'_>| {
            record.principal_kind == rowhouse_journal::PrincipalKind::User && record.principal == Some(user)
        };
        records.iter().filter(|recorded| own(&recorded.record())).count()
    };
    assert_eq!([1, 2, 3].map(by), [4, 4, 2]);
}

/// Roles that are not active together: none until the session has chosen, and then that one, in that session alone.
#[test]
fn a_person_acts_in_the_role_that_the_session_has_chosen() {
    let mut stage = stage();
    let other = SessionId::from_u128(78);
    let statuses = |stage: &Stage, session: SessionId| {
        let token = signed(&TokenClaims { session, ..claims(ACME, 4) });
        ["GET", "POST"].map(|method| {
            let ask = stage.bare(method, "/v1/stamps").host("acme.example.test");
            ask.header("Authorization", format!("Bearer {token}")).send().status
        })
    };
    let table = [(None, [403, 403]), (Some("reader"), [200, 403]), (Some("writer"), [403, 200])];
    for (chosen, expected) in table {
        stage.publish(|plan| plan.apart(("reader", "writer"), chosen.map(|role| (SESSION, role))));
        assert_eq!(statuses(&stage, SESSION), expected, "{chosen:?}");
        assert_eq!(statuses(&stage, other), [403, 403], "another session has chosen nothing");
    }
}

/// What the service is told of them: the roles that are active in this session, and nothing that was chosen in another.
#[test]
fn a_service_is_told_the_roles_that_are_active_in_the_session() {
    let mut stage = stage();
    let told = |stage: &Stage, method: &str, path: &str, session: SessionId| -> Vec<String> {
        let token = signed(&TokenClaims { session, ..claims(ACME, 4) });
        let ask = stage.bare(method, path).host("acme.example.test");
        let answer = ask.header("Authorization", format!("Bearer {token}")).send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let headers: Vec<(String, String)> =
            serde_json::from_value(answer.json()["headers"].clone()).unwrap();
        let (_, context) = headers.iter().find(|(name, _)| name == "rowhouse-context").unwrap();
        let key = std::slice::from_ref(&stage.context_key);
        rowhouse_domain::context::verify(context, key, "stamping", NOON_US / 1_000_000).unwrap().roles
    };
    let other = SessionId::from_u128(78);
    for (one, another, role, method) in
        [(SESSION, other, "reader", "GET"), (other, SESSION, "writer", "POST")]
    {
        stage.publish(|plan| plan.apart(("reader", "writer"), Some((one, role))));
        for _ in 0..2 {
            assert_eq!(told(&stage, method, "/v1/stamps", one), [role]);
            assert_eq!(told(&stage, "GET", "/open/stamps", another), Vec::<String>::new());
        }
    }
}

/// It may what the person may, of that what it was given by name; the log names both.
#[test]
fn an_application_is_let_in_by_the_persons_rights_that_it_was_given() {
    let stage = stage();
    let through = ApplicationId::from_u128(77);
    let given = |user: u128, scope: Option<&str>| TokenClaims {
        application: Some(through),
        scope: scope.map(str::to_owned),
        ..claims(ACME, user)
    };
    let ask = |token: &str, method: &str| {
        let ask = stage.bare(method, "/v1/stamps").host("acme.example.test");
        ask.header("Authorization", format!("Bearer {token}")).send()
    };
    let table = [
        (1, Some("openid stamp:read"), "GET", 200),
        (1, Some("openid stamp:read"), "POST", 403),
        (1, Some("stamp:read stamp:create"), "POST", 200),
        // What the person may not it may not.
        (2, Some("stamp:read stamp:create"), "POST", 403),
        (3, Some("stamp:read"), "GET", 403),
        // Given nothing: nothing.
        (1, Some("openid profile"), "GET", 403),
        (1, None, "GET", 403),
        // A name is a name, not a beginning or a pattern.
        (1, Some("stamp stamp:* *:* stamp:read2"), "GET", 403),
    ];
    for (user, scope, method, expected) in table {
        let answer = ask(&signed(&given(user, scope)), method);
        assert_eq!(answer.status, expected, "{user} {scope:?} {method}: {}", answer.text());
    }
    let answer = ask(&signed(&given(1, Some("openid"))), "GET");
    assert!(answer.text().contains("the key or application does not"), "{}", answer.text());
    let records = stage.records(table.len() + 1);
    let told = records.iter().filter_map(|recorded| recorded.record().audit);
    let told: Vec<_> = told.map(|audit| audit.application).collect();
    assert!(!told.is_empty() && told.iter().all(|own| *own == Some(77)), "{told:?}");
    assert!(records.iter().all(|own| matches!(own.record().principal, Some(1..=3))), "by the person");
    // One's own sign-in is through nobody.
    ask(&signed(&claims(ACME, 3)), "GET");
    let records = stage.records(table.len() + 2);
    let own = records.iter().filter_map(|recorded| recorded.record().audit);
    assert_eq!(own.filter(|audit| audit.application.is_none()).count(), 1);
}

#[test]
fn whatever_is_against_a_token_is_refused() {
    let stage = stage();
    let good = claims(ACME, 1);
    let other = TokenClaims { issuer: "https://evil.example".into(), ..good.clone() };
    let audience = TokenClaims { audience: vec![AUDIENCE_CONTROL.into()], ..good.clone() };
    let old = TokenClaims {
        issued_at: good.issued_at - 700,
        not_before: 0,
        expires_at: good.issued_at - 31,
        ..good.clone()
    };
    let forged = TokenRing::new([6; 32], 1).signer(NOON_US / 1_000_000).sign(&good);
    let text = signed(&good);
    let table = [
        ("another issuer", signed(&other), "identity.token_invalid"),
        ("another audience", signed(&audience), "identity.token_invalid"),
        ("expired", signed(&old), "identity.token_expired"),
        ("another key", forged, "identity.token_invalid"),
        ("cut", text[..text.len() - 4].to_owned(), "identity.token_invalid"),
        ("no token", "eyJhbGciOiJub25lIn0.e30.".to_owned(), "identity.token_invalid"),
        ("another tenant's", signed(&claims(BOLT, 1)), "identity.token_invalid"),
        ("a tenant that is none", signed(&claims(TenantId::from_u128(9), 1)), "identity.token_invalid"),
    ];
    for (what, token, code) in table {
        let answer = get(&stage, "acme.example.test", &token);
        assert_eq!(answer.refusal(), (401, code.to_owned()), "{what}: {}", answer.text());
        assert_eq!(answer.header("www-authenticate"), Some("Bearer error=\"invalid_token\""), "{what}");
    }
    assert_eq!(stage.upstream.count(), 0);
}

#[test]
fn what_was_good_before_is_looked_at_again_each_time() {
    let mut stage = stage();
    let token = signed(&claims(ACME, 1));
    assert_eq!(get(&stage, "acme.example.test", &token).status, 200);
    stage.publish(|plan| plan.tenant_mut(ACME).ended_sessions = Arc::from([SESSION]));
    assert_eq!(
        get(&stage, "acme.example.test", &token).refusal(),
        (401, "identity.session_ended".to_owned())
    );
    stage.publish(|plan| plan.tenant_mut(ACME).ended_sessions = Arc::default());
    assert_eq!(get(&stage, "acme.example.test", &token).status, 200);
    stage.publish(|plan| {
        let keys = TokenRing::new([5; 32], 2).keys(NOON_US / 1_000_000);
        plan.tokens = Arc::new(TokenKeys { issuer: ISSUER.into(), keys });
    });
    let answer = get(&stage, "acme.example.test", &token);
    assert_eq!(answer.refusal(), (401, "identity.token_invalid".to_owned()), "its key is no more");
}
