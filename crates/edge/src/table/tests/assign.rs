use super::*;

/// An app whose task `id.1` is at `ip`, and that names no service port.
fn own(id: &str, ip: &str, ports: &[u16]) -> Value {
    let ports: Vec<_> = ports.iter().map(|port| json!({"number": port})).collect();
    json!({
        "id": id, "ports": [], "labels": {"HAPROXY_GROUP": "external"},
        "ipAddress": {"discovery": {"ports": ports}},
        "tasks": [{"id": format!("{}.1", &id[1..]), "host": "10.0.3.192", "ports": [],
            "ipAddresses": [{"ipAddress": ip}], "state": "TASK_RUNNING"}],
    })
}

fn in_range(apps: Value, range: RangeInclusive<u16>) -> World {
    World {
        assignable: Some(range),
        ..world(apps)
    }
}

#[test]
fn who_names_no_port_is_given_one_if_there_is_a_range() {
    // contract: lb-own-address-ports
    let apps = json!([
        own("/a", "9.0.0.1", &[80, 443]),
        own("/b", "9.0.0.2", &[80])
    ]);
    assert_eq!(world(apps.clone()).shown(), [""; 0]);
    let expected = [
        "10105: b_10105[9_0_0_2_80]",
        "10126: a_10126[9_0_0_1_443]",
        "10141: a_10141[9_0_0_1_80]",
    ];
    assert_eq!(in_range(apps.clone(), 10101..=10150).shown(), expected);
    // The order of the apps is of no account, nor are those that name a port, as long as it is another one.
    let [a, b] = [&apps[0], &apps[1]];
    let other = app("/0", 10101, json!([task("0", 1)]));
    let more = in_range(json!([other, b, a]), 10101..=10150).shown();
    assert_eq!(more[1..], expected);
    // Labels go by the number of the port.
    let mut labelled = a.clone();
    labelled["labels"]["HAPROXY_0_PORT"] = json!("10000");
    labelled["labels"]["HAPROXY_1_GROUP"] = json!("");
    let labelled = in_range(json!([labelled]), 10101..=10150).shown();
    assert_eq!(labelled, ["10000: a_10000[9_0_0_1_80]"]);
    // A container's ports count where nothing is to be found.
    let mut mapped = own("/b", "9.0.0.2", &[]);
    mapped["container"] =
        json!({"docker": {"network": "USER", "portMappings": [{"containerPort": 80}]}});
    let mapped = in_range(json!([mapped]), 10101..=10150).shown();
    assert_eq!(mapped, ["10105: b_10105[9_0_0_2_80]"]);
}

#[test]
fn numbers_that_are_taken_lead_on_to_the_next() {
    // contract: lb-own-address-ports
    let ports = |apps: &Value, range: RangeInclusive<u16>| {
        let (table, warnings) = in_range(apps.clone(), range).build();
        let ports: Vec<_> = table.ports.keys().copied().collect();
        (ports, warnings.len())
    };
    // By a definition, and by a label; round the end.
    let definition = app("/x", 10105, json!([]));
    let mut label = app("/y", 1, json!([]));
    label["labels"]["HAPROXY_0_PORT"] = json!("10106");
    let apps = json!([own("/b", "9.0.0.2", &[80]), definition, label]);
    assert_eq!(ports(&apps, 10101..=10150), (vec![10107], 0));
    let apps = json!([own("/b", "9.0.0.2", &[80, 81, 82, 83])]);
    assert_eq!(ports(&apps, 20000..=20003), ((20000..=20003).collect(), 0));
    // The edge's own are nobody's, and what is left over has none and is told.
    assert_eq!(ports(&apps, 9089..=9092), (vec![9089, 9092], 1));
}
