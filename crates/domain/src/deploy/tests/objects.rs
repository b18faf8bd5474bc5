//! What must be true of all objects, whatever is rendered.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

fn of_kind<'a>(all: &'a [Value], kind: &str) -> Vec<&'a Value> {
    all.iter().filter(|own| own["kind"] == kind).collect()
}

fn name(own: &Value) -> &str {
    own["metadata"]["name"].as_str().expect("a name")
}

/// Pods' templates, by the name of what makes them.
fn templates(all: &[Value]) -> Vec<(&str, &Value)> {
    let makers = all.iter().filter(|own| own["kind"] == "Deployment" || own["kind"] == "StatefulSet");
    makers.map(|own| (name(own), &own["spec"]["template"])).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Whether labels have all that a selector asks for.
fn selects(selector: &Value, labels: &Value) -> bool {
    let equal =
        selector["matchLabels"].as_object().into_iter().flatten().all(|(key, value)| labels[key] == *value);
    let within = list(&selector["matchExpressions"]).iter().all(|asked| {
        let key = asked["key"].as_str().expect("a key");
        assert_eq!(asked["operator"], "In");
        list(&asked["values"]).contains(&labels[key])
    });
    equal && within
}

fn ports_of(template: &Value) -> BTreeSet<(String, u64)> {
    let ports = list(&template["spec"]["containers"][0]["ports"]).iter();
    ports
        .map(|own| {
            (own["name"].as_str().expect("a name").to_owned(), own["containerPort"].as_u64().expect("a port"))
        })
        .collect()
}

#[test]
fn each_object_stands_once_and_says_whose_it_is() {
    for fleet in [plain(), whole()] {
        let all = objects_of(&fleet);
        let mut seen = BTreeSet::new();
        for own in &all {
            assert!(seen.insert((own["kind"].to_string(), name(own).to_owned())), "{own}");
            assert_eq!(own["metadata"]["labels"]["app.kubernetes.io/managed-by"], "rowhouse", "{own}");
            if own["kind"] != "Namespace" {
                assert_eq!(own["metadata"]["namespace"], "rowhouse-production", "{own}");
            }
        }
    }
}

#[test]
fn the_namespace_is_restricted() {
    let all = objects_of(&plain());
    let labels = &of_kind(&all, "Namespace")[0]["metadata"]["labels"];
    assert_eq!(
        (&labels["environment"], &labels["tenant-isolation"]),
        (&json!("production"), &json!("enabled"))
    );
    for mode in ["enforce", "audit", "warn"] {
        assert_eq!(labels[format!("pod-security.kubernetes.io/{mode}")], "restricted");
        assert_eq!(labels[format!("pod-security.kubernetes.io/{mode}-version")], "v1.37");
    }
}

/// The Pod Security Standards' `restricted`, and what they don't ask for.
#[test]
fn pods_are_restricted() {
    for (of, template) in templates(&objects_of(&whole())) {
        let spec = &template["spec"];
        let context = &spec["securityContext"];
        assert_eq!((&context["runAsNonRoot"], &context["runAsUser"]), (&json!(true), &json!(10_001)), "{of}");
        assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault", "{of}");
        assert_eq!(
            (&spec["automountServiceAccountToken"], &spec["enableServiceLinks"]),
            (&json!(false), &json!(false))
        );
        for key in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(spec.get(key).is_none(), "{of}");
        }
        for container in list(&spec["containers"]) {
            let own = &container["securityContext"];
            let expected = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                "privileged": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true});
            assert_eq!(*own, expected, "{of}");
            assert!(is_image_exact(container["image"].as_str().expect("text")), "{of}");
            for (bound, key) in
                [("requests", "cpu"), ("requests", "memory"), ("limits", "cpu"), ("limits", "memory")]
            {
                assert!(container["resources"][bound][key].is_string(), "{of}: {bound}.{key}");
            }
            assert!(
                list(&container["volumeMounts"]).iter().any(|mount| mount["mountPath"] == "/tmp"),
                "{of}"
            );
        }
        for volume in list(&spec["volumes"]) {
            let kinds: Vec<_> =
                volume.as_object().expect("a volume").keys().filter(|key| *key != "name").collect();
            assert!(["configMap", "emptyDir", "secret"].contains(&kinds[0].as_str()), "{of}: {kinds:?}");
        }
        let mut volumes: BTreeSet<_> =
            list(&spec["volumes"]).iter().map(|own| own["name"].clone().to_string()).collect();
        if spec["containers"][0]["volumeMounts"][0]["name"] == "data" {
            volumes.insert("\"data\"".to_owned());
        }
        let mounts = list(&spec["containers"][0]["volumeMounts"]).iter().map(|own| own["name"].to_string());
        assert_eq!(volumes, mounts.collect(), "{of}: each volume is mounted, and each mount has one");
    }
}

