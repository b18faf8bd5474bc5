//! Single sign-on at a tenant's own provider: who comes in and as whom, what is refused, and what a provider may not do.

use rowhouse_control::identity;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::SessionId;
use serde_json::{Value, json};

use crate::organisation;
use crate::people::{Town, refresh, town};
use crate::provider::{Provider, signed};
use crate::sign_in::{PASSWORD, code_of};
use crate::visitor::{Seen, Visitor};

const ANA: &str = "ana@acme.example";

/// What is forged, how, and what it gets.
type Forged = (&'static str, Box<dyn FnOnce(&mut Value)>, u16);

/// Acme with a provider of its own, connected and active.
struct Stage {
    town: Town,
    provider: Provider,
    connection: String,
}

async fn connect(
    town: &Town,
    tenant: &str,
    provider: &Provider,
    change: impl FnOnce(&mut Value),
) -> (u16, Value) {
    let mut body = json!({ "name": "Acme login", "issuer": provider.url, "client_id": "rowhouse",
        "client_secret": "a secret: of acme", "email_domains": ["acme.example"], "roles": ["user"],
        "role_claim": "groups", "role_map": { "chiefs": ["tenant_admin"] } });
    change(&mut body);
    town.post(&format!("/v1/connections?tenant={tenant}"), body).await
}

pub async fn prove(town: &Town, tenant: &str, number: u32, domain: &str) {
    let tenant = if tenant == "acme" { town.acme } else { town.bolt };
    let row = format!(
        "INSERT INTO tenancy.hosts (host_id, tenant_id, name, state, since, created_at) VALUES \
         ('00000000-0000-0000-0000-00000000{number:04}', '{}', '{domain}', 'verified', now(), now())",
        tenant.0
    );
    town.platform.execute(&row).await;
}

impl Stage {
    async fn set() -> Stage {
        let (town, provider) = (town().await, Provider::start().await);
        prove(&town, "acme", 1, "acme.example").await;
        // Somebody must administer the tenant besides those who come in.
        town.member("acme", "chief@acme.example", &["tenant_admin"]).await;
        refresh(&town.platform).await;
        let (status, made) = connect(&town, "acme", &provider, |_| ()).await;
        assert_eq!((status, &made["state"]), (201, &json!("off")), "{made}");
        let connection = made["id"].as_str().expect("an id").to_owned();
        let stage = Stage { town, provider, connection };
        stage.state("active").await;
        stage
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/connections/{}{rest}?tenant=acme", self.connection)
    }

    async fn state(&self, state: &str) -> Value {
        let (status, answer) = self.town.post(&self.path("/state"), json!({ "state": state })).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    fn begin(&self) -> String {
        format!("/account/sso/{}", self.connection)
    }

    fn claims(&self, began: &Seen, change: impl FnOnce(&mut Value)) -> Value {
        let now = self.town.platform.control.clock().now_s();
        let mut claims = json!({ "iss": self.provider.url, "aud": "rowhouse", "sub": "ana-1", "iat": now,
            "exp": now + 600, "nonce": began.parameter("nonce"), "email": ANA, "email_verified": true,
            "name": "Ana Ito", "groups": ["people"] });
        change(&mut claims);
        claims
    }

    /// Comes back with what the provider says of her.
    async fn back(&self, visitor: &mut Visitor<'_>, began: &Seen, claims: Value) -> Seen {
        let header = json!({ "alg": "EdDSA", "kid": "one" });
        let token = signed("one", &header, &claims);
        self.provider
            .gives(200, json!({ "id_token": token, "access_token": "access", "token_type": "Bearer" }));
        visitor.get(&self.answer(began, "a-code")).await
    }

    /// Where the provider sends a browser back to.
    fn answer(&self, began: &Seen, code: &str) -> String {
        let state = began.parameter("state").expect("a state");
        let iss = self.provider.url.replace(':', "%3A").replace('/', "%2F");
        format!("{}/callback?code={code}&state={state}&iss={iss}", self.begin())
    }

    /// Goes to the provider, and says so if somebody is signed in already.
    async fn goes(&self, visitor: &mut Visitor<'_>) -> Seen {
        let seen = visitor.get(&self.begin()).await;
        match seen.status == 200 && seen.text.contains("Sign in as somebody else?") {
            true => self.says(visitor, &seen, "sign_in").await,
            false => seen,
        }
    }

    /// Presses the button of the page that asks.
    async fn says(&self, visitor: &mut Visitor<'_>, page: &Seen, step: &str) -> Seen {
        assert_eq!(page.hidden("step"), step, "{}", page.text);
        visitor.post(&self.begin(), &[("form", &page.hidden("form")), ("step", step)]).await
    }

    /// Goes to the provider to connect.
    async fn connects(&self, visitor: &mut Visitor<'_>) -> Seen {
        let page = visitor.get(&format!("{}?link=yes", self.begin())).await;
        assert!(page.status == 200 && page.location.is_none(), "a link changes nothing: {page:?}");
        self.says(visitor, &page, "link").await
    }

    /// Somebody with a password, in a browser of their own where they are signed in to `tenant`.
    async fn at(&self, email: &str, tenant: &str) -> Visitor<'_> {
        let mut visitor = Visitor::new(&self.town.platform);
        let page = visitor.get(&format!("/account/sign_in?tenant={tenant}")).await;
        let form = page.hidden("form");
        let fields =
            [("form", form.as_str()), ("identifier", email), ("password", PASSWORD), ("tenant", tenant)];
        signed_in(&visitor.post("/account/sign_in", &fields).await);
        visitor
    }

    async fn open_at_bolt(&self) -> String {
        let sql = "SELECT count(*) FROM identity.sessions s JOIN tenancy.tenants t USING (tenant_id) WHERE t.code = 'bolt' AND s.ended_at IS NULL";
        self.town.platform.ask(sql).await
    }

    async fn comes(&self, visitor: &mut Visitor<'_>, change: impl FnOnce(&mut Value)) -> Seen {
        let began = self.goes(visitor).await;
        assert_eq!(began.status, 303, "{}", began.text);
        let claims = self.claims(&began, change);
        self.back(visitor, &began, claims).await
    }

    async fn roles(&self, email: &str) -> Value {
        let users = self.town.get("/v1/users?tenant=acme").await;
        let own = users["items"].as_array().expect("items").iter().find(|user| user["email"] == email);
        let own = own.unwrap_or_else(|| panic!("{email} is no member: {users}"));
        // In no order: they were given at one moment.
        let mut roles = own["roles"].as_array().expect("roles").clone();
        roles.sort_by_key(Value::to_string);
        Value::Array(roles)
    }

    async fn users(&self) -> String {
        self.town.platform.ask("SELECT count(*) FROM identity.users").await
    }
}

fn signed_in(seen: &Seen) {
    assert_eq!((seen.status, seen.location.as_deref()), (303, Some("/account")), "{}", seen.text);
}

#[tokio::test]
async fn a_person_of_the_provider_becomes_a_member_with_the_roles_it_says() {
    let stage = Stage::set().await;
    let mut ana = Visitor::new(&stage.town.platform);
    let began = stage.goes(&mut ana).await;
    let asked: Vec<Option<String>> = ["response_type", "code_challenge_method", "client_id", "redirect_uri"]
        .iter()
        .map(|name| began.parameter(name))
        .collect();
    let back = format!("http://127.0.0.1:8081{}/callback", stage.begin());
    assert_eq!(asked, ["code", "S256", "rowhouse", back.as_str()].map(|own| Some(own.to_owned())));
    assert_eq!(began.parameter("code_challenge").map(|own| own.len()), Some(43));
    let claims = stage.claims(&began, |_| ());
    signed_in(&stage.back(&mut ana, &began, claims).await);
    let sent = stage.provider.newest("/token");
    // "rowhouse:a%20secret%3A%20of%20acme" (RFC 6749 §2.3.1).
    assert!(sent.contains("cm93aG91c2U6YSUyMHNlY3JldCUzQSUyMG9mJTIwYWNtZQ=="), "{sent}");
    assert!(sent.contains("code=a-code") && sent.contains("code_verifier="), "{sent}");
    let page = ana.get("/account").await;
    assert!(page.text.contains("Ana Ito") && page.text.contains("single sign on"), "{}", page.text);
    assert_eq!(stage.roles(ANA).await, json!(["user"]));

    // Again, with another group, and then without; what somebody here gave stays.
    let mut again = Visitor::new(&stage.town.platform);
    signed_in(&stage.comes(&mut again, |claims| claims["groups"] = json!(["chiefs", "x"])).await);
    assert_eq!(stage.roles(ANA).await, json!(["tenant_admin", "user"]));
    signed_in(&stage.comes(&mut again, |claims| claims["groups"] = json!("people")).await);
    assert_eq!(stage.roles(ANA).await, json!(["user"]));
    // The address may change there: who she is says `sub`.
    signed_in(&stage.comes(&mut again, |claims| claims["email"] = json!("ana@elsewhere.example")).await);
    assert_eq!(stage.users().await, "2");
    let (_, links) = stage.town.platform.call(&stage.town.operator, "GET", &stage.path("/links"), None).await;
    assert_eq!(
        (&links["items"][0]["subject"], links["items"].as_array().map(Vec::len)),
        (&json!("ana-1"), Some(1))
    );

    // Suspended she stays out, removed she is not brought back.
    let users = stage.town.get("/v1/users?tenant=acme&q=ana").await;
    let id = users["items"][0]["id"].as_str().expect("an id").to_owned();
    stage.town.post(&format!("/v1/users/{id}/suspend?tenant=acme"), json!({})).await;
    assert_eq!(stage.comes(&mut again, |_| ()).await.status, 403);
    stage
        .town
        .platform
        .call(&stage.town.operator, "DELETE", &format!("/v1/users/{id}?tenant=acme"), None)
        .await;
    let seen = stage.comes(&mut again, |_| ()).await;
    assert!(seen.status == 403 && seen.text.contains("removed"), "{}", seen.text);
}

#[tokio::test]
async fn what_is_forged_or_turned_is_refused_and_makes_nobody() {
    let stage = Stage::set().await;
    let platform = &stage.town.platform;
    let now = platform.control.clock().now_s();
    let rows: Vec<Forged> = vec![
        ("another issuer", Box::new(|own| own["iss"] = json!("https://evil.example")), 502),
        ("for another client", Box::new(|own| own["aud"] = json!("other")), 502),
        ("for two, by neither", Box::new(|own| own["aud"] = json!(["rowhouse", "other"])), 502),
        ("of another sign-in", Box::new(|own| own["nonce"] = json!("x")), 502),
        ("without a nonce", Box::new(|own| own["nonce"] = Value::Null), 502),
        ("expired", Box::new(move |own| own["exp"] = json!(now - 31)), 502),
        ("of long ago", Box::new(move |own| own["iat"] = json!(now - 700)), 502),
        ("of tomorrow", Box::new(move |own| own["iat"] = json!(now + 31)), 502),
        ("for another access token", Box::new(|own| own["at_hash"] = json!("AAAA")), 502),
        ("without a subject", Box::new(|own| own["sub"] = json!("")), 502),
        ("an address that is not verified", Box::new(|own| own["email_verified"] = json!(false)), 403),
        ("verified in words", Box::new(|own| own["email_verified"] = json!("true")), 403),
        ("nothing said of verifying", Box::new(|own| own["email_verified"] = Value::Null), 403),
        ("another domain", Box::new(|own| own["email"] = json!("ana@bolt.example")), 403),
        ("a domain below", Box::new(|own| own["email"] = json!("ana@x.acme.example")), 403),
        ("two addresses in one", Box::new(|own| own["email"] = json!("ana@bolt.example@acme.example")), 403),
        ("no address", Box::new(|own| own["email"] = json!("")), 403),
    ];
    for (name, change, status) in rows {
        let mut visitor = Visitor::new(platform);
        let seen = stage.comes(&mut visitor, change).await;
        assert_eq!(seen.status, status, "{name}: {}", seen.text);
        assert!(!visitor.cookies.contains_key("__Host-rowhouse_session"), "{name}");
    }

    // Signed in ways that nobody takes.
    for (name, by, header) in [
        ("none", "one", json!({ "alg": "none", "kid": "one" })),
        ("the public key as a secret", "one", json!({ "alg": "HS256", "kid": "one" })),
        ("another key under its name", "two", json!({ "alg": "EdDSA", "kid": "one" })),
        ("a key nobody publishes", "two", json!({ "alg": "EdDSA", "kid": "two" })),
        ("a key it brings along", "two", json!({ "alg": "EdDSA", "kid": "one", "jwk": { "kty": "OKP" } })),
        ("no ID token at all", "one", json!({ "alg": "EdDSA", "kid": "one", "typ": "at+jwt" })),
    ] {
        let mut visitor = Visitor::new(platform);
        let began = stage.goes(&mut visitor).await;
        let token = signed(by, &header, &stage.claims(&began, |_| ()));
        let token =
            if name == "none" { token.rsplit_once('.').expect("parts").0.to_owned() + "." } else { token };
        stage.provider.gives(200, json!({ "id_token": token, "access_token": "access" }));
        let seen = visitor.get(&stage.answer(&began, "a-code")).await;
        assert_eq!(seen.status, 502, "{name}: {}", seen.text);
    }

    // Not this browser's, not this sign-in's, not this provider's; nothing is asked of anybody.
    let before = stage.provider.asked("/token");
    let mut visitor = Visitor::new(platform);
    let began = stage.goes(&mut visitor).await;
    let mut other = Visitor::new(platform);
    let theirs = stage.goes(&mut other).await;
    let good = stage.answer(&began, "a-code");
    let turned = [
        ("in another browser", good.clone(), 410),
        ("with a state of theirs", stage.answer(&theirs, "a-code"), 410),
        ("without a state", format!("{}/callback?code=a-code", stage.begin()), 410),
        ("without its name", good.split("&iss=").next().expect("a path").to_owned(), 502),
        ("of another provider", format!("{}x", good), 502),
        ("with an error", format!("{good}&error=access_denied%3Cscript%3E"), 502),
        ("that was taken", good.replace("code=a-code", "code="), 410),
    ];
    for (name, path, status) in turned {
        // A visitor of its own each time, with a copy of the cookies: an answer takes them away.
        let mut copy = Visitor::new(platform);
        if !name.contains("another browser") {
            copy.cookies = visitor.cookies.clone();
        }
        let seen = copy.get(&path).await;
        assert_eq!(seen.status, status, "{name}: {}", seen.text);
        assert!(!seen.text.contains("<script>"), "{name}");
        assert!(seen.text.contains("Back to signing in"), "{name}: {}", seen.text);
        assert_eq!(seen.text.contains("ask your administrator"), status == 502, "{name}: {}", seen.text);
    }
    assert_eq!(stage.provider.asked("/token"), before, "no code was sent anywhere");
    assert_eq!(stage.users().await, "1", "nobody was made");
    let told = "SELECT count(*) > 10 FROM audit.outbox WHERE draft->>'event' = 'identity.sso_refused'";
    assert_eq!(platform.ask(told).await, "t", "the tenant reads of it");
}

#[tokio::test]
async fn an_answer_is_taken_once_whoever_replays_it() {
    let stage = Stage::set().await;
    let mut visitor = Visitor::new(&stage.town.platform);
    let began = stage.goes(&mut visitor).await;
    let mut copy = Visitor::new(&stage.town.platform);
    copy.cookies = visitor.cookies.clone();
    let claims = stage.claims(&began, |_| ());
    signed_in(&stage.back(&mut visitor, &began, claims.clone()).await);
    // Everything stolen, the cookie too: also on another replica.
    let seen = stage.back(&mut copy, &began, claims.clone()).await;
    assert_eq!(seen.status, 410, "{}", seen.text);
    let beside = stage.town.platform.beside();
    let mut elsewhere = Visitor::new(&beside);
    elsewhere.cookies = copy.cookies.clone();
    assert_eq!(elsewhere.get(&stage.answer(&began, "a-code")).await.status, 410);
    // Too late.
    let mut slow = Visitor::new(&stage.town.platform);
    let began = stage.goes(&mut slow).await;
    stage.town.platform.hand.advance_us(601 * 1_000_000);
    let claims = stage.claims(&began, |_| ());
    assert_eq!(stage.back(&mut slow, &began, claims).await.status, 410);
}

/// The provider that was asked answers slowly, and is not the tenant's any more when it does: with the next one the same subject is somebody else.
#[tokio::test]
async fn a_provider_that_was_replaced_while_it_thought_makes_nobody() {
    let (stage, other) = (Stage::set().await, Provider::start().await);
    let before = stage.users().await;
    let mut visitor = Visitor::new(&stage.town.platform);
    let began = stage.goes(&mut visitor).await;
    let claims = stage.claims(&began, |_| ());
    let held = stage.provider.holds();
    let replaced = async {
        held.came.notified().await;
        let (town, path) = (&stage.town, stage.path(""));
        let body = json!({ "name": "Acme login", "issuer": other.url, "client_id": "rowhouse",
            "client_secret": "another secret", "email_domains": ["acme.example"], "roles": ["user"] });
        let version = format!("\"{}\"", town.get(&path).await["version"]);
        let version = Some(("if-match", version.as_str()));
        let call = town.platform.call_with(&town.operator, ("PUT", &path), version, Some(body)).await;
        assert_eq!(call.0, 200, "{}", call.1);
        stage.state("active").await;
        held.go.notify_one();
    };
    let (seen, ()) = tokio::join!(stage.back(&mut visitor, &began, claims), replaced);
    assert_eq!(seen.status, 410, "{}", seen.text);
    assert_eq!(stage.users().await, before, "nobody was made");
}

#[tokio::test]
async fn a_provider_becomes_nobody_who_belongs_elsewhere_until_they_have_shown_both_sides() {
    let stage = Stage::set().await;
    let town = &stage.town;
    let user = town.member("acme", ANA, &["viewer"]).await;
    let alone = town.member("acme", "ben@acme.example", &[]).await;
    town.invite("bolt", ANA, &[]).await;
    let token = town.mailed("invitation", ANA).await;
    assert_eq!(town.accept_with(json!({ "token": token })).await.0, 200);
    refresh(&town.platform).await;

    // Of acme alone: the domain is acme's, and so is he.
    let mut ben = Visitor::new(&town.platform);
    let as_ben =
        |claims: &mut Value| (claims["email"], claims["sub"]) = (json!("BEN@acme.example"), json!("ben-1"));
    signed_in(&stage.comes(&mut ben, as_ben).await);
    assert_eq!(stage.users().await, "3", "ben is the one who was there: {alone}");
    // Another person of the provider does not become him by his address.
    let seen = stage
        .comes(&mut ben, |claims| {
            (claims["email"], claims["sub"]) = (json!("ben@acme.example"), json!("eve"))
        })
        .await;
    assert_eq!(seen.status, 403, "{}", seen.text);

    // Of bolt too: acme's provider could be anybody's word for her there.
    let mut ana = Visitor::new(&town.platform);
    let seen = stage.comes(&mut ana, |_| ()).await;
    assert!(seen.status == 403 && seen.text.contains("account"), "{}", seen.text);
    // She signs in as she does, and connects.
    let page = ana.get("/account/sign_in?tenant=acme").await;
    assert!(page.text.contains("Sign in with Acme login"), "{}", page.text);
    let form = page.hidden("form");
    let fields = [("form", form.as_str()), ("identifier", ANA), ("password", PASSWORD), ("tenant", "acme")];
    signed_in(&ana.post("/account/sign_in", &fields).await);
    let page = ana.get("/account").await;
    assert!(page.text.contains(&format!("{}?link=yes", stage.connection)), "{}", page.text);
    let began = stage.connects(&mut ana).await;
    assert_eq!(began.parameter("prompt").as_deref(), Some("login"));
    // The provider must have asked her now.
    let claims = stage.claims(&began, |_| ());
    assert_eq!(stage.back(&mut ana, &began, claims).await.status, 502, "no word of when");
    let began = stage.connects(&mut ana).await;
    // An answer that comes to another session links nobody.
    let mut thief = Visitor::new(&town.platform);
    thief.cookies = ana.cookies.clone();
    thief.cookies.remove("__Host-rowhouse_session");
    let at = town.platform.control.clock().now_s();
    let claims = stage.claims(&began, |claims| claims["auth_time"] = json!(at));
    let seen = stage.back(&mut thief, &began, claims).await;
    assert_eq!(seen.status, 401, "{}", seen.text);
    let began = stage.connects(&mut ana).await;
    let claims = stage.claims(&began, |claims| claims["auth_time"] = json!(at));
    signed_in(&stage.back(&mut ana, &began, claims).await);
    let mut later = Visitor::new(&town.platform);
    signed_in(&stage.comes(&mut later, |_| ()).await);
    let held = town.platform.ask("SELECT count(*) FROM identity.provider_links").await;
    assert_eq!((stage.users().await.as_str(), held.as_str()), ("3", "2"), "{user}");

    // What she owns opens bolt too: the provider's word alone changes none of it.
    let page = later.get("/account").await;
    let form = page.hidden("form");
    let seen = later.post("/account", &[("form", &form), ("step", "add")]).await;
    assert!(seen.text.contains("Is it still you?"), "{}", seen.text);
    // And it opens nothing of bolt.
    let sessions = "SELECT count(*) FROM identity.sessions s JOIN tenancy.tenants t USING (tenant_id) WHERE t.code = 'bolt'";
    assert_eq!(town.platform.ask(sessions).await, "0");
}

#[tokio::test]
async fn who_would_be_locked_out_if_it_were_the_only_way_in_is_named_before() {
    const PAGE: &str = "/account/organisation/sign_in";
    let stage = Stage::set().await;
    let town = &stage.town;
    town.member("acme", "bob@elsewhere.example", &["user"]).await;
    town.member("bolt", "zoe@bolt.example", &["user"]).await;
    refresh(&town.platform).await;
    let wanted = json!({ "policy": { "single_sign_on": "enforced" } });
    let lost = async || {
        let (status, seen) = town.post("/v1/sign_in_policy/preview?tenant=acme", wanted.clone()).await;
        assert_eq!(status, 200, "{seen}");
        let ids = seen["would_lose_entry"].as_array().expect("a list").len();
        assert_eq!(seen["would_lose_entry_count"], json!(ids), "{seen}");
        ids
    };
    // The administrator's address comes in by the provider, Bob's does not.
    assert_eq!(lost().await, 1);
    let all = town.get("/v1/users?tenant=acme&q=bob@elsewhere").await;
    let bob =
        format!("/v1/users/{}/explain_sign_in?tenant=acme", all["items"][0]["id"].as_str().expect("an id"));
    let told = town.post(&bob, json!({})).await.1;
    assert_eq!(
        (&told["result"], &told["ways"][2]["why"]),
        (&json!("done"), &json!("not_connected")),
        "{told}"
    );
    assert_eq!(told["exits"], json!(["connect"]), "{told}");
    let mut chief = organisation::signed_in(town, "chief@acme.example").await;
    let ask = |way| [("step", "preview"), ("mfa", "optional"), ("days", "7"), ("single_sign_on", way)];
    let seen = organisation::send(&mut chief, PAGE, &ask("enforced")).await;
    organisation::shows(&seen, "bob@elsewhere.example");
    assert!(!seen.text.contains("Nobody would be locked out."), "{}", seen.text);
    assert!(!seen.text.contains("zoe@bolt.example"), "another organisation's people are not named");
    let seen = organisation::send(&mut chief, PAGE, &ask("optional")).await;
    organisation::shows(&seen, "Nobody would be locked out.");

    // Nothing links by an address alone who belongs elsewhere too.
    town.joins("bolt", "chief@acme.example", &["user"]).await;
    assert_eq!(lost().await, 2);
    let passkey = "INSERT INTO identity.factors (factor_id, user_id, kind, label, state, created_at) \
                   SELECT gen_random_uuid(), user_id, 'passkey', 'x', 'active', now() FROM identity.users \
                   WHERE email IN ('chief@acme.example', 'bob@elsewhere.example')";
    town.platform.execute(passkey).await;
    assert_eq!(lost().await, 1, "an administrator recovers by a passkey, nobody else does");
    let linked = "INSERT INTO identity.provider_links (connection_id, tenant_id, subject, user_id, roles, linked_at, last_used_at) \
                  SELECT c.connection_id, c.tenant_id, 'bob-1', u.user_id, '{}', now(), now() FROM identity.connections c, identity.users u \
                  WHERE u.email = 'bob@elsewhere.example'";
    town.platform.execute(linked).await;
    assert_eq!(lost().await, 0, "who has a link comes in by it");
}

#[tokio::test]
async fn where_it_is_enforced_a_password_is_not_enough() {
    let stage = Stage::set().await;
    let town = &stage.town;
    let chief = town.signed_in("chief@acme.example").await;
    let policy = town.get("/v1/sign_in_policy?tenant=acme").await;
    let mut wanted = policy.clone();
    wanted.as_object_mut().expect("an object").remove("version");
    wanted["single_sign_on"] = json!("enforced");
    let put = async |version: &str| {
        let further = Some(("if-match", version));
        let call = ("PUT", "/v1/sign_in_policy?tenant=acme");
        town.platform.call_with(&town.operator, call, further, Some(wanted.clone())).await
    };
    let refused = put("\"0\"").await;
    assert_eq!(code_of(&refused), (409, "identity.policy_unmet"), "not tested: {}", refused.1);

    // A test, by its link; it signs nobody in.
    let (status, test) = town.post(&stage.path("/test"), json!({})).await;
    assert_eq!(status, 200, "{test}");
    let url = test["url"].as_str().expect("text").replace("http://127.0.0.1:8081", "");
    let mut visitor = Visitor::new(&town.platform);
    let began = visitor.get(&url).await;
    let claims = stage.claims(&began, |claims| claims["groups"] = json!(["chiefs"]));
    let seen = stage.back(&mut visitor, &began, claims).await;
    assert!(seen.status == 200 && seen.text.contains("It works"), "{}", seen.text);
    assert_eq!(stage.users().await, "1");
    assert_eq!(visitor.get("/account").await.status, 303, "nobody is signed in");
    let result = town.platform.get(&town.operator, &stage.path("/test")).await;
    assert_eq!(
        (&result["is_tested"], &result["result"]["user"], &result["result"]["roles"]),
        (&json!(true), &json!("new"), &json!(["tenant_admin", "user"])),
        "{result}"
    );
    let refused = put("\"0\"").await;
    assert!(refused.1["detail"].as_str().is_some_and(|told| told.contains("passkey")), "{}", refused.1);
    let passkey = "INSERT INTO identity.factors (factor_id, user_id, kind, label, state, created_at) \
                   SELECT gen_random_uuid(), user_id, 'passkey', 'x', 'active', now() FROM identity.users";
    town.platform.execute(passkey).await;
    let done = put("\"0\"").await;
    assert_eq!(done.0, 200, "{}", done.1);

    // A password is right and lets nobody in; sessions that began so end.
    let refused = town.try_password("chief@acme.example", PASSWORD).await;
    assert_eq!(code_of(&refused), (403, "identity.sso_required"), "{}", refused.1);
    assert_eq!(town.refreshed(&chief["refresh_token"]).await.0, 400);
    let mut ana = Visitor::new(&town.platform);
    signed_in(&stage.comes(&mut ana, |_| ()).await);
    assert_eq!(ana.get("/account").await.status, 200);
    // The only way in is not taken away.
    let (status, refused) = town.post(&stage.path("/state"), json!({ "state": "off" })).await;
    assert_eq!((status, &refused["code"]), (409, &json!("identity.connection_wrong_state")), "{refused}");
    let (status, _) = town.platform.call(&town.operator, "DELETE", &stage.path(""), None).await;
    assert_eq!(status, 409);
}

#[tokio::test]
async fn another_tenant_has_no_part_in_it() {
    let stage = Stage::set().await;
    let town = &stage.town;
    // Bolt names acme's domain: it is not bolt's, so nobody comes in by it, whatever bolt's provider says.
    let evil = Provider::start().await;
    let (status, made) = connect(town, "bolt", &evil, |body| body["role_map"] = json!({})).await;
    assert_eq!((status, &made["proven_domains"]), (201, &json!([])), "{made}");
    let bolts = Stage { town: crate::people::town().await, provider: evil, connection: String::new() };
    let id = made["id"].as_str().expect("an id").to_owned();
    town.post(&format!("/v1/connections/{id}/state?tenant=bolt"), json!({ "state": "active" })).await;
    let own = Stage { connection: id.clone(), ..bolts };
    let mut visitor = Visitor::new(&town.platform);
    let began = visitor.get(&own.begin()).await;
    let now = town.platform.control.clock().now_s();
    let claims = own.claims(&began, |claims| (claims["iat"], claims["exp"]) = (json!(now), json!(now + 600)));
    let seen = own.back(&mut visitor, &began, claims).await;
    assert_eq!(seen.status, 403, "{}", seen.text);
    // An address leads to who holds its domain.
    let page = visitor.get("/account/sso").await;
    let form = page.hidden("form");
    let lead = visitor.post("/account/sso", &[("form", &form), ("identifier", "anybody@ACME.example")]).await;
    assert!(lead.text.contains(&stage.connection) && !lead.text.contains(&id), "{}", lead.text);
    let lead = visitor.post("/account/sso", &[("form", &form), ("identifier", "ana@bolt.example")]).await;
    assert_eq!(lead.status, 404, "{}", lead.text);
    // One's answer is not another's.
    let began = stage.goes(&mut visitor).await;
    let turned = stage.answer(&began, "a-code").replace(&stage.connection, &id);
    assert_eq!(visitor.get(&turned).await.status, 410);

    // Nothing of acme's is bolt's to see, and the secret nobody's.
    let bolt = |rest: &str| format!("/v1/connections/{}{rest}?tenant=bolt", stage.connection);
    for (method, rest, body) in [
        ("GET", "", None),
        ("DELETE", "", None),
        ("GET", "/links", None),
        ("GET", "/test", None),
        ("POST", "/test", Some(json!({}))),
        ("POST", "/state", Some(json!({ "state": "off" }))),
    ] {
        let (status, seen) = town.platform.call(&town.operator, method, &bolt(rest), body).await;
        assert_eq!(status, 404, "{method} {rest}: {seen}");
    }
    let seen = town.platform.get(&town.operator, &stage.path("")).await;
    assert!(seen["has_secret"] == true && !seen.to_string().contains("a secret"), "{seen}");
    let clear = "SELECT count(*) FROM identity.connections c WHERE convert_from(c.client_secret, 'LATIN1') LIKE '%secret%' \
                 OR c::text LIKE '%a secret%'";
    assert_eq!(town.platform.ask(clear).await, "0");
    // Another provider is not shown the secret of this one.
    let other = json!({ "name": "Acme login", "issuer": own.provider.url, "client_id": "rowhouse" });
    let further = Some(("if-match", "\"1\""));
    let refused =
        town.platform.call_with(&town.operator, ("PUT", &stage.path("")), further, Some(other)).await;
    assert_eq!(code_of(&refused), (422, "identity.connection_invalid"), "{}", refused.1);

    // A tenant that is erased leaves nothing of it.
    let transaction =
        town.platform.control.store.write(&Permit::for_system(None, "a test")).await.expect("begins");
    identity::erase_tenant(&transaction, town.acme).await.expect("erased");
    transaction.commit_telemetry().await.expect("committed");
    assert_eq!(town.platform.ask("SELECT count(*) FROM identity.connections").await, "1");
}

#[tokio::test]
async fn keys_turn_and_a_provider_that_is_away_is_remembered_for_a_day() {
    let stage = Stage::set().await;
    let hand = &stage.town.platform.hand;
    let mut visitor = Visitor::new(&stage.town.platform);
    signed_in(&stage.comes(&mut visitor, |_| ()).await);
    let fetched = stage.provider.asked("/keys");
    // Another key: it is looked for at once, but at most once a minute.
    stage.provider.turns(&["two"]);
    let by_two = async |visitor: &mut Visitor<'_>| {
        let began = stage.goes(visitor).await;
        let token = signed("two", &json!({ "alg": "EdDSA", "kid": "two" }), &stage.claims(&began, |_| ()));
        stage.provider.gives(200, json!({ "id_token": token }));
        visitor.get(&stage.answer(&began, "a-code")).await
    };
    assert_eq!(by_two(&mut visitor).await.status, 502);
    assert_eq!(stage.provider.asked("/keys"), fetched);
    hand.advance_us(61 * 1_000_000);
    signed_in(&by_two(&mut visitor).await);
    assert_eq!(stage.provider.asked("/keys"), fetched + 1);
    // The old key is nobody's any more.
    assert_eq!(stage.comes(&mut visitor, |_| ()).await.status, 502);
    // Its documents are away, and after eleven minutes still believed; after a day not.
    stage.provider.says_of_itself("issuer", json!("https://evil.example"));
    hand.advance_us(11 * 60 * 1_000_000);
    signed_in(&by_two(&mut visitor).await);
    let told = stage.town.platform.get(&stage.town.operator, &stage.path("")).await;
    assert!(told["last_problem"].as_str().is_some_and(|told| told.contains("evil")), "{told}");
    hand.advance_us(24 * 3_600 * 1_000_000);
    assert_eq!(by_two(&mut visitor).await.status, 502);
    stage.provider.goes(true);
    assert_eq!(by_two(&mut visitor).await.status, 502);
    let (status, refused) =
        connect(&stage.town, "acme", &stage.provider, |body| body["name"] = json!("Other")).await;
    assert_eq!((status, &refused["code"]), (422, &json!("identity.connection_unreachable")), "{refused}");
}

