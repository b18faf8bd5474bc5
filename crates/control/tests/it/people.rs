//! People: invited, accepted, suspended, removed; in several tenants; never more than the inviter may give; erased.

use std::time::Duration;

use rowhouse_control::identity;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{TenantId, UserId};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::overtaken::until_somebody_waits;
use crate::platform::Platform;

const PASSWORD: &str = "correct horse battery staple";

/// A platform with two tenants that the database knows too.
pub struct Town {
    pub platform: Platform,
    pub operator: String,
    pub acme: TenantId,
    pub bolt: TenantId,
}

pub async fn town() -> Town {
    town_with(rowhouse_control::catalog::shipped()).await
}

/// The same with a catalogue of the test's own.
pub async fn town_with(catalogue: &rowhouse_control::catalog::CatalogFile) -> Town {
    let platform = Platform::start().await;
    rowhouse_control::catalog::prepare(&platform.control, catalogue).await.expect("the catalogue");
    let key =
        rowhouse_control::keys::bootstrap_operator(&platform.control).await.expect("made").expect("first");
    let (acme, bolt) = (TenantId::from_u128(7), TenantId::from_u128(8));
    for (tenant, code) in [(acme, "acme"), (bolt, "bolt")] {
        let id = tenant.0;
        let row = format!(
            "INSERT INTO tenancy.tenants (tenant_id, code, company_name, tier, isolation, region, status, billing_contact, \
             metadata, created_by, created_at, updated_at) VALUES ('{id}', '{code}', '{code} inc', 'basic', 'shared', 'eu1', \
             'active', '{{}}', '{{}}', 'test', now(), now())"
        );
        platform.execute(&row).await;
    }
    refresh(&platform).await;
    Town { platform, operator: key, acme, bolt }
}

/// Publishes the directory as the database is now.
pub async fn refresh(platform: &Platform) {
    let mut directory = rowhouse_control::directory::build(&platform.control).await.expect("a directory");
    directory.version = directory.version.max(platform.control.directory.current().version + 1);
    platform.control.directory.publish(directory);
}