#[test]
fn selectors_find_their_pods_and_no_others() {
    for fleet in [plain(), whole()] {
        let all = objects_of(&fleet);
        let templates = templates(&all);
        for kind in ["Deployment", "StatefulSet", "PodDisruptionBudget"] {
            for own in of_kind(&all, kind) {
                let found: Vec<_> = templates
                    .iter()
                    .filter(|(_, template)| {
                        selects(&own["spec"]["selector"], &template["metadata"]["labels"])
                    })
                    .map(|(of, _)| *of)
                    .collect();
                assert_eq!(found, [name(own)], "{kind}");
            }
        }
        for own in of_kind(&all, "Service") {
            let selector = json!({"matchLabels": own["spec"]["selector"]});
            let found: Vec<_> =
                templates.iter().filter(|(_, one)| selects(&selector, &one["metadata"]["labels"])).collect();
            let [(of, template)] = found[..] else { panic!("{found:?}") };
            assert_eq!(*of, name(own));
            let named: BTreeSet<String> = ports_of(template).into_iter().map(|(name, _)| name).collect();
            for port in list(&own["spec"]["ports"]) {
                let target = port["targetPort"].as_str().expect("by name");
                assert!(named.contains(target), "{of}: no port {target}");
            }
        }
    }
}

#[test]
fn probes_ask_ports_that_are_there_at_the_times_of_the_default() {
    let all = objects_of(&whole());
    let templates = templates(&all);
    for (of, template) in &templates {
        let ports = ports_of(template);
        let container = &template["spec"]["containers"][0];
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            let Some(probe) = container.get(probe) else { continue };
            let ask =
                ["httpGet", "tcpSocket", "grpc"].iter().find_map(|kind| probe.get(*kind)).expect("one way");
            let is_there = ports.iter().any(|(name, port)| ask["port"] == **name || ask["port"] == *port);
            assert!(is_there, "{of}: {probe}");
        }
    }
    let of = |wanted: &str| {
        let (_, template) = templates.iter().find(|(of, _)| *of == wanted).expect("rendered");
        template["spec"]["containers"][0].clone()
    };
    let (delayed, told) = (of("parking"), of("stamping"));
    let times = |probe: &Value| (probe["initialDelaySeconds"].as_u64(), probe["periodSeconds"].as_u64());
    assert_eq!(times(&delayed["livenessProbe"]), (Some(30), Some(10)));
    assert_eq!(times(&delayed["readinessProbe"]), (Some(5), Some(5)));
    assert_eq!((times(&told["livenessProbe"]), delayed.get("startupProbe")), ((None, Some(10)), None));
    assert_eq!(told["startupProbe"]["httpGet"]["path"], "/s");
    let own = of("rowhouse-gateway");
    let paths =
        ["startupProbe", "livenessProbe", "readinessProbe"].map(|probe| own[probe]["httpGet"].clone());
    let admin = |path: &str| json!({"path": path, "port": "admin"});
    assert_eq!(paths, [admin("/health/live"), admin("/health/live"), admin("/health/ready")]);
    assert!(
        of("mail")["livenessProbe"]["grpc"].is_object()
            && of("raw")["livenessProbe"]["tcpSocket"].is_object()
    );
}

#[test]
fn services_are_told_how_tenants_are_kept_apart() {
    let all = objects_of(&whole());
    for own in of_kind(&all, "Deployment") {
        let container = &own["spec"]["template"]["spec"]["containers"][0];
        let value = |name: &str| {
            list(&container["env"]).iter().find(|own| own["name"] == name).map(|own| own["value"].clone())
        };
        assert_eq!(value("TENANT_RESOLUTION_MODE"), Some(json!("multi-tenant")));
        assert_eq!(value("DATABASE_MODE"), Some(json!("multi-tenant")));
        assert_eq!(value("ISOLATION_LEVEL"), Some(json!("shared")));
        assert_eq!(
            value("LOG"),
            Some(json!("info $$(HOME)")),
            "nothing is replaced in what the operator wrote"
        );
        assert_eq!(own["spec"]["replicas"], 10);
        assert_eq!(own["spec"]["strategy"]["rollingUpdate"], json!({"maxSurge": 3, "maxUnavailable": 0}));
        assert_eq!(container["resources"]["requests"], json!({"cpu": "500m", "memory": "1Gi"}));
        assert_eq!(container["resources"]["limits"], json!({"cpu": "2", "memory": "4Gi"}));
    }
}