#[tokio::test]
async fn what_is_not_signed_is_asked_for_and_must_be_about_the_same_person() {
    let stage = Stage::set().await;
    let mut visitor = Visitor::new(&stage.town.platform);
    let bare = |claims: &mut Value| {
        for name in ["email", "email_verified", "groups", "name"] {
            claims.as_object_mut().expect("an object").remove(name);
        }
    };
    stage.provider.tells(json!({ "sub": "somebody", "email": ANA, "email_verified": true }));
    assert_eq!(stage.comes(&mut visitor, bare).await.status, 502);
    stage.provider.tells(json!({ "sub": "ana-1", "email": ANA, "email_verified": true, "groups": ["chiefs"],
        "iss": "https://evil.example" }));
    signed_in(&stage.comes(&mut visitor, bare).await);
    assert_eq!(stage.roles(ANA).await, json!(["tenant_admin", "user"]));
    // That one address is proven says nothing of another.
    stage.provider.tells(json!({ "sub": "uli-1", "email": "other@acme.example", "email_verified": true }));
    let unproven = |claims: &mut Value| {
        bare(claims);
        claims["sub"] = json!("uli-1");
        claims["email"] = json!("uli@acme.example");
    };
    let seen = stage.comes(&mut Visitor::new(&stage.town.platform), unproven).await;
    assert_eq!(seen.status, 403, "{}", seen.text);
}

