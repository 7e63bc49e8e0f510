//! The names of a running cluster, asked for with the real dig.

use std::io::Write as _;
use std::process::Command;

use zddcluster_tests::{ClusterSandbox, Options, eventually};

/// What dig says; `None` if there is no dig here.
fn dig(cluster: &ClusterSandbox, args: &[&str]) -> Option<String> {
    let server = cluster
        .announcement()
        .lines()
        .find_map(|line| line.strip_prefix("DNS "));
    let server = server
        .expect("`up` says where DNS is")
        .split_whitespace()
        .next()
        .unwrap_or_default();
    let (address, port) = server.split_once(':').expect("an address and a port");
    let output = Command::new("dig")
        .arg(format!("@{address}"))
        .args(["-p", port])
        .args(args)
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn dig_shows_the_service_as_in_the_lab() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start_with(Options::args(&["--speed", "20"])).await?;
    cluster
        .dcos_ok(&["marathon", "app", "add", "blue-green/blue.json"], "")
        .await?;
    cluster.settled().await;
    let args = ["_blue-zdd._tcp.marathon.mesos", "SRV"];
    if dig(&cluster, &args).is_none() {
        let _ = writeln!(std::io::stderr(), "skipped: dig is not installed");
        return Ok(());
    }
    let said = eventually("four SRV records", || async {
        let said = dig(&cluster, &args).unwrap_or_default();
        if said.contains("ANSWER: 4") {
            Ok(said)
        } else {
            Err(said)
        }
    })
    .await;
    assert!(said.contains("status: NOERROR"), "{said}");
    assert!(
        said.contains("flags: qr aa rd ra; QUERY: 1, ANSWER: 4, AUTHORITY: 0, ADDITIONAL: 4"),
        "{said}"
    );

    let tasks = cluster.tasks("/zdd/blue").await?;
    for task in &tasks {
        let port = task["ports"][0].to_string();
        let record = said
            .lines()
            .find(|line| line.contains("\tSRV\t") && line.contains(&format!(" {port} ")));
        let record = record.unwrap_or_else(|| panic!("no record with port {port}:\n{said}"));
        let fields: Vec<&str> = record.split_whitespace().collect();
        assert_eq!(
            fields[..4],
            ["_blue-zdd._tcp.marathon.mesos.", "60", "IN", "SRV"]
        );
        assert_eq!(fields[4..6], ["0", "0"]);
        // blue-zdd-<5 characters>-s<agent>.marathon.mesos., with an address in the additional section.
        let target = fields[7];
        let parts: Vec<&str> = target
            .trim_end_matches(".marathon.mesos.")
            .split('-')
            .collect();
        assert_eq!(
            (parts[0], parts[1], parts[2].len(), &parts[3][..1]),
            ("blue", "zdd", 5, "s"),
            "{target}"
        );
        let host = task["host"].as_str().unwrap_or_default();
        assert!(
            said.lines()
                .any(|line| line.starts_with(target) && line.ends_with(&format!("\tA\t{host}"))),
            "{target} has no address {host}:\n{said}"
        );
    }

    let over_tcp = dig(
        &cluster,
        &["+tcp", "+short", "blue-zdd.marathon.mesos", "A"],
    )
    .unwrap_or_default();
    assert_eq!(over_tcp.lines().count(), {
        let mut hosts: Vec<_> = tasks.iter().map(|task| task["host"].to_string()).collect();
        hosts.sort();
        hosts.dedup();
        hosts.len()
    });
    let leader = dig(&cluster, &["+short", "leader.mesos", "A"]).unwrap_or_default();
    assert_eq!(leader.trim(), cluster.host(1).to_string());
    Ok(())
}
