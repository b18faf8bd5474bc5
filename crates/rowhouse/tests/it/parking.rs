//! The parking example through the gateway: from entering a car park to paying, on all four levels of isolation.

use http::Method;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::platform::{Call, Platform, Tenant, text};
use crate::services::{Service, catalog_with, operate, parking, root};

/// A platform with the parking service, and a tenant of each level.
struct Town {
    platform: Platform,
    service: Service,
    tenants: Vec<Tenant>,
}

const LEVELS: [(&str, &str, &str); 4] = [
    ("park-shared", "basic", "shared"),
    ("park-schema", "professional", "schema"),
    ("park-database", "enterprise", "database"),
    ("park-instance", "premium", "instance"),
];

async fn town() -> &'static Town {
    static TOWN: OnceCell<Town> = OnceCell::const_new();
    TOWN.get_or_init(|| async {
        let program = parking().await;
        let applications = format!("{{ parking = {{ program = {:?} }} }}", program.display().to_string());
        let platform = Platform::start_with(&[("ROWHOUSE_DEPLOY__APPLICATIONS", &applications)]).await;
        let service = Service::start(&platform, program).await;
        let catalog = catalog_with("catalog/parking", 9102, service.port);
        operate(&platform, &["apply", "-f", catalog.to_str().expect("text")]).await;
        let tables = root().join("examples/parking/tables");
        operate(&platform, &["tables", "put", "parking", tables.to_str().expect("text")]).await;
        let mut tenants = Vec::new();
        for (code, tier, isolation) in LEVELS {
            tenants.push(platform.tenant(code, tier, isolation).await);
        }
        Town { platform, service, tenants }
    })
    .await
}

impl Town {
    async fn call(&self, tenant: &Tenant, call: Call) -> (u16, Value) {
        let seen = self.platform.gateway(call.tenant(tenant)).await;
        (seen.status, seen.body)
    }

    async fn must(&self, tenant: &Tenant, status: u16, call: Call) -> Value {
        let shown = format!("{} {call:?}", tenant.code);
        let (found, body) = self.call(tenant, call).await;
        assert_eq!(found, status, "{shown}: {body}");
        body
    }

    async fn location(&self, tenant: &Tenant, code: &str, capacity: u32) -> String {
        let body = json!({"code": code, "name": "Market Square", "time_zone": "Europe/Zurich",
            "currency": "CHF", "capacity": capacity});
        let made = self.must(tenant, 201, Call::post("/v1/locations", body)).await;
        let id = text(&made["id"]);
        let tariff = json!({"grace_minutes": 15, "daily_max_minor": 2_000, "steps": [
            {"from_minute": 0, "every_minutes": 30, "price_minor": 150},
            {"from_minute": 120, "every_minutes": 60, "price_minor": 200}]});
        let put = Call::post(&format!("/v1/locations/{id}/tariff"), tariff).method(Method::PUT);
        self.must(tenant, 201, put).await;
        id
    }

    async fn enter(&self, tenant: &Tenant, location: &str, body: Value) -> (u16, Value) {
        self.call(tenant, Call::post(&format!("/v1/locations/{location}/entries"), body)).await
    }
}

fn ago(minutes: i64) -> String {
    let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs() as i64;
    jiff::Timestamp::from_second(now - minutes * 60 + 20).expect("a time").to_string()
}

fn payment(amount_minor: i64, reference: &str) -> Value {
    json!({"amount_minor": amount_minor, "method": "card", "reference": reference})
}

