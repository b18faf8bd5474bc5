//! Finding people: by a part of what they are called, among one tenant's or among all, page by page; and what is seen of how they sign in.

use serde_json::{Value, json};

use crate::people::{Town, refresh, town};
use crate::sign_in::code_now;

const ANA: &str = "ana@acme.example";
const BEN: &str = "ben@acme.example";
const ZOE: &str = "zoe@bolt.example";
const CLEO: &str = "cleo@acme.example";

/// Two who belong to both tenants, and one who belongs to one.
async fn stage() -> Town {
    let town = town().await;
    town.member("acme", ANA, &["user"]).await;
    town.member("acme", BEN, &["user"]).await;
    town.member("bolt", ZOE, &["user"]).await;
    for email in [ANA, BEN] {
        town.joins("bolt", email, &["viewer"]).await;
    }
    for (email, name) in [(ANA, "Ana Ito"), (BEN, "Ben_50% O''Neill\\"), (ZOE, "Zoë ÅNGSTRÖM")] {
        let named = format!("UPDATE identity.users SET full_name = '{name}' WHERE email = '{email}'");
        town.platform.execute(&named).await;
    }
    refresh(&town.platform).await;
    town
}

/// Addresses, in their own order.
fn emails(found: &Value) -> Vec<String> {
    let all = found["items"].as_array().expect("a list").iter();
    let mut all: Vec<String> =
        all.map(|user| user["email"].as_str().expect("an address").to_owned()).collect();
    all.sort_unstable();
    all
}

#[tokio::test]
async fn people_are_found_by_a_part_of_their_name_or_address() {
    let town = stage().await;
    let find = async |q: &str| emails(&town.get(&format!("/v1/users?{q}")).await);
    for (q, found) in [
        ("tenant=acme&q=ANA%20it", &[ANA][..]),
        ("tenant=acme&q=@acme", &[ANA, BEN]),
        ("q=%C3%A5ngstr", &[ZOE]),
        ("q=ana@", &[ANA, ANA]),
        // What means something to the database is a letter here.
        ("tenant=acme&q=%25", &[BEN]),
        ("tenant=acme&q=_50%25", &[BEN]),
        ("tenant=acme&q=o'neill%5C", &[BEN]),
        ("tenant=acme&q=a%25a", &[]),
        ("tenant=acme&q=a_a", &[]),
        ("tenant=acme&q=zoe", &[]),
        ("tenant=acme&q=@acme&status=removed", &[]),
        ("tenant=acme&q=%20%20", &[ANA, BEN]),
    ] {
        assert_eq!(find(q).await, found, "{q}");
    }
    let path = format!("/v1/users?q={}", "x".repeat(201));
    let long = town.platform.call(&town.operator, "GET", &path, None).await;
    assert_eq!((long.0, &long.1["errors"][0]["pointer"]), (422, &json!("/q")), "{}", long.1);
}

#[tokio::test]
async fn a_tenants_administrator_finds_nobody_of_another_tenant() {
    let town = stage().await;
    town.member("acme", "chief@acme.example", &["tenant_admin"]).await;
    refresh(&town.platform).await;
    let chief = town.signed_in("chief@acme.example").await;
    for (q, found) in
        [("zoe", vec![]), ("ben@", vec![BEN]), ("example", vec![ANA, BEN, "chief@acme.example"])]
    {
        let seen = town.as_person(&chief, "GET", &format!("/v1/users?q={q}"), None).await;
        assert_eq!((seen.0, emails(&seen.1)), (200, found.iter().map(ToString::to_string).collect()), "{q}");
    }
    // What is searched is open to nobody but the one function, which sees what its transaction may.
    let open = "SELECT has_table_privilege('rowhouse_app', 'identity.people_texts', 'SELECT')";
    assert_eq!(town.platform.ask(open).await, "f");
}