impl Town {
    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.platform.call(&self.operator, "POST", path, Some(body)).await
    }

    pub async fn get(&self, path: &str) -> Value {
        self.platform.get(&self.operator, path).await
    }

    pub async fn invite(&self, tenant: &str, email: &str, roles: &[&str]) -> (u16, Value) {
        self.post(&format!("/v1/invitations?tenant={tenant}"), json!({"email": email, "roles": roles})).await
    }

    /// The last link that was mailed to `email` from `template`.
    pub async fn mailed(&self, template: &str, email: &str) -> String {
        while rowhouse_control::messages::turn(&self.platform.control).await.expect("a turn") {}
        let folder = std::fs::read_dir(self.platform.mail_folder()).expect("the folder");
        let mut files: Vec<_> = folder.map(|entry| entry.expect("an entry").path()).collect();
        files.sort_by_key(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).expect("a file"));
        let mut texts =
            files.iter().filter(|path| path.to_string_lossy().contains(template)).filter_map(|path| {
                let text = std::fs::read_to_string(path).ok()?.replace("=\r\n", "").replace("=3D", "=");
                text.contains(&format!("To: {email}")).then_some(text)
            });
        let text = texts.next_back().unwrap_or_else(|| panic!("no {template} to {email}"));
        let (_, rest) = text.split_once("token=").expect("a link");
        rest.chars().take_while(char::is_ascii_hexdigit).collect()
    }

    pub async fn accept(&self, token: &str) -> (u16, Value) {
        self.accept_with(json!({"token": token, "full_name": "Ana Ito", "password": PASSWORD})).await
    }

    pub async fn accept_with(&self, body: Value) -> (u16, Value) {
        self.platform.call_as_nobody("POST", "/v1/invitations/accept", body).await
    }

    /// A member of `tenant` by invitation.
    pub async fn member(&self, tenant: &str, email: &str, roles: &[&str]) -> String {
        let (status, made) = self.invite(tenant, email, roles).await;
        assert_eq!(status, 201, "{made}");
        let token = self.mailed("invitation", email).await;
        let (status, accepted) = self.accept(&token).await;
        assert_eq!(status, 200, "{accepted}");
        accepted["user"].as_str().expect("an id").to_owned()
    }

    /// Somebody who has an account belongs to `tenant` too.
    pub async fn joins(&self, tenant: &str, email: &str, roles: &[&str]) {
        let (status, made) = self.invite(tenant, email, roles).await;
        assert_eq!(status, 201, "{made}");
        let mut answers = Vec::new();
        for token in self.invitations(email).await {
            answers.push(self.accept_with(json!({"token": token, "password": PASSWORD})).await);
        }
        assert!(answers.iter().any(|(status, _)| *status == 200), "{answers:?}");
    }

    /// All links of invitations that were mailed to `email`, used or not.
    async fn invitations(&self, email: &str) -> Vec<String> {
        while rowhouse_control::messages::turn(&self.platform.control).await.expect("a turn") {}
        let folder = std::fs::read_dir(self.platform.mail_folder()).expect("the folder");
        let files = folder.map(|entry| entry.expect("an entry").path());
        let texts = files.filter(|path| path.to_string_lossy().contains("invitation")).map(|path| {
            std::fs::read_to_string(path).expect("a file").replace("=\r\n", "").replace("=3D", "=")
        });
        let theirs = texts.filter(|text| text.contains(&format!("To: {email}")));
        let token = |text: String| {
            let (_, rest) = text.split_once("token=")?;
            Some(rest.chars().take_while(char::is_ascii_hexdigit).collect())
        };
        theirs.filter_map(token).collect()
    }

    /// Sets the policy of a tenant that had the default.
    pub async fn policy(&self, tenant: &str, policy: Value) -> (u16, Value) {
        let path = format!("/v1/sign_in_policy?tenant={tenant}");
        let version = Some(("if-match", "\"0\""));
        self.platform.call_with(&self.operator, ("PUT", &path), version, Some(policy)).await
    }

    pub async fn entry(&self, tenant: &str, user: &str) -> Value {
        let (status, answer) =
            self.post(&format!("/v1/tenants/{tenant}/access_check"), json!({ "user": user })).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }
}

#[tokio::test]
async fn an_invited_person_becomes_a_member_and_the_link_works_once() {
    let town = town().await;
    let (status, made) = town.invite("acme", "Ana@Acme.example", &["tenant_admin"]).await;
    assert_eq!((status, made["state"].as_str()), (201, Some("pending")), "{made}");
    assert_eq!(town.invite("acme", "ana@acme.example", &[]).await.0, 422, "one open invitation an address");
    let token = town.mailed("invitation", "Ana@acme.example").await;
    assert_eq!(token.len(), 64);
    let seen = town
        .platform
        .ask("SELECT count(*) FROM identity.invitations i WHERE i::text LIKE '%' || 'Ana@acme' || '%'")
        .await;
    assert_eq!(seen, "1");
    let (status, weak) =
        town.accept_with(json!({"token": token, "full_name": "Ana", "password": "acmeacmeacme12"})).await;
    assert_eq!((status, weak["code"].as_str()), (422, Some("identity.password_weak")), "{weak}");
    let (status, accepted) = town.accept(&token).await;
    assert_eq!(
        (status, &accepted["is_new"], &accepted["tenant_code"]),
        (200, &json!(true), &json!("acme")),
        "{accepted}"
    );
    for body in [json!({"token": token}), json!({"token": "0".repeat(64)}), json!({"token": ""})] {
        let (status, used) = town.accept_with(body).await;
        assert_eq!((status, used["code"].as_str()), (410, Some("identity.link_used")));
    }
    let users = town.get("/v1/users?tenant=acme").await;
    let user = &users["items"][0];
    assert_eq!(
        (&user["roles"], &user["status"], &user["email_verified"]),
        (&json!(["tenant_admin"]), &json!("active"), &json!(true)),
        "{users}"
    );
    let entry = town.entry("acme", accepted["user"].as_str().expect("an id")).await;
    assert_eq!((&entry["allowed"], &entry["reasons"]), (&json!(true), &json!([])), "{entry}");
    let secrets =
        "SELECT count(*) FROM identity.passwords p WHERE encode(p.digest, 'escape') LIKE '%correct%'";
    assert_eq!(town.platform.ask(secrets).await, "0");
    let stored = "SELECT count(*) FROM identity.users u, identity.invitations i WHERE (u::text || i::text) LIKE '%' || '";
    assert_eq!(town.platform.ask(&format!("{stored}{token}' || '%'")).await, "0", "only its hash is kept");
}