#[tokio::test]
async fn a_car_enters_is_charged_pays_and_leaves_on_every_level() {
    let town = town().await;
    for tenant in &town.tenants {
        let location = town.location(tenant, "market", 2).await;
        // 181 minutes ago: four half hours and two hours that have begun.
        let enter = json!({"plate": "zh 12-34", "entered_at": ago(181), "gate_event": "gate-1"});
        let (status, entered) = town.enter(tenant, &location, enter.clone()).await;
        assert_eq!(status, 201, "{}: {entered}", tenant.code);
        let (again, same) = town.enter(tenant, &location, enter).await;
        assert_eq!((again, &same["id"]), (200, &entered["id"]), "{}", tenant.code);
        let (status, twice) = town.enter(tenant, &location, json!({"plate": "ZH1234"})).await;
        assert_eq!((status, text(&twice["code"])), (409, "parking.already_inside".to_owned()));
        let path = format!("/v1/entries/{}", text(&entered["id"]));
        let stay = town.must(tenant, 200, Call::get(&path)).await;
        assert_eq!((&stay["due_minor"], &stay["currency"]), (&json!(1_000), &json!("CHF")), "{stay}");
        let exit = || Call::post(&format!("{path}/exit"), json!({}));
        let unpaid = town.must(tenant, 402, exit()).await;
        assert_eq!(text(&unpaid["code"]), "parking.payment_due");
        let pay = |minor| Call::post(&format!("{path}/payments"), payment(minor, "terminal-1"));
        assert_eq!(town.must(tenant, 422, pay(999)).await["code"], "parking.wrong_amount");
        let paid = town.must(tenant, 201, pay(1_000)).await;
        let repeated = town.must(tenant, 200, pay(1_000)).await;
        assert_eq!(paid, repeated, "the same reference is the same payment");
        let before = town.must(tenant, 200, Call::get(&format!("/v1/locations/{location}"))).await;
        assert_eq!(before["inside"], 1);
        town.must(tenant, 200, exit()).await;
        assert_eq!(town.must(tenant, 409, exit()).await["code"], "parking.left");
        let after = town.must(tenant, 200, Call::get(&format!("/v1/locations/{location}"))).await;
        assert_eq!(after["inside"], 0, "the trigger counts on {}", tenant.code);
        let takings = town.must(tenant, 200, Call::get("/v1/takings")).await;
        let day = takings["items"]
            .as_array()
            .expect("days")
            .iter()
            .find(|day| day["location"] == location.as_str());
        assert_eq!(day.expect("a day")["amount_minor"], 1_000, "{takings}");
        town.platform.counted(&tenant.code, "transactions", 1).await;
    }
}

#[tokio::test]
async fn a_full_car_park_takes_nobody_and_a_permit_parks_for_nothing() {
    let town = town().await;
    for tenant in &town.tenants {
        let location = town.location(tenant, "garage", 1).await;
        let person = json!({"name": "Ada", "email": format!("ada@{}.example", tenant.code)});
        let person = town.must(tenant, 201, Call::post("/v1/people", person.clone())).await;
        let person = text(&person["id"]);
        let vehicle = Call::post(&format!("/v1/people/{person}/vehicles"), json!({"plate": "BE 7"}));
        town.must(tenant, 201, vehicle).await;
        let permit = json!({"location": location, "kind": "season", "valid_from": ago(60 * 24 * 40),
            "valid_until": ago(-60 * 24)});
        let permit =
            town.must(tenant, 201, Call::post(&format!("/v1/people/{person}/permits"), permit)).await;
        let (status, entered) =
            town.enter(tenant, &location, json!({"plate": "be-7", "entered_at": ago(600)})).await;
        assert_eq!((status, &entered["permit"]), (201, &permit["id"]), "{entered}");
        let (status, full) = town.enter(tenant, &location, json!({"plate": "GE 1"})).await;
        assert_eq!((status, &full["code"]), (409, &json!("parking.full")), "{}: {full}", tenant.code);
        town.must(tenant, 200, Call::post(&format!("/v1/entries/{}/exit", text(&entered["id"])), json!({})))
            .await;
        let (status, _) = town.enter(tenant, &location, json!({"plate": "GE 1"})).await;
        assert_eq!(status, 201, "there is room again");
        let kept = Call::get(&format!("/v1/locations/{location}")).method(Method::DELETE);
        assert_eq!(town.must(tenant, 409, kept).await["code"], "parking.in_use");
        let twin = json!({"name": "Eve", "email": format!("ada@{}.example", tenant.code)});
        let taken = town.must(tenant, 409, Call::post("/v1/people", twin)).await;
        assert_eq!(taken["detail"], "`people_email_key` must be unique.", "one name on all levels");
    }
}