#[tokio::test]
async fn who_changes_is_found_by_what_they_are_now_and_who_is_erased_by_nothing() {
    let town = stage().await;
    let find = async |q: &str| emails(&town.get(&format!("/v1/users?tenant=bolt&q={q}")).await).len();
    assert_eq!(find("zoe").await, 1);
    let change = "UPDATE identity.users SET full_name = 'Zoe', email = 'new@bolt.example', email_key = 'new@bolt.example' \
                  WHERE email = 'zoe@bolt.example'";
    town.platform.execute(change).await;
    assert_eq!((find("zoe@bolt").await, find("new@bolt").await, find("zoe").await), (0, 1, 1));
    let erase = "UPDATE identity.users SET full_name = '', email = NULL, email_key = NULL, status = 'erased' \
                 WHERE email = 'new@bolt.example'";
    town.platform.execute(erase).await;
    assert_eq!((find("new@bolt").await, find("zoe").await), (0, 0));
    let left = "SELECT count(*) FROM identity.people_texts WHERE text LIKE '%zoe%' OR text LIKE '%new@%'";
    assert_eq!(town.platform.ask(left).await, "0");
}

#[tokio::test]
async fn every_membership_is_on_one_page_and_only_one() {
    let town = stage().await;
    let (all, limits) = (town.get("/v1/users").await, [1, 2, 3]);
    let key = |user: &Value| (user["id"].to_string(), user["tenant"].to_string());
    let wanted: Vec<_> = all["items"].as_array().expect("a list").iter().map(key).collect();
    assert_eq!(wanted.len(), 5);
    for (limit, q) in limits.into_iter().flat_map(|limit| [(limit, ""), (limit, "&q=example")]) {
        let (mut seen, mut next) = (Vec::new(), String::new());
        loop {
            let page = town.get(&format!("/v1/users?limit={limit}{q}{next}")).await;
            let items = page["items"].as_array().expect("a list");
            assert!(items.len() <= limit);
            seen.extend(items.iter().map(key));
            match page["next_cursor"].as_str() {
                Some(cursor) => next = format!("&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(seen, wanted, "{limit}{q}");
    }
}

#[tokio::test]
async fn what_somebody_signs_in_with_and_whether_it_is_locked_is_seen() {
    let town = stage().await;
    town.member("acme", CLEO, &["user"]).await;
    let of = async || town.get("/v1/users?tenant=acme&q=cleo").await["items"][0].clone();
    let before = of().await;
    assert_eq!(
        (&before["mfa_enabled"], &before["factors"], &before["locked"], &before["locked_until"]),
        (&json!(false), &json!([]), &json!(false), &Value::Null),
        "{before}"
    );
    assert_eq!(before["roles"], json!(["user"]), "{before}");
    refresh(&town.platform).await;
    let cleo = town.signed_in(CLEO).await;
    let begun = town.as_person(&cleo, "POST", "/v1/me/factors/totp", Some(json!({}))).await;
    let secret = begun.1["secret"].as_str().expect("a secret").to_owned();
    // What is not confirmed is no factor yet.
    assert_eq!(of().await["factors"], json!([]));
    let code = code_now(&town, &secret);
    let body = json!({ "factor": begun.1["factor"], "code": code });
    let done = town.as_person(&cleo, "POST", "/v1/me/factors/totp/confirm", Some(body)).await;
    assert_eq!(done.0, 200, "{}", done.1);
    let with = of().await;
    assert_eq!((&with["mfa_enabled"], &with["factors"]), (&json!(true), &json!(["totp"])), "{with}");
    for _ in 0..10 {
        town.try_password(CLEO, "not the password").await;
    }
    let locked = of().await;
    assert!(locked["locked"] == true && locked["locked_until"].is_string(), "{locked}");
    let id = locked["id"].as_str().expect("an id");
    assert_eq!(town.post(&format!("/v1/users/{id}/unlock?tenant=acme"), json!({})).await.0, 204);
    assert_eq!(of().await["locked"], false);
    // A role that is denied, over or taken back is none.
    let grant = json!({ "principal": { "kind": "user", "id": id }, "role": "viewer", "effect": "deny" });
    assert_eq!(town.post("/v1/grants?tenant=acme", grant).await.0, 201);
    assert_eq!(of().await["roles"], json!(["user"]));
}
