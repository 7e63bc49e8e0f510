//! `down` ends all roles of a data directory, also those that keep nothing there, and `status` names them.

use std::process::Command;

use http::Method;
use serde_json::Value;
use zddcluster_tests::Apart;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn down_finds_every_role_of_the_directory() -> anyhow::Result<()> {
    let mut apart = Apart::new()?;
    let roles = ["master", "first agent", "second agent", "dns", "edge"];
    for role in roles {
        apart.start(role)?;
    }
    apart.agents_are(2).await;
    let app: Value = serde_json::from_str(include_str!("../../../examples/default/base.json"))?;
    apart.send(Method::POST, "/v2/apps", &app).await?;
    apart.tasks_are(4).await;
    apart.names_are(2).await;
    apart.edge_answers().await;

    let output = apart.zddcluster("status")?;
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("5 roles run on their own"), "{said}");
    assert!(!said.contains("left behind"), "{said}");
    for role in roles {
        let pid = format!("(pid {})", apart.running[role].id());
        assert!(said.contains(&pid), "{role}: {said}");
    }
    // A second one at the same place is told who is there.
    let arguments = apart.arguments("dns");
    let second = apart.command(&arguments).output()?;
    assert_eq!(second.status.code(), Some(64), "{second:?}");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        said.contains(&apart.running["dns"].id().to_string()),
        "{said}"
    );
    let arguments = apart.arguments("edge");
    let second = apart.command(&arguments).output()?;
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    let pid = apart.running["edge"].id();
    assert_eq!(second.status.code(), Some(64), "{said}");
    assert!(
        said.contains(&format!("another zddcluster (pid {pid})")),
        "{said}"
    );

    let output = apart.zddcluster("down")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    for (role, child) in &mut apart.running {
        // Ended by the time `down` says so, and in good order.
        let status = child.try_wait()?;
        assert_eq!(
            status.and_then(|status| status.code()),
            Some(0),
            "{role}: {said}"
        );
    }
    assert!(
        said.contains("ended dns at ") && said.contains("ended edge at "),
        "{said}"
    );
    apart.running.clear();
    let output = apart.zddcluster("down")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with("no cluster runs in "), "{said}");

    // Without their master, they are found as well.
    apart.start("dns")?;
    apart.start("edge")?;
    apart.edge_answers().await;
    apart.dns_listens().await;
    let output = apart.zddcluster("down")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("; ended dns at ") && said.contains("; ended edge at "),
        "{said}"
    );
    for (role, child) in &mut apart.running {
        let status = child.try_wait()?;
        assert_eq!(
            status.and_then(|status| status.code()),
            Some(0),
            "{role}: {said}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn down_leaves_a_role_alone_that_was_given_no_directory() -> anyhow::Result<()> {
    let mut apart = Apart::new()?;
    let arguments: Vec<String> = apart.arguments("dns");
    let at = arguments.iter().position(|word| word == "--data-dir");
    let mut arguments = arguments;
    arguments.drain(at.expect("it has one")..);
    let mut command: Command = apart.command(&arguments);
    command.env_remove("ZDD_DATA_DIR");
    let child = apart.spawn("dns", command)?;
    apart.running.insert("dns", child);
    apart.dns_listens().await;
    let output = apart.zddcluster("down")?;
    assert!(output.status.success(), "{output:?}");
    apart.dns_listens().await;
    let child = apart.running.get_mut("dns").expect("it was just put there");
    assert!(child.try_wait()?.is_none());
    Ok(())
}