#[tokio::test]
async fn who_guesses_at_invitations_is_stopped_for_a_while() {
    let town = town().await;
    let mut refused = None;
    for guess in 0..120 {
        let (status, answer) = town.accept(&format!("{guess:064x}")).await;
        if status == 429 {
            refused = Some((guess, answer));
            break;
        }
    }
    let (guesses, answer) = refused.expect("guessing ends");
    assert_eq!((guesses, &answer["code"]), (100, &json!("identity.too_many_attempts")), "{answer}");
    town.platform.hand.advance_us(10 * 60 * 1_000_000 + 1);
    assert_ne!(town.accept(&format!("{:064x}", 0)).await.0, 429, "it passes with time");
}

#[tokio::test]
async fn of_two_who_accept_at_once_one_does() {
    let town = town().await;
    town.invite("acme", "ana@acme.example", &[]).await;
    let token = town.mailed("invitation", "ana@acme.example").await;
    let all = [town.accept(&token), town.accept(&token), town.accept(&token)];
    let [a, b, c] = all;
    let (a, b, c) = tokio::join!(a, b, c);
    let mut statuses = [a.0, b.0, c.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 410, 410]);
    assert_eq!(town.platform.ask("SELECT count(*) FROM identity.users").await, "1");
}

#[tokio::test]
async fn a_person_is_one_user_in_many_tenants_and_no_tenant_sees_another_one() {
    let town = town().await;
    let ana = town.member("acme", "ana@acme.example", &["tenant_admin"]).await;
    town.invite("bolt", "ANA@acme.example", &["viewer"]).await;
    let token = town.mailed("invitation", "ANA@acme.example").await;
    let (status, accepted) =
        town.accept_with(json!({"token": token, "password": "another password entirely"})).await;
    assert_eq!(
        (status, &accepted["is_new"], &accepted["user"]),
        (200, &json!(false), &json!(ana)),
        "{accepted}"
    );
    let passwords = town.platform.ask("SELECT count(*) FROM identity.passwords").await;
    assert_eq!(passwords, "1", "whoever has the link does not set a password for somebody who has one");
    let bob = town.member("bolt", "bob@bolt.example", &["tenant_admin"]).await;
    let permit = Permit::for_system(Some(town.acme), "what acme sees");
    let transaction = town.platform.control.store.read(&permit).await.expect("a transaction");
    let seen = identity::administrators(&transaction, town.acme).await.expect("read");
    assert_eq!(seen.iter().map(|user| user.id.to_string()).collect::<Vec<_>>(), std::slice::from_ref(&ana));
    let id: UserId = bob.parse().expect("an id");
    assert_eq!(identity::address_of(&transaction, id).await.expect("read"), None, "bolt's person");
    assert_eq!(identity::count_members(&transaction, town.bolt).await.expect("read"), 0);
    transaction.finish().await.expect("ends");
    assert_eq!(town.get("/v1/users").await["items"].as_array().map(Vec::len), Some(3));
    let entry = town.entry("acme", &bob).await;
    assert_eq!(entry["reasons"], json!(["not_a_member"]));
    assert_eq!(
        town.entry("acme", &UserId::from_u128(99).to_string()).await["reasons"],
        json!(["not_a_member"]),
        "the same for nobody"
    );
}