#[test]
fn a_gateway_is_a_node_by_the_name_of_its_pod() {
    let all = objects_of(&whole());
    let sets = of_kind(&all, "StatefulSet");
    let gateway = sets.iter().find(|own| name(own) == "rowhouse-gateway").expect("rendered");
    let env = &gateway["spec"]["template"]["spec"]["containers"][0]["env"];
    let of = |name: &str| list(env).iter().find(|own| own["name"] == name).expect("set").clone();
    assert_eq!(of("ROWHOUSE_SERVER__NODE")["valueFrom"]["fieldRef"]["fieldPath"], "metadata.name");
    assert_eq!(
        of("ROWHOUSE_GATEWAY__ENROLMENT_FILE")["value"],
        "/etc/rowhouse-enrolment/$(ROWHOUSE_SERVER__NODE)"
    );
    let place = |name: &str| list(env).iter().position(|own| own["name"] == name);
    assert!(
        place("ROWHOUSE_SERVER__NODE") < place("ROWHOUSE_GATEWAY__ENROLMENT_FILE"),
        "read before it is used"
    );
    assert_eq!(whole().nodes(), ["rowhouse-gateway-0", "rowhouse-gateway-1"]);
    assert!(gateway["spec"].get("ordinals").is_none());
    let mut later = whole();
    later.gateway.first = 7;
    assert_eq!(later.nodes(), ["rowhouse-gateway-7", "rowhouse-gateway-8"]);
    let made = objects_of(&later);
    let ordinals: Vec<_> =
        of_kind(&made, "StatefulSet").iter().map(|own| own["spec"]["ordinals"].clone()).collect();
    assert_eq!(ordinals, [Value::Null, json!({"start": 7})], "the control plane is not counted");
}

