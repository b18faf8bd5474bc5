//! Codes by text message, through a provider that is called over HTTP: they work once, and nobody has us send many.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rowhouse_control::messages::{Post, PostSettings, SmsBody, SmsSettings, TransportSettings};
use rowhouse_domain::messages::Address;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::people::{Town, refresh, town};
use crate::provider::read;
use crate::sign_in::{PASSWORD, code_of};

const MAIL: &str = "ana@acme.example";
const NUMBER: &str = "+49 151 23456789";

/// A provider of text messages, which keeps what it is sent.
struct Texts {
    url: String,
    taken: Arc<Mutex<Vec<(String, Value)>>>,
    status: Arc<Mutex<u16>>,
}

impl Texts {
    async fn start() -> Texts {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/send", listener.local_addr().expect("an address"));
        let texts = Texts { url, taken: Arc::default(), status: Arc::new(Mutex::new(200)) };
        let (taken, status) = (texts.taken.clone(), texts.status.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let asked = read(&mut stream).await;
                let status = *status.lock().expect("no panic while held");
                let (head, body) = asked.split_once("\r\n\r\n").unwrap_or_default();
                let body = serde_json::from_str(body).unwrap_or_default();
                taken.lock().expect("no panic while held").push((head.to_lowercase(), body));
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        texts
    }

    fn answers(&self, status: u16) {
        *self.status.lock().expect("no panic while held") = status;
    }

    fn count(&self) -> usize {
        self.taken.lock().expect("no panic while held").len()
    }

    fn last(&self) -> (String, Value) {
        self.taken.lock().expect("no panic while held").last().cloned().expect("a text")
    }
}

/// A town whose messages leave by `texts` too; the tenant takes codes of German numbers.
async fn town_with(texts: &Texts) -> Town {
    let mut town = town().await;
    let folder = town.platform.mail_folder();
    let sms = SmsSettings {
        url: texts.url.clone(),
        authorization: Some("Bearer word".to_owned()),
        body: r#"{"to":"{to}","text":"{text}","ref":"{id}"}"#.to_owned(),
        kind: SmsBody::Json,
        timeout: Duration::from_secs(30),
        countries: vec!["+49".to_owned(), "+41".to_owned()],
        hourly_max: 200,
    };
    let post = Post::open(PostSettings {
        transport: TransportSettings::Folder(folder),
        from: Address::parse("hello@rowhouse.example").expect("an address"),
        reply_to: None,
        brand: "Rowhouse".to_owned(),
        templates: None,
        operators: vec![Address::parse("ops@rowhouse.example").expect("an address")],
        sms: Some(sms),
    });
    let control = Arc::get_mut(&mut town.platform.control).expect("nobody else has it yet");
    control.messages = post.expect("opened");
    town
}

fn takes_texts() -> Value {
    json!({"mfa": "optional", "factors": ["totp", "email_code", "sms_code"], "sms": {"countries": ["+49"], "monthly_max": 1000}})
}

async fn send_due(town: &Town) {
    while rowhouse_control::messages::turn(&town.platform.control).await.expect("a turn") {}
}

/// The code of the last text.
async fn texted(town: &Town, texts: &Texts) -> String {
    send_due(town).await;
    let (_, body) = texts.last();
    body["text"].as_str().expect("a text").chars().take(6).collect()
}

fn later(town: &Town, seconds: i64) {
    town.platform.hand.advance_us(seconds * 1_000_000);
}

/// Somebody of acme, signed in, who has a number.
async fn with_number(town: &Town, texts: &Texts) -> (Value, String, Vec<Value>) {
    town.member("acme", MAIL, &[]).await;
    assert_eq!(town.policy("acme", takes_texts()).await.0, 200);
    refresh(&town.platform).await;
    let done = town.signed_in(MAIL).await;
    let (status, begun) =
        town.as_person(&done, "POST", "/v1/me/factors/sms", Some(json!({"number": NUMBER}))).await;
    assert_eq!((status, &begun["to"]), (202, &json!("+49…6789")), "{begun}");
    let factor = begun["factor"].as_str().expect("an id").to_owned();
    let body = json!({"factor": factor, "code": texted(town, texts).await});
    let (status, codes) = town.as_person(&done, "POST", "/v1/me/factors/sms/confirm", Some(body)).await;
    assert_eq!(status, 200, "{codes}");
    (done, factor, codes["recovery_codes"].as_array().expect("codes").clone())
}

async fn at_factor(town: &Town) -> (String, Value) {
    // Tries of the password are not what is told of here.
    town.platform.execute("DELETE FROM identity.throttles WHERE consecutive > 0").await;
    let flow = town.flow(MAIL, None).await;
    let (status, step) =
        town.nobody(&format!("/v1/sign_in/{flow}/password"), json!({"password": PASSWORD})).await;
    assert_eq!((status, &step["state"]), (200, &json!("second_factor")), "{step}");
    (flow, step)
}

async fn ask(town: &Town, flow: &str) -> (u16, Value) {
    town.nobody(&format!("/v1/sign_in/{flow}/code?by=sms_code"), json!({})).await
}

async fn show(town: &Town, flow: &str, factor: &str, code: &str) -> (u16, Value) {
    town.nobody(&format!("/v1/sign_in/{flow}/factor"), json!({"factor": factor, "code": code})).await
}

#[tokio::test]
async fn a_number_is_proven_and_its_codes_let_in_once() {
    let texts = Texts::start().await;
    let town = town_with(&texts).await;
    let (_, _, codes) = with_number(&town, &texts).await;
    assert_eq!(codes.len(), 10, "recovery codes come with the first factor");
    let (head, body) = texts.last();
    assert_eq!(body["to"], "+4915123456789");
    assert!(head.contains("authorization: bearer word"), "{head}");
    assert!(head.contains(&format!("idempotency-key: {}", body["ref"].as_str().expect("an id"))), "{head}");
    later(&town, 31);
    let (flow, step) = at_factor(&town).await;
    assert_eq!(step["factors"][0]["factor"], "sms_code", "{step}");
    assert!(step["factors"][0]["label"].as_str().is_some_and(|label| label.ends_with("+49…6789")), "{step}");
    assert_eq!(ask(&town, &flow).await.0, 202);
    assert_eq!(
        code_of(&ask(&town, &flow).await),
        (429, "identity.too_many_attempts"),
        "half a minute between two"
    );
    let code = texted(&town, &texts).await;
    // It is for one sign-in, and no code of another kind.
    let (other, _) = at_factor(&town).await;
    assert_eq!(code_of(&show(&town, &other, "sms_code", &code).await), (401, "identity.code_wrong"));
    let (status, entered) = show(&town, &flow, "sms_code", &code).await;
    assert_eq!((status, &entered["assurance"]), (200, &json!(2)), "{entered}");
    assert_eq!(show(&town, &flow, "sms_code", &code).await.0, 410);
    // A mailed code is not a texted one.
    later(&town, 31);
    let (flow, _) = at_factor(&town).await;
    assert_eq!(ask(&town, &flow).await.0, 202);
    let code = texted(&town, &texts).await;
    assert_eq!(code_of(&show(&town, &flow, "email_code", &code).await), (401, "identity.code_wrong"));
    // A new one voids it.
    later(&town, 31);
    assert_eq!(ask(&town, &flow).await.0, 202);
    assert_eq!(code_of(&show(&town, &flow, "sms_code", &code).await), (401, "identity.code_wrong"));
    // Five guesses end the sign-in, and ten minutes do.
    let code = texted(&town, &texts).await;
    for _ in 0..3 {
        show(&town, &flow, "sms_code", "no code").await;
    }
    assert_eq!(show(&town, &flow, "sms_code", &code).await.0, 410);
    later(&town, 31);
    let (flow, _) = at_factor(&town).await;
    assert_eq!(ask(&town, &flow).await.0, 202);
    let code = texted(&town, &texts).await;
    later(&town, 10 * 60);
    assert_eq!(show(&town, &flow, "sms_code", &code).await.0, 410);
    // Nowhere in the database stands a number or a code.
    let kept = "SELECT count(*) FROM identity.factors f, messages.messages m WHERE f::text LIKE '%23456789%' OR m::text LIKE '%23456789%'";
    assert_eq!(town.platform.ask(kept).await, "0");
}

#[tokio::test]
async fn a_number_is_asked_for_before_the_account_is_changed() {
    let texts = Texts::start().await;
    let town = town_with(&texts).await;
    let (_, factor, codes) = with_number(&town, &texts).await;
    later(&town, 11 * 60);
    let flow = town.flow(MAIL, None).await;
    town.nobody(&format!("/v1/sign_in/{flow}/password"), json!({"password": PASSWORD})).await;
    let (status, done) = show(&town, &flow, "recovery_code", codes[0].as_str().expect("a code")).await;
    assert_eq!(status, 200, "{done}");
    later(&town, 11 * 60);
    let (_, done) = town.refreshed(&done["refresh_token"]).await;
    let add = async || {
        let body = json!({"number": "+49 160 11112222"});
        town.as_person(&done, "POST", "/v1/me/factors/sms", Some(body)).await
    };
    assert_eq!(code_of(&add().await), (401, "identity.step_up_required"));
    let weak = json!({"password": PASSWORD});
    let weak = town.as_person(&done, "POST", "/v1/me/step_up", Some(weak)).await;
    assert_eq!(code_of(&weak), (409, "identity.factor_wrong_state"), "less than what the person owns");
    let path = "/v1/me/step_up/code?by=sms_code";
    assert_eq!(town.as_person(&done, "POST", path, None).await.0, 202);
    let code = texted(&town, &texts).await;
    let raise = |code: &str| json!({ "sms_code": code });
    let wrong = if code == "000000" { "000001" } else { "000000" };
    let missed = town.as_person(&done, "POST", "/v1/me/step_up", Some(raise(wrong))).await;
    assert_eq!(code_of(&missed), (401, "identity.code_wrong"));
    let late = town.as_person(&done, "POST", "/v1/me/step_up", Some(raise(&code))).await;
    assert_eq!(code_of(&late), (401, "identity.code_wrong"), "one answer");
    later(&town, 31);
    assert_eq!(town.as_person(&done, "POST", path, None).await.0, 202);
    let code = texted(&town, &texts).await;
    let (status, raised) = town.as_person(&done, "POST", "/v1/me/step_up", Some(raise(&code))).await;
    assert_eq!(status, 200, "{raised}");
    // Another number takes its place once it is proven, and not before.
    let body = json!({"number": "+49 160 11112222"});
    let (status, begun) = town.as_person(&raised, "POST", "/v1/me/factors/sms", Some(body)).await;
    assert_eq!(status, 202, "{begun}");
    let labels = async || {
        let (_, all) = town.as_person(&raised, "GET", "/v1/me/factors", None).await;
        let own = all["items"].as_array().expect("a list").clone();
        own.iter().map(|row| format!("{} {}", row["label"], row["state"])).collect::<Vec<_>>()
    };
    assert_eq!(labels().await, ["\"+49…6789\" \"active\"", "\"+49…2222\" \"pending\""]);
    let body = json!({"factor": begun["factor"], "code": texted(&town, &texts).await});
    let (status, told) =
        town.as_person(&raised, "POST", "/v1/me/factors/sms/confirm", Some(body.clone())).await;
    assert_eq!((status, &told["recovery_codes"]), (200, &json!([])), "{told}");
    let again = town.as_person(&raised, "POST", "/v1/me/factors/sms/confirm", Some(body)).await;
    assert_eq!(code_of(&again), (401, "identity.code_wrong"), "once");
    assert_eq!(labels().await, ["\"+49…2222\" \"active\""]);
    let gone = town.as_person(&raised, "DELETE", &format!("/v1/me/factors/{factor}"), None).await;
    assert_eq!(gone.0, 404, "{}", gone.1);
}

#[tokio::test]
async fn texts_are_refused_where_nobody_named_the_country_or_the_tenant_takes_none() {
    let texts = Texts::start().await;
    let town = town_with(&texts).await;
    town.member("acme", MAIL, &[]).await;
    refresh(&town.platform).await;
    let done = town.signed_in(MAIL).await;
    let add = async |number: &str| {
        town.as_person(&done, "POST", "/v1/me/factors/sms", Some(json!({"number": number}))).await
    };
    assert_eq!(code_of(&add(NUMBER).await), (409, "identity.factor_wrong_state"), "the default takes none");
    let only = json!({"mfa": "required", "factors": ["sms_code"], "sms": {"countries": ["+49"]}});
    assert_eq!(town.policy("acme", only).await.0, 422, "texts alone are not enough");
    let odd = json!({"factors": ["totp", "sms_code"], "sms": {"countries": ["49"]}});
    assert_eq!(town.policy("acme", odd).await.0, 422);
    assert_eq!(town.policy("acme", takes_texts()).await.0, 200);
    for (number, status, code) in [
        ("0151 23456789", 422, "api.invalid"),
        ("+41 79 1234567", 409, "identity.factor_wrong_state"),
        ("+1 900 1234567", 409, "identity.factor_wrong_state"),
    ] {
        assert_eq!(code_of(&add(number).await), (status, code), "{number}");
    }
    send_due(&town).await;
    assert_eq!(texts.count(), 0);
    // A number counts for nothing once no tenant takes it, and shuts nobody out.
    let (status, begun) = add(NUMBER).await;
    assert_eq!(status, 202, "{begun}");
    let body = json!({"factor": begun["factor"], "code": texted(&town, &texts).await});
    assert_eq!(town.as_person(&done, "POST", "/v1/me/factors/sms/confirm", Some(body)).await.0, 200);
    at_factor(&town).await;
    town.platform
        .execute("UPDATE identity.sign_in_policies SET policy = jsonb_set(policy, '{factors}', '[\"totp\"]')")
        .await;
    town.signed_in(MAIL).await;
}

#[tokio::test]
async fn nobody_has_many_texts_sent() {
    let texts = Texts::start().await;
    let town = town_with(&texts).await;
    with_number(&town, &texts).await;
    // Five an hour to one number, whoever asks.
    for _ in 0..4 {
        later(&town, 31);
        let (flow, _) = at_factor(&town).await;
        assert_eq!(ask(&town, &flow).await.0, 202);
    }
    later(&town, 31);
    let (flow, _) = at_factor(&town).await;
    assert_eq!(code_of(&ask(&town, &flow).await), (429, "identity.too_many_attempts"));
    send_due(&town).await;
    assert_eq!(texts.count(), 5);
    // Ten a day to one person.
    let mut sent = 5;
    for _ in 0..12 {
        later(&town, 21 * 60);
        let (flow, _) = at_factor(&town).await;
        sent += usize::from(ask(&town, &flow).await.0 == 202);
    }
    assert_eq!(sent, 10);
    // A tenant's budget.
    later(&town, 25 * 3_600);
    let budget = "UPDATE identity.sign_in_policies SET policy = jsonb_set(policy, '{sms,monthly_max}', '11')";
    town.platform.execute(budget).await;
    for expected in [202, 429] {
        let (flow, _) = at_factor(&town).await;
        assert_eq!(ask(&town, &flow).await.0, expected);
        later(&town, 31);
    }
    // Where hardly any code is shown, a country is closed for an hour, and the operator told once.
    let budget =
        "UPDATE identity.sign_in_policies SET policy = jsonb_set(policy, '{sms,monthly_max}', '1000')";
    town.platform.execute(budget).await;
    let now = town.platform.control.clock().now();
    let pumped = format!(
        "INSERT INTO identity.texts (text_id, tenant_id, beginning, sent_at) \
         SELECT gen_random_uuid(), '{}', '+49', '{now}'::timestamptz - interval '3 minutes' FROM generate_series(1, 60)",
        town.acme.0
    );
    town.platform.execute(&pumped).await;
    later(&town, 3_600);
    let (flow, _) = at_factor(&town).await;
    assert_eq!(ask(&town, &flow).await.0, 202, "the newest is more than an hour old");
    later(&town, 5 * 60);
    let (flow, _) = at_factor(&town).await;
    assert_eq!(code_of(&ask(&town, &flow).await), (429, "identity.too_many_attempts"));
    let told =
        "SELECT count(*) FROM messages.messages WHERE template = 'security_alert' AND key LIKE 'texts/%'";
    assert_eq!(town.platform.ask(told).await, "1");
    // The hour counts from when it was closed, and what it was closed for closes it no more.
    later(&town, 3_600);
    for _ in 0..2 {
        let (flow, _) = at_factor(&town).await;
        assert_eq!(ask(&town, &flow).await.0, 202);
        later(&town, 3 * 60);
    }
}

#[tokio::test]
async fn what_one_tenants_people_do_closes_a_country_to_nobody_else() {
    let texts = Texts::start().await;
    let town = town_with(&texts).await;
    with_number(&town, &texts).await;
    let unread = async |tenants: u32, of_each: u32| {
        let now = town.platform.control.clock().now();
        let rows = format!(
            "INSERT INTO identity.texts (text_id, tenant_id, beginning, sent_at) SELECT gen_random_uuid(), t.id, '+49', \
             '{now}'::timestamptz - interval '3 minutes' FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, {tenants})) AS t, \
             generate_series(1, {of_each})"
        );
        town.platform.execute(&rows).await;
    };
    let asked = async || {
        later(&town, 31);
        let (flow, _) = at_factor(&town).await;
        ask(&town, &flow).await.0
    };
    unread(1, 200).await;
    assert_eq!((asked().await, asked().await), (202, 202), "one other tenant's are its own affair");
    unread(5, 10).await;
    assert_eq!((asked().await, asked().await), (202, 429), "those of many are everybody's");
    later(&town, 3_600);
    assert_eq!((asked().await, asked().await), (202, 202), "for an hour");
}

#[tokio::test]
async fn a_provider_that_is_away_is_asked_again_and_one_that_refuses_is_not() {
    let texts = Texts::start().await;
    let town = town_with(&texts).await;
    with_number(&town, &texts).await;
    let state = "SELECT state || ' ' || attempts FROM messages.messages WHERE template = 'sms_code' ORDER BY message_id DESC LIMIT 1";
    texts.answers(503);
    later(&town, 31);
    let (flow, _) = at_factor(&town).await;
    assert_eq!(ask(&town, &flow).await.0, 202);
    send_due(&town).await;
    assert_eq!(town.platform.ask(state).await, "queued 1");
    let (_, first) = texts.last();
    texts.answers(200);
    later(&town, 120);
    let code = texted(&town, &texts).await;
    assert_eq!(town.platform.ask(state).await, "sent 2");
    assert_eq!(texts.last().1["ref"], first["ref"], "the same to the provider");
    assert_eq!(show(&town, &flow, "sms_code", &code).await.0, 200);
    // What is refused for good is left for a person; what is too late is not sent at all.
    texts.answers(422);
    later(&town, 31);
    let (flow, _) = at_factor(&town).await;
    assert_eq!(ask(&town, &flow).await.0, 202);
    send_due(&town).await;
    assert_eq!(town.platform.ask(state).await, "failed 1");
    texts.answers(503);
    later(&town, 31);
    assert_eq!(ask(&town, &flow).await.0, 202);
    send_due(&town).await;
    later(&town, 11 * 60);
    let before = texts.count();
    send_due(&town).await;
    assert_eq!((town.platform.ask(state).await.as_str(), texts.count()), ("suppressed 2", before));
}