/// Whoever says by which provider people are known comes in as each of them.
#[tokio::test]
async fn a_provider_is_connected_by_who_holds_what_the_tenants_people_hold() {
    let stage = Stage::set().await;
    let Stage { town, provider, .. } = &stage;
    let (_, made) = town.post("/v1/service_accounts?tenant=acme", json!({ "name": "connector" })).await;
    let connector = json!({ "kind": "service_account", "id": made["id"] });
    let permissions = ["issuer:manage", "issuer:read"];
    for permission in permissions {
        let grant = json!({ "principal": connector, "permission": permission, "reason": "x" });
        assert_eq!(town.post("/v1/grants?tenant=acme", grant).await.0, 201);
    }
    let listing = json!({ "name": "k", "owner": connector, "permissions": permissions });
    let key = town.post("/v1/keys?tenant=acme", listing).await.1["key"].as_str().expect("a key").to_owned();
    refresh(&town.platform).await;
    let body = |name: &str| {
        json!({ "name": name, "issuer": provider.url, "client_id": name, "is_public": true, "roles": [],
            "email_domains": ["acme.example"], "creates_members": false, "proves_mfa": true })
    };
    let (status, answer) = town.platform.call(&key, "POST", "/v1/connections", Some(body("mine"))).await;
    assert_eq!((status, answer["code"].as_str()), (403, Some("access.escalation")), "{answer}");
    // Nor by way of one that is there: changed, or made active again.
    let path = format!("/v1/connections/{}", stage.connection);
    let (_, seen) = town.platform.call(&key, "GET", &path, None).await;
    assert_eq!(seen["state"], "active", "{seen}");
    stage.state("off").await;
    let on = json!({ "state": "active" });
    let (status, answer) = town.platform.call(&key, "POST", &format!("{path}/state"), Some(on)).await;
    assert_eq!((status, answer["code"].as_str()), (403, Some("access.escalation")), "{answer}");
    // Turning off needs no more than the right to do so; the operator and an administrator turn on.
    assert_eq!(stage.state("active").await["state"], "active");
    let off = json!({ "state": "off" });
    let (status, answer) = town.platform.call(&key, "POST", &format!("{path}/state"), Some(off)).await;
    assert_eq!(status, 200, "{answer}");
}

