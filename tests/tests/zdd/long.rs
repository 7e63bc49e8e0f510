//! A swap waits for requests that take long.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::Request;
use serde_json::json;
use tokio::task::JoinSet;
use zddcluster_tests::load::Load;
use zddcluster_tests::{ClusterSandbox, eventually};

use crate::{cluster, sizes, zdd_ok};

/// How long a request takes at least: longer than a swap that waits for nothing.
const LONG_MS: u64 = 4_000;
/// And at most, on a machine with much to do.
const LIMIT: Duration = Duration::from_secs(40);

/// How many numbers `/_haproxy_getpids` lists.
async fn n_pids(cluster: &ClusterSandbox) -> anyhow::Result<usize> {
    let url = format!("http://{}:9090/_haproxy_getpids", cluster.host(2));
    let answer = cluster
        .http()
        .send(Request::get(&url).body(Bytes::new())?, LIMIT)
        .await?;
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    Ok(text.split_whitespace().count())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_waits_for_long_requests_and_shows_it() -> anyhow::Result<()> {
    // contract: lb-zdd-long, lb-pids
    let cluster = cluster().await?;
    let app = |version: &str| {
        let app = json!({
            "id": "/zdd/long", "cmd": format!("exec '{}'", env!("CARGO_BIN_EXE_origin")), "instances": 4,
            "cpus": 0.1, "mem": 32, "portDefinitions": [{"port": 10_080}],
            "env": {"VERSION": version},
            "healthChecks": [{"protocol": "HTTP", "path": "/health", "intervalSeconds": 2, "timeoutSeconds": 60}],
            "labels": {"HAPROXY_GROUP": "external"},
        });
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), app.to_string())?;
        anyhow::Ok(file)
    };
    let (old, new) = (app("old")?, app("new")?);
    let path = |file: &tempfile::NamedTempFile| file.path().display().to_string();
    zdd_ok(&cluster, &path(&old), &[]).await?;
    cluster.settled().await;
    let service = format!("http://{}:10080", cluster.host(2));
    let request = |path: &str| Request::get(format!("{service}{path}")).body(Bytes::new());
    eventually("the service answers", || async {
        let request = request("/get/1").map_err(|error| error.to_string())?;
        let answer = cluster.http().send(request, LIMIT).await;
        let answer = answer.map_err(|error| format!("{error:?}"))?;
        match answer.status().is_success() {
            true => Ok(()),
            false => Err(answer.status().to_string()),
        }
    })
    .await;

    // One on each old task, whichever is the first to drain.
    let mut long = JoinSet::new();
    for n in 0..4 {
        let (http, request) = (
            cluster.http().clone(),
            request(&format!("/wait/{LONG_MS}/{n}"))?,
        );
        long.spawn(async move { http.send(request, LIMIT).await });
    }
    let load = Load::start((cluster.host(2), 10_080).into(), 200.0);
    let path = path(&new);
    let mut swap = Box::pin(zdd_ok(&cluster, &path, &[]));
    let pids = async {
        eventually("an old task that drains and is in use", || async {
            match n_pids(&cluster).await {
                Ok(3) => Ok(()),
                seen => Err(format!("{seen:?}")),
            }
        })
        .await;
        let mut n_looks = 0;
        while long.len() == 4 {
            let n = n_pids(&cluster).await?;
            // One that has ended in between may have been the one.
            if let Some(answer) = long.try_join_next() {
                return anyhow::Ok((n_looks, answer));
            }
            ensure!(n == 3, "{n} pids with a request on a task that drains");
            n_looks += 1;
        }
        unreachable!("it only ends with an answer")
    };
    let (n_looks, first) = tokio::select! {
        // Cancel-safe: it goes on below.
        swapped = &mut swap => anyhow::bail!("it did not wait: {}", swapped?),
        looked = pids => looked?,
    };
    assert!(n_looks > 0);
    let mut answers = vec![first];
    while let Some(answer) = long.join_next().await {
        answers.push(answer);
    }
    for answer in answers {
        let answer = answer?.context("a long request")?;
        assert_eq!(answer.headers()["x-version"], "old");
    }
    swap.await?;
    let report = load.stop().await;
    assert_eq!(report.total().failed, 0, "{}", report.table());
    assert_eq!(sizes(&cluster).await?, ["/zdd/long-green 4"]);
    assert_eq!(n_pids(&cluster).await?, 1);
    Ok(())
}