#[tokio::test]
async fn what_is_wrong_is_named_and_nothing_is_kept() {
    let town = town().await;
    for tenant in &town.tenants {
        let location = town.location(tenant, "wrong", 5).await;
        let good = json!({"code": "x", "name": "x", "time_zone": "UTC", "currency": "EUR", "capacity": 1});
        for (field, value, status) in [
            ("code", json!("Not Plain"), 422),
            ("capacity", json!(0), 422),
            ("currency", json!("XXX"), 422),
            ("time_zone", json!("Mars/Olympus"), 422),
            ("name", json!(""), 422),
            ("code", json!("wrong"), 409),
            ("tenant_id", json!("00000000-0000-0000-0000-000000000000"), 422),
        ] {
            let mut body = good.clone();
            body[field] = value;
            let (found, body) = town.call(tenant, Call::post("/v1/locations", body)).await;
            assert_eq!(found, status, "{} {field}: {body}", tenant.code);
        }
        for body in [
            json!({"plate": "--"}),
            json!({"plate": "X", "entered_at": ago(-10)}),
            json!({"plate": "X", "entered_at": ago(60 * 24 * 40)}),
        ] {
            assert_eq!(town.enter(tenant, &location, body.clone()).await.0, 422, "{body}");
        }
        let none = "00000000-0000-7000-8000-000000000000";
        assert_eq!(town.enter(tenant, none, json!({"plate": "X"})).await.0, 404);
        let list = town.must(tenant, 200, Call::get(&format!("/v1/entries?location={location}"))).await;
        assert_eq!(list["items"], json!([]));
    }
}

#[tokio::test]
async fn another_tenant_sees_nothing_and_a_request_past_the_gateway_is_not_believed() {
    let town = town().await;
    for (place, victim) in town.tenants.iter().enumerate() {
        let other = &town.tenants[(place + 1) % town.tenants.len()];
        let location = town.location(victim, "canary", 9).await;
        let (_, entered) =
            town.enter(victim, &location, json!({"plate": "CANARY 1", "entered_at": ago(40)})).await;
        let entry = text(&entered["id"]);
        for call in [
            Call::get(&format!("/v1/locations/{location}")),
            Call::get(&format!("/v1/locations/{location}")).method(Method::DELETE),
            Call::get(&format!("/v1/locations/{location}/tariff")),
            Call::post(&format!("/v1/locations/{location}/entries"), json!({"plate": "X"})),
            Call::get(&format!("/v1/entries/{entry}")),
            Call::post(&format!("/v1/entries/{entry}/exit"), json!({})),
            Call::post(&format!("/v1/entries/{entry}/payments"), payment(300, "stolen")),
        ] {
            let shown = format!("{} asks {call:?}", other.code);
            let (status, body) = town.call(other, call).await;
            assert_eq!(status, 404, "{shown}: {body}");
            assert!(!body.to_string().contains("CANARY"), "{shown}: {body}");
        }
        for path in ["/v1/locations", "/v1/entries?limit=200", "/v1/people", "/v1/takings"] {
            let body = town.must(other, 200, Call::get(path)).await.to_string();
            assert!(!body.contains(&location) && !body.contains(&entry), "{path}: {body}");
        }
        let still = town.must(victim, 200, Call::get(&format!("/v1/entries/{entry}"))).await;
        assert_eq!((&still["exited_at"], &still["paid_minor"]), (&Value::Null, &json!(0)));
    }
    let past = Call::get("/v1/locations");
    for call in [
        past.clone(),
        past.clone().header("rowhouse-context", "forged"),
        past.clone().header("x-tenant-code", "park-shared"),
        past.clone().header("rowhouse-context", "a.b.c").header("rowhouse-context", "a.b.c"),
    ] {
        let seen = town.service.call(call).await.expect("an answer");
        assert_eq!(seen.code(), (401, "identity.no_credentials"));
    }
}

#[tokio::test]
async fn the_number_of_locations_is_reported_and_its_quota_holds() {
    let town = town().await;
    let tenant = town.platform.tenant("park-quota", "basic", "shared").await;
    let mut made = Vec::new();
    for number in 0..5 {
        made.push(town.location(&tenant, &format!("p{number}"), 1).await);
    }
    let body = json!({"code": "sixth", "name": "x", "time_zone": "UTC", "currency": "EUR", "capacity": 1});
    let create = || Call::post("/v1/locations", body.clone());
    town.platform.counted(&tenant.code, "locations", 5).await;
    town.platform.until(403, || create().tenant(&tenant)).await;
    let last = made.pop().expect("five");
    town.must(&tenant, 204, Call::get(&format!("/v1/locations/{last}")).method(Method::DELETE)).await;
    town.platform.until(201, || create().tenant(&tenant)).await;
}