const SESSION: &str = "__Host-rowhouse_session";

/// The only code that was mailed to somebody.
async fn code_mailed_to(town: &Town, email: &str) -> String {
    while rowhouse_control::messages::turn(&town.platform.control).await.expect("a turn") {}
    let folder = std::fs::read_dir(town.platform.mail_folder()).expect("the folder");
    let texts = folder.map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("a file"));
    let mut theirs = texts.filter(|text| text.contains(&format!("To: {email}")));
    let text = theirs.find(|text| text.contains("Your code is ")).expect("a mailed code");
    text.split("Your code is ").nth(1).expect("a code").chars().take(6).collect()
}

#[tokio::test]
async fn a_providers_word_becomes_no_factor_of_a_person_new_or_known() {
    let stage = Stage::set().await;
    let town = &stage.town;
    town.member("acme", "ben@acme.example", &[]).await;
    refresh(&town.platform).await;
    for (email, subject) in [(ANA, "ana-1"), ("ben@acme.example", "ben-1")] {
        let mut visitor = Visitor::new(&town.platform);
        let seen = stage.comes(&mut visitor, |claims| {
            (claims["email"], claims["sub"]) = (json!(email), json!(subject));
        });
        signed_in(&seen.await);
        let before = town.platform.ask("SELECT count(*) FROM identity.factors").await;
        let mut page = visitor.get("/account").await;
        for (step, kind) in [("add", ""), ("add_key", "passkey"), ("add_key", "security_key"), ("codes", "")]
        {
            let form = page.hidden("form");
            page = visitor.post("/account", &[("form", &form), ("step", step), ("kind", kind)]).await;
            assert!(page.text.contains("Is it still you?"), "{email} {step} {kind}: {}", page.text);
            assert!(
                !page.text.contains("Sign in again with"),
                "the provider's word again is no more: {}",
                page.text
            );
        }
        let after = town.platform.ask("SELECT count(*) FROM identity.factors").await;
        assert_eq!(after, before, "{email}");
        // Whoever has the mailbox is more than whom the provider says to be here.
        let form = page.hidden("form");
        let page = visitor.post("/account", &[("form", &form), ("step", "mail")]).await;
        let (form, code) = (page.hidden("form"), code_mailed_to(town, email).await);
        let fields =
            [("form", form.as_str()), ("step", "step_up"), ("factor", "email_code"), ("code", &code)];
        signed_in(&visitor.only_post("/account", &fields).await);
        let form = visitor.get("/account").await.hidden("form");
        let page = visitor.post("/account", &[("form", &form), ("step", "add")]).await;
        assert!(page.text.contains("Scan this"), "{email}: {}", page.text);
    }
}

