use std::collections::BTreeMap;

use async_trait::async_trait;
use zddcluster_model::agent::{CheckEnd, LaunchTask};
use zddcluster_model::{AgentId, AppId, Timestamp};

use super::*;
use crate::containerizer::Owner;
use crate::usage::Usage;

/// A launch that never comes to an end, as one that pulls from a registry that answers nothing.
#[derive(Debug)]
struct Stuck;

#[async_trait]
impl Containerizer for Stuck {
    fn name(&self) -> &'static str {
        "stuck"
    }

    async fn prepare(&self, _: &Order) -> Result<Option<Owner>, LaunchError> {
        Ok(None)
    }

    async fn launch(&self, _: &Order) -> Result<(), LaunchError> {
        std::future::pending().await
    }

    async fn recover(&self, _: &Order) -> io::Result<Recovered> {
        Ok(Recovered::NeverStarted)
    }

    async fn addresses(&self, _: &Order) -> Addresses {
        Addresses::OfAgent
    }

    async fn wait(&self, _: &Order) -> Exit {
        std::future::pending().await
    }

    async fn kill(&self, _: &Order, _: KillSignal) -> io::Result<()> {
        Ok(())
    }

    async fn check(&self, _: &Order, _: &str, _: Duration) -> io::Result<CheckEnd> {
        Ok(CheckEnd::TimedOut)
    }

    async fn usage(&self, _: &Order) -> io::Result<Usage> {
        Ok(Usage::default())
    }

    async fn clean(&self, _: &Order) {}
}

fn order(directory: &std::path::Path) -> Order {
    let launch = LaunchTask {
        task_id: TaskId::new("stuck.1"),
        app_id: AppId::absolute("/stuck"),
        app_version: Timestamp::ZERO,
        framework_id: "M-0000".to_owned(),
        agent_id: AgentId::new("M-S1"),
        container_id: "1".to_owned(),
        cmd: None,
        args: None,
        user: None,
        container: None,
        network_name: None,
        env: BTreeMap::new(),
        cpus: 0.1,
        mem: 32.0,
        disk: 0.0,
        ports: Vec::new(),
        fetch: Vec::new(),
        volumes: Vec::new(),
        grace_millis: 3000,
    };
    Order {
        launch,
        sandbox: directory.join("sandbox"),
        task_dir: directory.join("tasks/stuck.1"),
        volumes: "/agent/volumes".into(),
        container_name: "mesos-M-S1.1".to_owned(),
        ip: "127.0.0.1".to_owned(),
        boot_id: None,
    }
}

#[tokio::test]
async fn a_launch_that_is_stuck_can_be_killed() {
    let directory = tempfile::tempdir().unwrap();
    let (kill, killed) = watch::channel(None);
    let (sender, mut news) = mpsc::channel(4);
    let driver = Driver {
        order: Arc::new(order(directory.path())),
        containerizer: Arc::new(Stuck),
        fetcher: Fetcher::new(directory.path().join("fetch")),
        kill: killed,
        news: sender,
    };
    let kills = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        kill.send_replace(Some(KillOrder::now(Duration::from_secs(3))));
    };
    let ends = tokio::time::timeout(Duration::from_secs(30), driver.run(Origin::Ordered));
    let (ended, ()) = tokio::join!(ends, kills);
    ended.unwrap();
    let (_, News::Ended(Exit::NotStarted { message })) = news.recv().await.unwrap() else {
        panic!("it did not end");
    };
    assert_eq!(message, "Task killed before it was launched");
}
