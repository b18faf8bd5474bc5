//! Which route a request finds, and which routes cannot stand beside each other.

use std::collections::BTreeMap;

use super::*;

fn route(name: &str, methods: &[&str], path: &str) -> RouteDefinition {
    RouteDefinition {
        methods: methods.iter().map(|method| (*method).to_owned()).collect(),
        resource_type: Some("stamp".to_owned()),
        ..RouteDefinition::new(name, "stamping", path)
    }
}

fn permissions() -> Permissions {
    let actions = ["read", "create", "update", "delete"].map(str::to_owned).to_vec();
    Permissions::new(&BTreeMap::from([("stamp".to_owned(), actions)])).expect("few")
}

fn table(routes: &[RouteDefinition]) -> Result<RouteTable, TableError> {
    let service = ServiceDefinition::new("stamping", &[]);
    RouteTable::new(routes, &[service], &permissions())
}

fn found(table: &RouteTable, method: &str, path: &str) -> String {
    match table.find(method, path, &Circumstances::unknown()) {
        Match::Found(matched) => {
            assert!(std::ptr::eq(matched.route, &raw const table.routes()[matched.index]));
            matched.route.definition.name.clone()
        }
        Match::OtherMethods(mut methods) => {
            methods.sort_unstable();
            format!("only {}", methods.join(" "))
        }
        Match::Nothing => "nothing".to_owned(),
    }
}

#[test]
fn most_specific_wins_whatever_the_order() {
    let mut routes = vec![
        route("prefix", &[], "/v1/*"),
        route("longer-prefix", &[], "/v1/files/*"),
        route("template", &[], "/v1/stamps/{id}"),
        route("exact", &[], "/v1/stamps/mine"),
        route("deep", &[], "/v1/stamps/{id}/pages/{page}"),
    ];
    for _ in 0..routes.len() {
        routes.rotate_left(1);
        let table = table(&routes).expect("no two are alike");
        for (path, expected) in [
            ("/v1/stamps/mine", "exact"),
            ("/v1/stamps/yours", "template"),
            ("/v1/stamps/yours/pages/2", "deep"),
            ("/v1/stamps/yours/else", "prefix"),
            ("/v1/stamps", "prefix"),
            ("/v1/stamps/", "prefix"),
            ("/v1/files/a/b", "longer-prefix"),
            ("/v1/files/", "longer-prefix"),
            ("/v1/files", "prefix"),
            ("/v1/", "prefix"),
            ("/v1", "nothing"),
            ("/v2/stamps", "nothing"),
        ] {
            assert_eq!(found(&table, "GET", path), expected, "{path}");
        }
    }
}

#[test]
fn methods_choose_among_routes_of_one_path() {
    let routes = [route("read", &["GET", "HEAD"], "/v1/stamps"), route("create", &["POST"], "/v1/stamps")];
    let table = table(&routes).expect("they share no method");
    assert_eq!(found(&table, "GET", "/v1/stamps"), "read");
    assert_eq!(found(&table, "POST", "/v1/stamps"), "create");
    assert_eq!(found(&table, "DELETE", "/v1/stamps"), "only GET HEAD POST");
}

#[test]
fn captures_keep_what_stood_in_the_path() {
    let table = table(&[route("deep", &[], "/v1/stamps/{id}/pages/{page}")]).expect("one route");
    let Match::Found(matched) = table.find("GET", "/v1/stamps/a%2Fb/pages/7", &Circumstances::unknown())
    else {
        panic!("it is there")
    };
    assert_eq!((matched.capture("id"), matched.capture("page")), (Some("a%2Fb"), Some("7")));
    assert_eq!(matched.capture("other"), None);
    assert_eq!(matched.route.endpoint("GET"), "GET /v1/stamps/{id}/pages/{page}");
}

#[test]
fn permissions_come_from_the_route_or_from_the_method() {
    let mut named = route("named", &[], "/named");
    named.permission = Some("stamp:delete".to_owned());
    let mut open = route("open", &[], "/open");
    (open.public, open.resource_type) = (true, None);
    let routes = [route("typed", &[], "/typed"), named, open];
    let table = table(&routes).expect("well-formed");
    let permissions = permissions();
    let needed = |path: &str, method: &str| match table.find(method, path, &Circumstances::unknown()) {
        Match::Found(matched) => matched.route.permission(method).map(|id| permissions.name(id).to_owned()),
        _ => panic!("{path} is there"),
    };
    for (path, method, expected) in [
        ("/typed", "GET", Some("stamp:read")),
        ("/typed", "HEAD", Some("stamp:read")),
        ("/typed", "POST", Some("stamp:create")),
        ("/typed", "PATCH", Some("stamp:update")),
        ("/typed", "DELETE", Some("stamp:delete")),
        ("/typed", "OPTIONS", None),
        ("/named", "GET", Some("stamp:delete")),
        ("/open", "GET", None),
    ] {
        assert_eq!(needed(path, method).as_deref(), expected, "{method} {path}");
    }
}

#[test]
fn equal_routes_are_refused_with_an_example_unless_one_goes_first() {
    let routes = [route("one", &["GET"], "/v1/stamps"), route("two", &[], "/v1/stamps")];
    let conflict = table(&routes).expect_err("both take GET");
    assert!(
        matches!(&conflict, TableError::Conflict { example, .. } if example == "GET /v1/stamps"),
        "{conflict}"
    );
    let mut first = routes.clone();
    first[1].priority = 1;
    assert_eq!(found(&table(&first).expect("one goes first"), "GET", "/v1/stamps"), "two");
    for (one, other, request) in [
        // The same template under other names is the same path.
        ("/v1/{a}", "/v1/{b}", "GET /v1/x"),
        ("/v1/{a}/c", "/v1/b/{d}", "GET /v1/b/c"),
        ("/{a}/b/*", "/a/{b}/*", "GET /a/b/x"),
    ] {
        let error = table(&[route("one", &[], one), route("two", &["GET"], other)]).expect_err(request);
        assert!(matches!(&error, TableError::Conflict { example, .. } if example == request), "{error}");
        let mut first = route("one", &[], one);
        first.priority = 1;
        let ordered = table(&[first, route("two", &["GET"], other)]).expect("one goes first");
        assert_eq!(found(&ordered, "GET", &request[4..]), "one");
    }
}