#[tokio::test]
async fn an_account_is_connected_by_the_hand_of_its_person_alone() {
    let stage = Stage::set().await;
    let town = &stage.town;
    town.member("acme", ANA, &["viewer"]).await;
    town.joins("bolt", ANA, &["tenant_admin"]).await;
    refresh(&town.platform).await;
    let link = format!("{}?link=yes", stage.begin());
    let links = "SELECT count(*) FROM identity.provider_links";

    // At bolt, acme's provider is nobody's business.
    let mut at_bolt = stage.at(ANA, "bolt").await;
    let seen = at_bolt.get(&link).await;
    assert_eq!((seen.status, &seen.location), (403, &None), "{}", seen.text);
    assert!(!at_bolt.get("/account").await.text.contains(&stage.connection), "it is not offered there");
    let form = at_bolt.get("/account").await.hidden("form");
    let seen = at_bolt.post(&stage.begin(), &[("form", &form), ("step", "link")]).await;
    assert_eq!((seen.status, &seen.location), (403, &None), "{}", seen.text);

    // At acme, a link leads to a page that says what it does, and to nothing else.
    let mut at_acme = stage.at(ANA, "acme").await;
    let page = at_acme.get(&link).await;
    assert_eq!((page.status, &page.location), (200, &None), "{}", page.text);
    for told in ["Acme login", "acme inc", ANA, "Connect my account"] {
        assert!(page.text.contains(told), "{told}: {}", page.text);
    }
    assert!(!at_acme.cookies.contains_key("__Host-rowhouse_sso"), "nothing has begun");
    for form in ["", "x", at_bolt.get("/account").await.hidden("form").as_str()] {
        let seen = at_acme.post(&stage.begin(), &[("form", form), ("step", "link")]).await;
        assert_eq!((seen.status, &seen.location), (403, &None), "{}", seen.text);
    }
    // The answer to what she began at acme counts in no session of hers elsewhere.
    let at = town.platform.control.clock().now_s();
    let began = stage.says(&mut at_acme, &page, "link").await;
    let mut mixed = Visitor::new(&town.platform);
    mixed.cookies = at_acme.cookies.clone();
    mixed.cookies.insert(SESSION.to_owned(), at_bolt.cookies[SESSION].clone());
    let claims = stage.claims(&began, |claims| claims["auth_time"] = json!(at));
    let seen = stage.back(&mut mixed, &began, claims).await;
    assert_eq!(seen.status, 401, "{}", seen.text);
    assert_eq!(town.platform.ask(links).await, "0");
    let began = stage.connects(&mut at_acme).await;
    let claims = stage.claims(&began, |claims| claims["auth_time"] = json!(at));
    signed_in(&stage.back(&mut at_acme, &began, claims).await);
    assert_eq!(town.platform.ask(links).await, "1");

    // Who comes in by the provider alone sees and ends nothing of bolt.
    let of_bolt = "SELECT session_id FROM identity.sessions s JOIN tenancy.tenants t USING (tenant_id) WHERE t.code = 'bolt'";
    let id = SessionId(town.platform.ask(of_bolt).await.parse().expect("one")).to_string();
    let mut later = Visitor::new(&town.platform);
    signed_in(&stage.comes(&mut later, |_| ()).await);
    let page = later.get("/account").await;
    assert!(!page.text.contains(&id), "{}", page.text);
    let fields = [("form", page.hidden("form")), ("step", "end".to_owned()), ("session", id.clone())];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(later.post("/account", &fields).await.status, 404);
    assert_eq!(stage.open_at_bolt().await, "1");
    // She herself does both, from wherever she has shown something of her own.
    let page = at_acme.get("/account").await;
    assert!(page.text.contains(&id), "{}", page.text);
    let form = page.hidden("form");
    at_acme.post("/account", &[("form", &form), ("step", "end"), ("session", &id)]).await;
    assert_eq!(stage.open_at_bolt().await, "0");
}

