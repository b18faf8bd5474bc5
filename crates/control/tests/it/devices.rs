//! Browsers that a person trusts are theirs to see and to forget, and nobody else's.

use serde_json::{Value, json};

use crate::organisation::{send, shows};
use crate::people::{Town, refresh, town};
use crate::sign_in::{PASSWORD, code_of};
use crate::visitor::Visitor;

const MAIL: &str = "ana@acme.example";

/// Signs in where it is said that the browser is used again; with what it keeps, if it keeps something.
async fn trusting(town: &Town, name: &str, device: Option<&str>) -> (u16, Value) {
    let flow = town.flow(name, None).await;
    let body = json!({"password": PASSWORD, "trust_device": device.is_none(), "device": device});
    town.nobody(&format!("/v1/sign_in/{flow}/password"), body).await
}

#[tokio::test]
async fn a_browser_that_is_forgotten_is_locked_out_like_any_other() {
    let town = town().await;
    town.member("acme", MAIL, &["user"]).await;
    town.member("acme", "bob@acme.example", &["user"]).await;
    refresh(&town.platform).await;
    let (_, done) = trusting(&town, MAIL, None).await;
    let (_, theirs) = trusting(&town, "bob@acme.example", None).await;
    let kept = done["device"].as_str().expect("a device");
    let list = async |who: &Value| {
        let (status, listed) = town.as_person(who, "GET", "/v1/me/devices", None).await;
        assert_eq!(status, 200, "{listed}");
        listed["items"].as_array().expect("a list").clone()
    };
    let own = list(&done).await;
    assert_eq!(own.len(), 1, "{own:?}");
    let id = own[0]["id"].as_str().expect("an id");
    assert!(id.starts_with("device_") && !kept.contains(&id[7..]), "what is shown opens nothing: {id}");

    // A stranger's tries lock the name and not this browser.
    for _ in 0..10 {
        town.try_password(MAIL, "a guess that is wrong").await;
    }
    assert_eq!(town.try_password(MAIL, PASSWORD).await.0, 401);
    assert_eq!(trusting(&town, MAIL, Some(kept)).await.0, 200);

    // Another person neither sees nor forgets it; nobody does twice.
    let path = format!("/v1/me/devices/{id}");
    assert_ne!(list(&theirs).await[0]["id"], json!(id));
    assert_eq!(code_of(&town.as_person(&theirs, "DELETE", &path, None).await), (404, "api.not_found"));
    assert_eq!(town.as_person(&done, "DELETE", &path, None).await.0, 204);
    assert_eq!(code_of(&town.as_person(&done, "DELETE", &path, None).await), (404, "api.not_found"));
    assert_eq!(list(&done).await, Vec::<Value>::new());
    assert_eq!(trusting(&town, MAIL, Some(kept)).await.0, 401, "it counts with all others now");
    let events = "SELECT count(*) FROM audit.outbox WHERE draft->>'event' = 'identity.device_forgotten'";
    assert_eq!(town.platform.ask(events).await, "1");
    // It is over by itself, too.
    town.platform.hand.advance_us(31 * 24 * 3_600 * 1_000_000);
    let (_, later) = trusting(&town, "bob@acme.example", None).await;
    assert_eq!(list(&later).await.len(), 1);
}

#[tokio::test]
async fn the_account_page_shows_them_and_forgets_one() {
    let town = town().await;
    town.member("acme", MAIL, &["user"]).await;
    refresh(&town.platform).await;
    trusting(&town, MAIL, None).await;
    let mut ana = Visitor::new(&town.platform);
    ana.sign_in(MAIL, PASSWORD).await;
    let seen = ana.get("/account").await;
    shows(&seen, "Browsers that you use again");
    let device = seen.hidden("device");
    let seen = send(&mut ana, "/account", &[("step", "forget"), ("device", &device)]).await;
    shows(&seen, "That browser counts for nothing any more.");
    assert!(!seen.text.contains("Browsers that you use again"), "{}", seen.text);
    let again = send(&mut ana, "/account", &[("step", "forget"), ("device", &device)]).await;
    assert_eq!(again.status, 404, "{}", again.text);
}