#[tokio::test]
async fn everything_that_is_against_entering_is_listed() {
    let town = town().await;
    town.member("acme", "ana@acme.example", &["tenant_admin"]).await;
    let ben = town.member("acme", "ben@acme.example", &["user"]).await;
    let (status, suspended) = town.post(&format!("/v1/users/{ben}/suspend?tenant=acme"), json!({})).await;
    assert_eq!((status, &suspended["status"]), (200, &json!("suspended")), "{suspended}");
    assert_eq!(
        town.post(&format!("/v1/users/{ben}/suspend?tenant=acme"), json!({})).await.0,
        200,
        "twice is once"
    );
    town.platform.execute("UPDATE tenancy.tenants SET status = 'suspended' WHERE code = 'acme'").await;
    town.platform
        .execute("UPDATE identity.users SET status = 'disabled' WHERE email_key = 'ben@acme.example'")
        .await;
    let entry = town.entry("acme", &ben).await;
    assert_eq!(
        entry["reasons"],
        json!(["user_disabled", "membership_suspended", "tenant_not_active"]),
        "{entry}"
    );
    assert_eq!(entry["checks"]["not_locked"], json!(true));
    let events = "SELECT count(*) FROM audit.outbox WHERE draft->>'event' = 'identity.member_suspended'";
    assert_eq!(town.platform.ask(events).await, "1");
}