#[tokio::test]
async fn a_link_makes_nobody_who_is_signed_in_somebody_else() {
    let stage = Stage::set().await;
    let town = &stage.town;
    town.member("bolt", "nora@bolt.example", &["tenant_admin"]).await;
    refresh(&town.platform).await;
    let mut nora = stage.at("nora@bolt.example", "bolt").await;
    let own = nora.cookies[SESSION].clone();
    let page = nora.get(&stage.begin()).await;
    assert_eq!((page.status, &page.location), (200, &None), "{}", page.text);
    for told in ["nora@bolt.example", "bolt inc", "acme inc", "Acme login"] {
        assert!(page.text.contains(told), "{told}: {}", page.text);
    }
    assert!(!nora.cookies.contains_key("__Host-rowhouse_sso"), "nothing has begun");
    for (form, step) in
        [("x".to_owned(), "sign_in"), (String::new(), "sign_in"), (page.hidden("form"), "more")]
    {
        let seen = nora.post(&stage.begin(), &[("form", &form), ("step", step)]).await;
        assert!(seen.status >= 400 && seen.location.is_none(), "{seen:?}");
    }
    assert_eq!(nora.cookies[SESSION], own);
    // She may, if she says so.
    let began = stage.says(&mut nora, &page, "sign_in").await;
    assert_eq!(began.status, 303, "{}", began.text);
    let claims = stage.claims(&began, |_| ());
    signed_in(&stage.back(&mut nora, &began, claims).await);
    assert_ne!(nora.cookies[SESSION], own);
}