#[test]
fn a_route_that_takes_the_method_is_found_behind_a_more_literal_one_that_does_not() {
    let table = table(&[route("one", &["POST"], "/v1/a/{b}"), route("two", &["GET"], "/v1/{a}/b")]);
    assert_eq!(found(&table.expect("no method in common"), "GET", "/v1/a/b"), "two");
}

fn when(name: &str, version: &str) -> RouteDefinition {
    let mut own = route(name, &[], "/v1/stamps");
    own.when.headers = [("api-version".to_owned(), version.to_owned())].into();
    own
}

#[test]
fn conditions_choose_among_routes_of_one_path() {
    let plain = route("plain", &[], "/v1/stamps");
    let apart = table(&[plain, when("old", "1"), when("new", "2")]).expect("apart by their conditions");
    for (sent, expected) in [(Some("1"), "old"), (Some("2"), "new"), (Some("3"), "plain"), (None, "plain")] {
        let header = |name: &str| sent.filter(|_| name == "api-version").map(str::as_bytes);
        let given = Circumstances { header: &header, ..Circumstances::unknown() };
        let Match::Found(matched) = apart.find("GET", "/v1/stamps", &given) else { panic!("{sent:?}") };
        assert_eq!(matched.route.definition.name, expected);
    }
    let error = table(&[when("old", "1"), when("any", "*")]).expect_err("both take version 1");
    assert!(
        matches!(&error, TableError::Conflict { example, .. } if example == "GET /v1/stamps with api-version: 1"),
        "{error}"
    );
}

#[test]
fn what_a_route_may_not_change_is_refused_by_its_field() {
    let odd = |change: fn(&mut RouteDefinition)| {
        let mut own = route("odd", &[], "/v1/{a}");
        change(&mut own);
        match table(&[own]) {
            Err(TableError::BadRule { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(odd(|own| drop(own.when.headers.insert("cookie".into(), "*".into()))), "when/headers");
    assert_eq!(odd(|own| own.request.path = Some("/{b}".into())), "request/path");
    assert_eq!(
        odd(|own| drop(own.request.headers.set.insert("rowhouse-context".into(), "x".into()))),
        "request/headers"
    );
    assert_eq!(
        odd(|own| drop(own.answer.headers.add.insert("connection".into(), "x".into()))),
        "answer/headers"
    );
}

#[test]
fn what_cannot_be_compiled_is_named() {
    let with = |change: fn(&mut RouteDefinition)| {
        let mut route = route("odd", &[], "/v1/x");
        change(&mut route);
        table(&[route]).expect_err("cannot be compiled")
    };
    assert!(matches!(with(|r| r.service = "none".into()), TableError::UnknownService { .. }));
    assert!(matches!(
        with(|r| r.permission = Some("stamp:fly".into())),
        TableError::UnknownPermission { .. }
    ));
    assert!(matches!(with(|r| r.resource_type = Some("bird".into())), TableError::UnknownPermission { .. }));
    assert!(matches!(with(|r| r.resource_type = None), TableError::Open { .. }));
    for path in ["", "v1", "/v1/{*rest}", "/v1/*/x", "/v1*", "/v1/{a}{b}", "/{a}/{a}"] {
        let mut bad = route("odd", &[], "/v1/x");
        bad.path = path.to_owned();
        assert!(matches!(table(&[bad]), Err(TableError::BadPath { .. })), "{path}");
    }
    let rule = crate::routes::MeteringRule {
        meter: "stamps".into(),
        quantity: "many".into(),
        count_when: Default::default(),
    };
    let mut counted = route("odd", &[], "/v1/x");
    counted.metering = vec![rule];
    assert!(matches!(table(&[counted]), Err(TableError::BadQuantity { .. })));
}

#[test]
fn a_route_about_a_thing_says_which_in_one_way() {
    let mut about = route("read", &["GET"], "/v1/stamps/{stamp_id}");
    let thing = |kind: &str, from: &str| {
        Some(crate::routes::RouteResource { kind: kind.to_owned(), id_from: from.to_owned() })
    };
    about.resource = thing("stamp", "path.stamp_id");
    let compiled = table(&[about.clone()]).expect("it compiles");
    let asked = |path: &str| match compiled.find("GET", path, &Circumstances::unknown()) {
        Match::Found(matched) => matched.thing().map(|(kind, id)| format!("{kind} {id}")),
        _ => panic!("{path} is not found"),
    };
    assert_eq!(asked("/v1/stamps/a%2Fb"), Some("stamp a/b".to_owned()));
    assert_eq!(asked("/v1/stamps/7"), Some("stamp 7".to_owned()));
    assert_eq!(asked("/v1/stamps/7;x"), None);
    for (kind, from) in [
        ("stamp", "path.other"),
        ("stamp", "stamp_id"),
        ("stamp", "path."),
        ("fly", "path.stamp_id"),
        ("*", "path.stamp_id"),
    ] {
        about.resource = thing(kind, from);
        assert!(matches!(table(&[about.clone()]), Err(TableError::BadResource { .. })), "{kind} {from}");
    }
}