#[tokio::test]
async fn the_last_administrator_stays_also_when_two_go_at_once() {
    let town = town().await;
    let ana = town.member("acme", "ana@acme.example", &["tenant_admin"]).await;
    let path = |user: &str, verb: &str| format!("/v1/users/{user}{verb}?tenant=acme");
    let (status, last) = town.post(&path(&ana, "/suspend"), json!({})).await;
    assert_eq!((status, last["code"].as_str()), (409, Some("access.last_admin")), "{last}");
    assert_eq!(town.platform.call(&town.operator, "DELETE", &path(&ana, ""), None).await.0, 409);
    let grants = town.get("/v1/grants?tenant=acme").await;
    let grant = grants["items"]
        .as_array()
        .and_then(|items| items.iter().find(|grant| grant["principal"]["id"] == json!(ana)));
    let grant = grant.expect("her grant")["id"].as_str().expect("an id").to_owned();
    let gone = town.platform.call(&town.operator, "DELETE", &format!("/v1/grants/{grant}"), None).await;
    assert_eq!(gone.0, 409, "{}", gone.1);
    let ben = town.member("acme", "ben@acme.example", &["tenant_admin"]).await;
    let (one, other) = (path(&ana, ""), path(&ben, ""));
    let (a, b) = tokio::join!(
        town.platform.call(&town.operator, "DELETE", &one, None),
        town.platform.call(&town.operator, "DELETE", &other, None)
    );
    let mut statuses = [a.0, b.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{} {}", a.1, b.1);
    let left = "SELECT count(*) FROM access.grants g JOIN identity.memberships m ON m.user_id = g.principal_id \
                WHERE g.removed_at IS NULL AND m.status = 'active'";
    assert_eq!(town.platform.ask(left).await, "1", "what the other was granted is taken back");
}

/// The secret text of a key that was just made.
fn text_of(key: &Value) -> String {
    key["key"].as_str().or(key["text"].as_str()).or(key["secret"].as_str()).expect("its text").to_owned()
}

#[tokio::test]
async fn nobody_invites_to_more_than_he_may_give_now_or_at_acceptance() {
    let town = town().await;
    let (_, made) = town.post("/v1/service_accounts?tenant=acme", json!({"name": "inviter"})).await;
    let inviter = json!({"kind": "service_account", "id": made["id"]});
    for role in ["user", "tenant_admin"] {
        let (status, grant) = town
            .post("/v1/grants?tenant=acme", json!({"principal": inviter, "role": role, "reason": "x"}))
            .await;
        assert_eq!(status, 201, "{grant}");
    }
    let (status, key) = town
        .post("/v1/keys?tenant=acme", json!({"name": "k", "owner": inviter, "roles": ["tenant_admin"]}))
        .await;
    assert_eq!(status, 201, "{key}");
    let by_role = text_of(&key);
    let listing = json!({"name": "named", "owner": inviter, "roles": ["tenant_admin"],
        "permissions": ["invitation:create"]});
    let (status, key) = town.post("/v1/keys?tenant=acme", listing).await;
    assert_eq!(status, 201, "{key}");
    let key = text_of(&key);
    refresh(&town.platform).await;
    let invite = |email: &str, role: &str| json!({"email": email, "roles": [role]});
    let call = |body| town.platform.call(&key, "POST", "/v1/invitations", Some(body));
    // A key gives rights over rights only where it lists them by name, whatever its roles.
    let wildcard = Some(invite("eve@acme.example", "developer"));
    assert_eq!(town.platform.call(&by_role, "POST", "/v1/invitations", wildcard).await.0, 403);
    assert_eq!(call(invite("eve@acme.example", "tenant_admin")).await.0, 403);
    let (status, made) = call(invite("eve@acme.example", "developer")).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(
        town.platform
            .call(&key, "POST", "/v1/invitations?tenant=bolt", Some(invite("x@y.zz", "user")))
            .await
            .0,
        404
    );
    assert_eq!(call(invite("x@y.zz", "no_such_role")).await.0, 422);
    let token = town.mailed("invitation", "eve@acme.example").await;
    let grants = town.get("/v1/grants?tenant=acme").await;
    for grant in grants["items"].as_array().expect("items") {
        let path = format!("/v1/grants/{}", grant["id"].as_str().expect("an id"));
        assert_eq!(town.platform.call(&town.operator, "DELETE", &path, None).await.0, 204);
    }
    let (status, refused) = town.accept(&token).await;
    assert_eq!((status, refused["code"].as_str()), (403, Some("access.escalation")), "{refused}");
    assert_eq!(town.platform.ask("SELECT count(*) FROM identity.users").await, "0", "nothing was done");
    refresh(&town.platform).await;
    assert_eq!(call(invite("x@y.zz", "tenant_admin")).await.0, 403);
}

#[tokio::test]
async fn an_invitation_can_be_taken_back_sent_again_and_ends_by_itself() {
    let town = town().await;
    let (_, made) = town.invite("acme", "ana@acme.example", &[]).await;
    let id = made["id"].as_str().expect("an id").to_owned();
    let first = town.mailed("invitation", "ana@acme.example").await;
    let (status, again) = town.post(&format!("/v1/invitations/{id}/resend"), json!({})).await;
    assert_eq!((status, &again["sends"]), (200, &json!(2)), "{again}");
    assert_eq!(town.accept(&first).await.0, 410, "a newer one voids it");
    let second = town.mailed("invitation", "ana@acme.example").await;
    town.platform.hand.advance_us(7 * 24 * 3600 * 1_000_000);
    assert_eq!(town.accept(&second).await.0, 410, "too old");
    assert_eq!(town.get("/v1/invitations?tenant=acme").await["items"][0]["state"], json!("expired"));
    assert_eq!(
        town.platform.call(&town.operator, "DELETE", &format!("/v1/invitations/{id}"), None).await.0,
        204
    );
    assert_eq!(
        town.platform.call(&town.operator, "DELETE", &format!("/v1/invitations/{id}"), None).await.0,
        404
    );
    town.invite("acme", "ana@acme.example", &[]).await;
    let third = town.mailed("invitation", "ana@acme.example").await;
    assert_eq!(town.accept(&third).await.0, 200);
    let (status, member) = town.invite("acme", "ana@acme.example", &[]).await;
    assert_eq!((status, member["code"].as_str()), (409, Some("identity.already_member")), "{member}");
}

#[tokio::test]
async fn the_quota_of_users_bounds_members_and_invitations() {
    let town = town().await;
    town.platform
        .execute("UPDATE tenancy.tenants SET quota_overrides = '{\"users\": \"2\"}' WHERE code = 'acme'")
        .await;
    refresh(&town.platform).await;
    town.member("acme", "ana@acme.example", &[]).await;
    assert_eq!(town.invite("acme", "ben@acme.example", &[]).await.0, 201);
    let (status, full) = town.invite("acme", "cem@acme.example", &[]).await;
    assert_eq!((status, full["code"].as_str()), (429, Some("resources.quota_exceeded")), "{full}");
    let token = town.mailed("invitation", "ben@acme.example").await;
    town.platform
        .execute("UPDATE tenancy.tenants SET quota_overrides = '{\"users\": \"1\"}' WHERE code = 'acme'")
        .await;
    refresh(&town.platform).await;
    assert_eq!(town.accept(&token).await.0, 429, "at both ends");
    assert_eq!(town.platform.ask("SELECT count(*) FROM identity.users").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_counted_as_they_come_and_go() {
    let town = town().await;
    let (_stop, wanted) = watch::channel(false);
    let following = tokio::spawn(rowhouse_control::resources::run(town.platform.control.clone(), wanted));
    let counted = async |number: &str| {
        let is_so = async || {
            let sql = "SELECT level::bigint FROM resources.measurements WHERE meter = 'users' AND level IS NOT NULL \
                       AND tenant_id = '00000000-0000-0000-0000-000000000007'";
            town.platform.ask(sql).await == number
        };
        let mut beat = tokio::time::interval(Duration::from_millis(100));
        let so = async {
            while !is_so().await {
                beat.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), so).await.unwrap_or_else(|_| panic!("never {number}"));
    };
    // Nobody yet: a service with people of its own tells how many.
    let push = async || {
        let path = "/v1/quotas/users/level?tenant=acme";
        town.platform.call(&town.operator, "PUT", path, Some(json!({"level": "9"}))).await
    };
    assert_eq!(push().await.0, 200);
    counted("9").await;
    town.member("acme", "ana@acme.example", &["tenant_admin"]).await;
    counted("1").await;
    let ben = town.member("acme", "ben@acme.example", &["user"]).await;
    town.member("bolt", "cem@bolt.example", &["user"]).await;
    counted("2").await;
    let (status, refused) = push().await;
    assert_eq!((status, refused["code"].as_str()), (409, Some("resources.not_pushed")), "{refused}");
    let told = town.get("/v1/quotas/users/explain?tenant=acme").await;
    assert_eq!(told["usage"]["collector"], "memberships", "{told:#}");
    town.post(&format!("/v1/users/{ben}/suspend?tenant=acme"), json!({})).await;
    counted("2").await;
    town.platform.call(&town.operator, "DELETE", &format!("/v1/users/{ben}?tenant=acme"), None).await;
    counted("1").await;
    following.abort();
}

#[tokio::test]
async fn who_was_removed_can_be_invited_again_and_a_tenant_that_is_erased_leaves_nobody() {
    let town = town().await;
    town.member("acme", "ana@acme.example", &["tenant_admin"]).await;
    let ben = town.member("acme", "ben@acme.example", &["user"]).await;
    let gone =
        town.platform.call(&town.operator, "DELETE", &format!("/v1/users/{ben}?tenant=acme"), None).await;
    assert_eq!((gone.0, &gone.1["status"]), (200, &json!("removed")), "{}", gone.1);
    assert_eq!(town.entry("acme", &ben).await["reasons"], json!(["not_a_member"]));
    town.invite("acme", "ben@acme.example", &["viewer"]).await;
    let token = town.mailed("invitation", "ben@acme.example").await;
    assert_eq!(town.accept_with(json!({ "token": token })).await.1["user"], json!(ben));
    town.invite("bolt", "ben@acme.example", &[]).await;
    let token = town.mailed("invitation", "ben@acme.example").await;
    assert_eq!(town.accept_with(json!({ "token": token })).await.0, 200);
    for round in 0..2 {
        let transaction =
            town.platform.control.store.write(&Permit::for_system(None, "a test")).await.expect("begins");
        let erased = identity::erase_tenant(&transaction, town.acme).await.expect("erased");
        assert_eq!((erased.memberships, erased.users), if round == 0 { (2, 1) } else { (0, 0) });
        transaction.commit_telemetry().await.expect("committed");
    }
    let left = "SELECT string_agg(coalesce(email, '-') || ' ' || full_name || status, ',' ORDER BY email) FROM identity.users";
    assert_eq!(town.platform.ask(left).await, "ben@acme.example Ana Itoactive,- erased", "ben is bolt's too");
    assert_eq!(town.platform.ask("SELECT count(*) FROM identity.invitations WHERE tenant_id = '00000000-0000-0000-0000-000000000007'").await, "0");
}

#[tokio::test]
async fn the_page_of_an_invitation_is_a_form_that_accepts_it() {
    let town = town().await;
    town.invite("acme", "ana@acme.example", &["user"]).await;
    let token = town.mailed("invitation", "ana@acme.example").await;
    let path = format!("/account/invitation?token={token}");
    for _ in 0..2 {
        let (status, page) = town.platform.page("GET", &path, "").await;
        assert!(status == 200 && page.contains(&token), "opening it uses nothing up: {page}");
    }
    let (_, hostile) = town.platform.page("GET", "/account/invitation?token=%22%3E%3Cscript%3E", "").await;
    assert!(!hostile.contains("<script>"), "{hostile}");
    let form = |password: &str| format!("token={token}&full_name=Ana+%3Cb%3E&password={password}");
    let (status, page) = town.platform.page("POST", "/account/invitation", &form("short")).await;
    assert!(status == 422 && page.contains("at least 15 characters") && page.contains(&token), "{page}");
    assert!(page.contains("Ana &lt;b&gt;") && !page.contains("value=\"short\""), "{page}");
    let (status, page) =
        town.platform.page("POST", "/account/invitation", &form("correct+horse+battery+staple")).await;
    assert!(
        status == 200
            && page.contains("You belong to acme inc now.")
            && page.contains("/account/sign_in?tenant=acme"),
        "{page}"
    );
    let (status, page) =
        town.platform.page("POST", "/account/invitation", &form("correct+horse+battery+staple")).await;
    assert!(status == 410 && !page.contains(&token), "{page}");
    // What is used, and what never was, is said at once, and both alike.
    let (status, used) = town.platform.page("GET", &path, "").await;
    assert!(status == 410 && used.contains("/account/sign_in") && !used.contains("<form"), "{used}");
    assert!(!used.contains("acme"), "whose it was is nobody's business: {used}");
    let never = format!("/account/invitation?token={:064x}", 7);
    assert_eq!(town.platform.page("GET", &never, "").await, (410, used));
    for _ in 0..100 {
        town.platform.page("GET", &never, "").await;
    }
    assert_eq!(town.platform.page("GET", &never, "").await.0, 429, "looking is guessing, too");
}

/// Whose number has just been counted, and who joins at that moment: each has what the other will write to, in the other order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_counts_people_and_who_joins_do_not_wait_for_each_other() {
    let town = town().await;
    let platform = &town.platform;
    town.member("acme", "ana@acme.example", &["viewer"]).await;
    assert_eq!(town.invite("acme", "bo@acme.example", &["viewer"]).await.0, 201);
    let token = town.mailed("invitation", "bo@acme.example").await;
    let (mut counting, connection) =
        platform.config.connect(tokio_postgres::NoTls).await.expect("a connection");
    let driver = tokio::spawn(connection);
    let counting = counting.transaction().await.expect("a transaction");
    let held = "UPDATE resources.measurements SET failures = 0 WHERE meter = 'users'";
    assert_ne!(counting.execute(held, &[]).await.expect("nobody has it"), 0);
    let counts = async {
        until_somebody_waits(&town).await;
        let kept = "INSERT INTO resources.samples (tenant_id, meter, minute, at, level, peak) \
                    SELECT tenant_id, meter, now(), now(), 1, 1 FROM resources.measurements WHERE meter = 'users'";
        counting.execute(kept, &[]).await.expect("and is not waited for");
        counting.commit().await.expect("it commits");
    };
    let ((status, told), ()) = tokio::join!(town.accept(&token), counts);
    assert_eq!(status, 200, "{told}");
    driver.abort();
}