/// An address says where to go by its domain alone: who exists, who does not and who is suspended are told the same.
#[tokio::test]
async fn an_address_of_a_domain_with_a_provider_leads_there_whoever_it_is() {
    let stage = Stage::set().await;
    let town = &stage.town;
    town.member("acme", "ana@acme.example", &["user"]).await;
    town.member("bolt", "eve@acme.example", &["user"]).await;
    refresh(&town.platform).await;
    let start = async |body: Value| {
        let (status, answer) = town.platform.call_as_nobody("POST", "/v1/sign_in", body).await;
        assert_eq!(status, 200, "{answer}");
        (answer["offer"].clone(), answer["redirect"].clone())
    };
    let there = json!(format!("http://127.0.0.1:8081{}", stage.begin()));
    let offered = json!(["password", "passkey", "sso"]);
    for name in ["ana@acme.example", "nobody@acme.example", "EVE@ACME.EXAMPLE", "chief@acme.example"] {
        let answer = start(json!({ "identifier": name })).await;
        assert_eq!(answer, (offered.clone(), there.clone()), "{name}");
        let answer = start(json!({ "identifier": name, "tenant": "acme" })).await;
        assert_eq!(answer, (offered.clone(), there.clone()), "{name}");
    }
    let plain = (json!(["password", "passkey"]), Value::Null);
    for body in [
        json!({ "identifier": "ana@bolt.example" }),
        json!({ "identifier": "ana@sub.acme.example" }),
        // Into another tenant that provider does not lead.
        json!({ "identifier": "eve@acme.example", "tenant": "bolt" }),
        json!({ "identifier": "ana" }),
    ] {
        assert_eq!(start(body.clone()).await, plain, "{body}");
    }
    assert_eq!(start(json!({})).await, (json!(["passkey"]), Value::Null));

    // The page's first step is the same.
    let step = async |name: &str| {
        let mut visitor = Visitor::new(&town.platform);
        let form = visitor.get("/account/sign_in").await.hidden("form");
        let seen = visitor.post("/account/sign_in", &[("form", &form), ("identifier", name)]).await;
        (seen.status, seen.text.replace(&form, "").replace(name, ""))
    };
    let ana = step("ana@acme.example").await;
    assert!(ana.0 == 200 && ana.1.contains(&stage.begin().replace('/', "&#x2f;")), "{}", ana.1);
    assert_eq!(step("nobody@acme.example").await, ana);
    let other = step("ana@bolt.example").await;
    assert!(other.1.contains("name=\"password\"") && !other.1.contains(&stage.connection), "{}", other.1);
    // Not from a page of ours: nobody is led anywhere.
    let mut visitor = Visitor::new(&town.platform);
    visitor.get("/account/sign_in").await;
    let sent = visitor.post("/account/sign_in", &[("form", "x"), ("identifier", "ana@acme.example")]).await;
    assert!(sent.status == 403 && !sent.text.contains(&stage.connection), "{}", sent.text);
    // Switched off, it leads nowhere.
    stage.state("off").await;
    assert_eq!(start(json!({ "identifier": "ana@acme.example" })).await, plain);
}
