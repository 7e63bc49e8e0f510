//! Deployments that first bring files into the artifact store.

use std::collections::BTreeMap;

use serde_json::json;
use zddcluster_model::AppId;
use zddcluster_model::deployment::Download;

use super::app;
use crate::effect::{Answer, Attempt, DownloadOrder, Effect};
use crate::input::{Command, Input, Origin};
use crate::script::{Script, read};

/// Creates `/a`, whose one file is not in the store yet.
fn create(script: &mut Script) -> DownloadOrder {
    let download = Download {
        url: "http://files/x.tgz".to_owned(),
        path: "0/x.tgz".to_owned(),
    };
    let app_id = AppId::absolute("/a");
    let origin = Origin {
        client_ip: "127.0.0.1".to_owned(),
        uri: "/v2/apps".to_owned(),
    };
    let create = Command::CreateApp {
        update: read(&app(json!({ "instances": 1 }))),
        force: false,
        origin,
    };
    let answer = script.command(Command::WithDownloads {
        downloads: BTreeMap::from([(app_id, vec![download])]),
        command: Box::new(create),
    });
    assert!(
        matches!(answer, Ok(Answer::Deployment { .. })),
        "{answer:?}"
    );
    ordered(script)
}

/// The one download that was ordered since the last look.
fn ordered(script: &mut Script) -> DownloadOrder {
    let mut orders: Vec<DownloadOrder> = std::mem::take(&mut script.effects)
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Download(order) => Some(order),
            _ => None,
        })
        .collect();
    assert_eq!(orders.len(), 1, "{orders:?}");
    orders.remove(0)
}

/// The downloads that were called off since the last look.
fn called_off(script: &Script) -> Vec<Attempt> {
    let effects = script.effects.iter();
    effects
        .filter_map(|effect| match effect {
            Effect::StopDownload(attempt) => Some(*attempt),
            _ => None,
        })
        .collect()
}

fn end(script: &mut Script, order: &DownloadOrder, result: Result<(), String>) {
    script.step(Input::Downloaded {
        deployment_id: order.deployment_id.clone(),
        app_id: order.app_id.clone(),
        attempt: order.attempt,
        result,
    });
}

#[test]
fn nothing_is_launched_before_the_files_are_there() {
    // contract: plan-resolve
    let mut script = Script::new();
    let order = create(&mut script);
    assert_eq!(order.downloads[0].path, "0/x.tgz");
    assert_eq!(
        script
            .events()
            .iter()
            .filter(|name| **name == "deployment_info")
            .count(),
        1
    );
    // Also a master that starts anew has them brought.
    script.restart_master();
    assert_eq!(ordered(&mut script), order);
    assert_eq!(script.show("/a"), "");
    script.events();
    end(&mut script, &order, Ok(()));
    script.run_staged();
    let steps = |events: &[&str]| {
        events
            .iter()
            .filter(|name| **name == "deployment_step_success")
            .count()
    };
    assert_eq!(steps(&script.events()), 3);
    assert_eq!(script.show("/a"), "1 new RUNNING");
    // What comes late changes nothing.
    end(&mut script, &order, Err("late".to_owned()));
    assert_eq!(script.events(), Vec::<&str>::new());
}

#[test]
fn a_download_that_fails_fails_its_deployment() {
    let mut script = Script::new();
    let order = create(&mut script);
    script.events();
    end(&mut script, &order, Err("404".to_owned()));
    let events = script.events();
    assert_eq!(
        events[..2],
        ["deployment_step_failure", "deployment_failed"]
    );
    assert!(script.engine.state().deployments.is_empty());
}

#[test]
fn a_plan_that_is_cancelled_calls_its_downloads_off() {
    let mut script = Script::new();
    let order = create(&mut script);
    let cancel = Command::CancelDeployment {
        deployment_id: order.deployment_id.clone(),
    };
    script.command(cancel).unwrap();
    assert_eq!(called_off(&script), [order.attempt]);
    // One that has ended is not called off any more.
    script.effects.clear();
    let mut script = Script::new();
    let order = create(&mut script);
    end(&mut script, &order, Err("404".to_owned()));
    assert_eq!(called_off(&script), []);
}

#[test]
fn an_answer_to_an_older_order_is_none_to_the_present_one() {
    // contract: resume-plans
    let mut script = Script::new();
    let older = create(&mut script);
    script.command(Command::Abdicate).unwrap();
    assert_eq!(called_off(&script), [older.attempt]);
    let order = ordered(&mut script);
    assert_eq!(order.deployment_id, older.deployment_id);
    assert_ne!(order.attempt, older.attempt);
    for result in [Err("cut off".to_owned()), Ok(())] {
        end(&mut script, &older, result);
        assert_eq!(script.engine.state().deployments.size(), 1);
        assert_eq!(script.show("/a"), "");
    }
    end(&mut script, &order, Ok(()));
    script.run_staged();
    assert_eq!(script.show("/a"), "1 new RUNNING");
}
