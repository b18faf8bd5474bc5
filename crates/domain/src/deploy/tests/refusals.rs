//! Each refusal, and what it says.

use super::*;

fn refused(change: impl FnOnce(&mut Fleet)) -> String {
    let mut fleet = whole();
    change(&mut fleet);
    render(&fleet, Format::Yaml).expect_err("refused").to_string()
}

#[test]
fn what_a_cluster_would_not_take_is_refused_before() {
    let list = |text: &str| vec![text.to_owned()];
    let table: Vec<(String, &str)> = vec![
        (refused(|fleet| fleet.product = "Rowhouse".into()), "the product `Rowhouse` cannot name an object"),
        (refused(|fleet| fleet.product = "a".repeat(29)), "28 lower-case letters"),
        (refused(|fleet| fleet.environment = "prod-".into()), "the environment `prod-`"),
        (refused(|fleet| fleet.workloads[0].name = "1st".into()), "the service `1st`"),
        (refused(|fleet| fleet.workloads[0].name = "rowhouse-control".into()), "two things would be named"),
        (refused(|fleet| fleet.workloads[1].name = "parking".into()), "two things would be named `parking`"),
        (refused(|fleet| fleet.image = "rowhouse".into()), "Rowhouse: `rowhouse` does not say which image"),
        (
            refused(|fleet| fleet.workloads[0].image = "x/y:latest".into()),
            "the service `parking`: `x/y:latest`",
        ),
        (refused(|fleet| fleet.pod_security_version = "latest".into()), "is `latest`; it is a fixed version"),
        (refused(|fleet| fleet.gateway.replicas = 1), "deploy.kubernetes.gateways is 1; it may be 2 to 100"),
        (
            refused(|fleet| fleet.gateway.first = 99),
            "the number of the last gateway is 100; it may be 1 to 99",
        ),
        (refused(|fleet| fleet.workloads[0].replicas = 0), "replicas of the service `parking` is 0"),
        (refused(|fleet| fleet.workloads[0].port = 80), "the port of the service `parking` is 80"),
        (
            refused(|fleet| fleet.control.size.cpu = Cpu::millis(2_001)),
            "the control plane asks for more cpu (2001m)",
        ),
        (refused(|fleet| fleet.gateway.size.memory = Bytes::gib(5)), "a gateway asks for more memory (5Gi)"),
        (
            refused(|fleet| fleet.control.storage = Bytes::new(5)),
            "deploy.kubernetes.control_storage (MiB) is 0",
        ),
        (
            refused(|fleet| fleet.control.catalog = "x".repeat(CONFIG_MAP_BYTES_MAX)),
            "a ConfigMap takes 1048576",
        ),
        (refused(|fleet| fleet.networks.egress = list("10.0.0.1/8")), "is no network"),
        (
            refused(|fleet| fleet.networks.clients = list("all")),
            "deploy.kubernetes.clients: `all` is no network",
        ),
        (refused(|fleet| fleet.networks.egress = list("0.0.0.0/0")), "holds link-local addresses"),
        (refused(|fleet| fleet.networks.egress = list("::/0")), "holds link-local addresses"),
        (refused(|fleet| fleet.networks.database.networks = list("169.254.169.254/32")), "database_networks"),
        (refused(|fleet| fleet.networks.store.networks = list("::ffff:a9fe:a9fe/128")), "store_networks"),
        (refused(|fleet| fleet.networks.monitoring_namespace = Some("A".into())), "the namespace `A`"),
    ];
    for (said, expected) in table {
        assert!(said.contains(expected), "{said}\nlacks: {expected}");
    }
}

#[test]
fn variables_are_not_overridden_and_hold_no_secrets() {
    for (name, expected) in [
        ("ISOLATION_LEVEL", "is set by the fleet"),
        ("A-B", "is no name of a variable"),
        ("STRIPE_API_KEY", "looks like a secret"),
        ("database_url", "looks like a secret"),
    ] {
        let said = refused(|fleet| {
            fleet.workloads[0].env.insert(name.to_owned(), "x".to_owned());
        });
        assert!(said.contains(expected) && said.contains(name), "{said}");
    }
}

#[test]
fn an_image_says_which_one() {
    let digest = format!("rowhouse@sha256:{}", "0a".repeat(32));
    for good in ["rowhouse:1", "registry:5000/a/rowhouse:0.1.0", &digest, &format!("r.io/{digest}")] {
        assert!(is_image_exact(good), "{good}");
    }
    for bad in [
        "",
        "rowhouse",
        "registry:5000/rowhouse",
        "rowhouse:latest",
        "rowhouse:",
        ":1",
        "a b:1",
        "a@sha256:12",
        "a:b:c",
    ] {
        assert!(!is_image_exact(bad), "{bad}");
    }
}

/// The documents' own numbers: five pods of 4 CPU and 8 Gi fill a quota of 20 CPU and 40 Gi to the last byte, so that no update
/// could begin.
#[test]
fn the_quota_must_fit_the_rollout() {
    let with = |hard: &[(&str, &str)]| {
        let mut fleet = plain();
        fleet.quota = hard.iter().map(|(name, most)| ((*name).to_owned(), (*most).to_owned())).collect();
        quota::plan(&fleet, &fleet.quota)
    };
    // 3 of our own pods and 20 of the services', 26 while they are replaced; 2 CPU and 4 Gi at most each.
    assert_eq!(with(&[]), Ok(quota::Rollout::Surge));
    assert_eq!(
        with(&[("limits.cpu", "58"), ("limits.memory", "116Gi"), ("pods", "29")]),
        Ok(quota::Rollout::Surge)
    );
    assert_eq!(with(&[("limits.cpu", "57999m")]), Ok(quota::Rollout::InPlace));
    assert_eq!(with(&[("pods", "23"), ("limits.cpu", "46")]), Ok(quota::Rollout::InPlace));
    let said =
        with(&[("pods", "22"), ("limits.memory", "40Gi"), ("requests.cpu", "100")]).expect_err("too small");
    let said = said.to_string();
    for expected in [
        "pods: 22 allowed; 23 needed with one pod missing at a time, 29 without",
        "limits.memory: 40Gi allowed; 92Gi needed with one pod missing at a time, 116Gi without",
    ] {
        assert!(said.contains(expected), "{said}");
    }
    assert!(!said.contains("requests.cpu"), "{said}");
    assert_eq!(
        with(&[("requests.storage", "90Gi"), ("persistentvolumeclaims", "3"), ("services", "4")]),
        Ok(quota::Rollout::Surge)
    );
    for (name, most, expected) in [
        ("nvidia.com/gpu", "1", "none of the resources"),
        ("pods", "many", "no whole number"),
        ("limits.cpu", "lots", "`lots` is not of the form"),
    ] {
        let said = with(&[(name, most)]).expect_err("refused").to_string();
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_fleet_that_fits_only_so_is_rolled_out_in_place() {
    let mut fleet = plain();
    fleet.quota.insert("pods".to_owned(), "23".to_owned());
    let files = render(&fleet, Format::Yaml).expect("it fits");
    let text = &files.last().expect("a service").text;
    assert!(text.contains("maxSurge: 0\n") && text.contains("maxUnavailable: 1\n"), "{text}");
    assert!(files[0].text.contains("kind: ResourceQuota"), "{}", files[0].text);
}

#[test]
fn releases_have_names_of_their_own() {
    assert_eq!(workload_name("parking", None), "parking");
    assert_eq!(workload_name("park.ing_x", Some("2.1.0-enterprise")), "park-ing-x-2-1-0-enterprise");
}