/// What may talk to what, worked out from the policies alone for all pairs of pods.
#[test]
fn the_policies_let_through_what_is_meant_and_nothing_else() {
    let all = objects_of(&whole());
    let templates = templates(&all);
    let mut open = BTreeSet::new();
    for (from, source) in &templates {
        for (to, target) in &templates {
            for (_, port) in ports_of(target) {
                if goes(&all, &source["metadata"]["labels"], &target["metadata"]["labels"], port) {
                    open.insert(format!("{from} -> {to}:{port}"));
                }
            }
        }
    }
    let expected = [
        "mail -> rowhouse-control:8081",
        "parking -> rowhouse-control:8081",
        "raw -> rowhouse-control:8081",
        "rowhouse-gateway -> mail:9000",
        "rowhouse-gateway -> parking:8080",
        "rowhouse-gateway -> raw:9001",
        "rowhouse-gateway -> rowhouse-control:8083",
        "rowhouse-gateway -> stamping:8080",
        "stamping -> rowhouse-control:8081",
    ];
    assert_eq!(open.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

/// Whether a connection is let out and let in. As the API defines it: a pod that a policy selects in a direction may do what one
/// of those policies says, and nothing else.
fn goes(all: &[Value], source: &Value, target: &Value, port: u64) -> bool {
    let one_way = |kind: &str, rules: &str, peers: &str, own: &Value, other: &Value| {
        let policies = of_kind(all, "NetworkPolicy");
        let mine: Vec<_> = policies
            .into_iter()
            .filter(|policy| selects(&policy["spec"]["podSelector"], own))
            .filter(|policy| list(&policy["spec"]["policyTypes"]).contains(&json!(kind)))
            .collect();
        let allowed = mine.iter().flat_map(|policy| list(&policy["spec"][rules])).any(|rule| {
            let at_port =
                list(&rule["ports"]).iter().any(|own| own["port"] == port && own["protocol"] == "TCP");
            let with = rule.get(peers).is_none_or(|whom| {
                list(whom).iter().any(|peer| {
                    peer.get("namespaceSelector").is_none()
                        && peer.get("podSelector").is_some_and(|selector| selects(selector, other))
                })
            });
            at_port && with
        });
        mine.is_empty() || allowed
    };
    one_way("Egress", "egress", "to", source, target) && one_way("Ingress", "ingress", "from", target, source)
}

#[test]
fn nobody_is_let_out_by_default_and_anywhere_leaves_private_networks_out() {
    let blocks = |fleet: &Fleet| {
        let all = objects_of(fleet);
        let mut found = Vec::new();
        for policy in of_kind(&all, "NetworkPolicy") {
            for rule in list(&policy["spec"]["egress"]) {
                found.extend(list(&rule["to"]).iter().filter_map(|to| to.get("ipBlock").cloned()));
            }
        }
        found
    };
    assert_eq!(blocks(&plain()), Vec::<Value>::new());
    let open: Vec<_> = blocks(&whole()).into_iter().filter(|own| own["cidr"] == "0.0.0.0/0").collect();
    assert_eq!(open.len(), 5, "control plane and four services");
    for own in open {
        for private in ["10.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16", "172.16.0.0/12"] {
            assert!(list(&own["except"]).contains(&json!(private)), "{own}");
        }
    }
}

#[test]
fn dns_is_asked_over_udp_and_tcp() {
    let all = objects_of(&plain());
    let policies = of_kind(&all, "NetworkPolicy");
    let dns = policies.iter().find(|own| name(own) == "dns").expect("rendered");
    let ports = json!([{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]);
    assert_eq!(dns["spec"]["egress"][0]["ports"], ports);
    assert_eq!(dns["spec"]["policyTypes"], json!(["Egress"]), "coming in stays closed");
    let deny = policies.iter().find(|own| name(own) == "default-deny").expect("rendered");
    assert_eq!(deny["spec"], json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}));
}

#[test]
fn settings_are_immutable_and_a_change_has_another_name() {
    let (one, mut changed) = (plain(), plain());
    changed.gateway.settings.push_str("drain = \"5s\"\n");
    let names = |fleet: &Fleet| {
        let all = objects_of(fleet);
        let maps = of_kind(&all, "ConfigMap");
        assert!(maps.iter().all(|own| own["immutable"] == true));
        maps.iter().map(|own| name(own).to_owned()).collect::<Vec<_>>()
    };
    let (before, after) = (names(&one), names(&changed));
    assert_eq!((before.len(), &before[0]), (2, &after[0]));
    assert_ne!(before[1], after[1]);
    for (of, template) in
        templates(&objects_of(&changed)).into_iter().filter(|(of, _)| of.starts_with("rowhouse-"))
    {
        let settings =
            list(&template["spec"]["volumes"]).iter().find(|own| own["name"] == "settings").expect("mounted");
        assert!(after.contains(&settings["configMap"]["name"].as_str().expect("a name").to_owned()), "{of}");
    }
}

#[test]
fn secrets_are_named_and_never_written() {
    for fleet in [plain(), whole()] {
        let all = objects_of(&fleet);
        assert!(of_kind(&all, "Secret").is_empty());
        let mut named = BTreeSet::new();
        for (_, template) in templates(&all) {
            let spec = &template["spec"];
            named
                .extend(list(&spec["volumes"]).iter().filter_map(|own| own["secret"]["secretName"].as_str()));
            named.extend(list(&spec["imagePullSecrets"]).iter().filter_map(|own| own["name"].as_str()));
            let container = &spec["containers"][0];
            let env = list(&container["env"]).iter();
            named.extend(env.filter_map(|own| own["valueFrom"]["secretKeyRef"]["name"].as_str()));
            named.extend(
                list(&container["envFrom"]).iter().filter_map(|own| own["secretRef"]["name"].as_str()),
            );
        }
        let named: BTreeSet<String> = named.into_iter().map(str::to_owned).collect();
        let told: BTreeSet<String> = fleet.secrets().into_iter().map(|own| own.name).collect();
        assert_eq!(named, told, "the operator is told of each");
    }
}

#[test]
fn equal_input_gives_equal_bytes_and_every_file_bears_the_mark() {
    let files = render(&whole(), Format::Kustomize).expect("good");
    assert_eq!(files, render(&whole(), Format::Kustomize).expect("good"));
    assert!(files.iter().all(|file| file.text.starts_with(MARK) && file.text.ends_with('\n')));
    let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names.first(), Some(&"00-namespace.yaml"));
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(names, sorted, "files are applied in the order of their names");
    let listed = &files.last().expect("the last").text;
    assert!(names[..names.len() - 1].iter().all(|name| listed.contains(&format!("\"{name}\""))), "{listed}");
    let plain = render(&whole(), Format::Yaml).expect("good");
    assert_eq!(plain[..], files[..files.len() - 1]);
}
