use zddcluster_model::agent::{LaunchTask, MountVolume};
use zddcluster_model::app::{Container, ContainerKind, Parameter, PersistentVolume};
use zddcluster_model::{AgentId, AppId, TaskId, Timestamp};

use super::*;

const IMAGE: &str = "mhausenblas/simpleservice:0.4.0";

/// The lab's first task.
fn order(change: impl FnOnce(&mut LaunchTask, &mut DockerEngine)) -> Order {
    let mut engine = DockerEngine {
        image: IMAGE.to_owned(),
        network: Some(Network::Host),
        port_mappings: None,
        privileged: false,
        parameters: Vec::new(),
        force_pull_image: false,
    };
    let mut launch = LaunchTask {
        task_id: TaskId::new("zdd_base.75443553-9070-11e6-aae4-3a4b79075094"),
        app_id: AppId::absolute("/zdd/base"),
        app_version: Timestamp::from_millis(1_476_272_335_934),
        framework_id: "145f052d-0000".to_owned(),
        agent_id: AgentId::new("145f052d-S1"),
        container_id: "76d75960".to_owned(),
        cmd: None,
        args: None,
        user: None,
        container: None,
        network_name: None,
        env: BTreeMap::from([
            ("HEALTH_MAX".to_owned(), "5000".to_owned()),
            ("MARATHON_APP_LABELS".to_owned(), String::new()),
            ("PORT0".to_owned(), "1765".to_owned()),
        ]),
        cpus: 0.1,
        mem: 32.0,
        disk: 0.0,
        ports: vec![1765, 1766],
        fetch: Vec::new(),
        volumes: Vec::new(),
        grace_millis: 20_000,
    };
    change(&mut launch, &mut engine);
    launch.container.get_or_insert(Container {
        kind: ContainerKind::Docker,
        volumes: Vec::new(),
        docker: Some(Docker::Engine(engine)),
        appc: None,
    });
    Order {
        launch,
        sandbox: "/agent/runs/76d75960".into(),
        task_dir: "/agent/meta/x".into(),
        volumes: "/agent/volumes".into(),
        container_name: "mesos-145f052d-S1.76d75960".to_owned(),
        ip: "127.0.0.11".to_owned(),
        boot_id: None,
    }
}

fn planned(
    change: impl FnOnce(&mut LaunchTask, &mut DockerEngine),
    is_built_in: bool,
) -> Result<Plan, String> {
    let image = Present {
        reference: IMAGE.to_owned(),
        is_built_in,
        notes: Vec::new(),
    };
    let env = BTreeMap::from([("ZDD_SPEED".to_owned(), "1".to_owned())]);
    plan(&order(change), &image, &env, "/var/run/docker.sock").map_err(|error| error.message)
}

#[test]
fn as_the_lab_ran_it() {
    // contract: command-run-image, env-executor
    let Plan { body, line } = planned(|_, _| {}, false).unwrap();
    assert_eq!(
        line,
        "Running docker -H unix:///var/run/docker.sock run --cpu-shares 102 --memory 33554432 \
         -e HEALTH_MAX=5000 -e LIBPROCESS_IP=127.0.0.11 -e MARATHON_APP_LABELS= \
         -e MESOS_CONTAINER_NAME=mesos-145f052d-S1.76d75960 -e MESOS_SANDBOX=/mnt/mesos/sandbox -e PORT0=1765 \
         -v /agent/runs/76d75960:/mnt/mesos/sandbox --net host --name mesos-145f052d-S1.76d75960 \
         mhausenblas/simpleservice:0.4.0"
    );
    let host = body.host_config.unwrap();
    assert_eq!(
        (host.cpu_shares, host.memory),
        (Some(102), Some(33_554_432))
    );
    assert_eq!(body.stop_timeout, Some(20));
    let labels = body.labels.unwrap();
    for (label, value) in [
        (
            "zddcluster.task",
            "zdd_base.75443553-9070-11e6-aae4-3a4b79075094",
        ),
        ("zddcluster.app", "/zdd/base"),
        ("zddcluster.agent", "145f052d-S1"),
        ("zddcluster.cluster", "145f052d"),
    ] {
        assert_eq!(labels[label], value);
    }
}

#[test]
fn the_least_cpu_shares() {
    let plan = planned(|launch, _| launch.cpus = 0.0, false).unwrap();
    assert_eq!(plan.body.host_config.unwrap().cpu_shares, Some(2));
}

#[test]
fn commands_and_arguments() {
    // contract: command-run-cmd, command-run-args
    let words = |words: &[&str]| {
        Some(
            words
                .iter()
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>(),
        )
    };
    let with_cmd = |launch: &mut LaunchTask, _: &mut DockerEngine| {
        launch.cmd = Some("echo $PORT0".to_owned());
    };
    let foreign = planned(with_cmd, false).unwrap().body;
    assert_eq!(
        (foreign.entrypoint, foreign.cmd),
        (None, words(&["/bin/sh", "-c", "echo $PORT0"]))
    );
    let refused = planned(with_cmd, true).unwrap_err();
    assert!(refused.contains("cmd needs a shell"), "{refused}");
    let args = |launch: &mut LaunchTask, _: &mut DockerEngine| launch.args = words(&["sse", "-m"]);
    let appended = planned(args, true).unwrap().body;
    assert_eq!(
        (appended.entrypoint, appended.cmd),
        (None, words(&["sse", "-m"]))
    );
    let env = appended.env.unwrap();
    assert!(env.contains(&"ZDD_SPEED=1".to_owned()), "{env:?}");
}

#[test]
fn bridged_ports_are_the_agents_own() {
    let mapping = |container_port, host_port, protocol: &str| PortMapping {
        container_port,
        host_port,
        service_port: 10_000,
        protocol: protocol.to_owned(),
        name: None,
        labels: BTreeMap::new(),
    };
    let plan = planned(
        |_, engine| {
            engine.network = Some(Network::Bridge);
            engine.port_mappings = Some(vec![
                mapping(8080, Some(0), "tcp"),
                mapping(0, Some(0), "tcp,udp"),
            ]);
        },
        false,
    )
    .unwrap();
    assert!(
        plan.line.contains(
            "--net bridge -p 127.0.0.11:1766:1766/tcp -p 127.0.0.11:1766:1766/udp -p 127.0.0.11:1765:8080/tcp"
        ),
        "{}",
        plan.line
    );
    let ports = plan.body.host_config.unwrap().port_bindings.unwrap();
    assert_eq!(ports.len(), 3);
    assert_eq!(
        ports["8080/tcp"].as_ref().unwrap()[0].host_ip.as_deref(),
        Some("127.0.0.11")
    );
}

#[test]
fn volumes_parameters_and_refusals() {
    let volume = |container_path: &str, host_path: Option<&str>, mode| Volume {
        container_path: container_path.to_owned(),
        host_path: host_path.map(str::to_owned),
        mode,
        persistent: None,
        external: None,
    };
    let with_volumes = |volumes: Vec<Volume>| {
        planned(
            move |launch, engine| {
                launch.container = Some(Container {
                    kind: ContainerKind::Docker,
                    volumes,
                    docker: Some(Docker::Engine(engine.clone())),
                    appc: None,
                });
            },
            false,
        )
    };
    let plan = with_volumes(vec![
        volume("/etc/a", Some("/var/a"), VolumeMode::Ro),
        volume("b", Some("inside"), VolumeMode::Rw),
    ]);
    assert_eq!(
        plan.unwrap().body.host_config.unwrap().binds.unwrap(),
        [
            "/var/a:/etc/a:ro",
            "/agent/runs/76d75960/inside:/mnt/mesos/sandbox/b:rw"
        ]
    );
    let refused = with_volumes(vec![volume("data", None, VolumeMode::Rw)]).unwrap_err();
    assert!(
        refused.contains("external volumes are not supported"),
        "{refused}"
    );
    // A persistent one, and the same again where the image wants it.
    let persistent = Volume {
        persistent: Some(PersistentVolume { size: 10.0 }),
        ..volume("data", None, VolumeMode::Rw)
    };
    let again = volume("/var/lib/mysql", Some("data"), VolumeMode::Rw);
    let plan = planned(
        move |launch, engine| {
            launch.volumes = vec![MountVolume {
                container_path: "data".to_owned(),
                persistence_id: "db#data#1".to_owned(),
                is_new: true,
            }];
            launch.container = Some(Container {
                kind: ContainerKind::Docker,
                volumes: vec![persistent, again],
                docker: Some(Docker::Engine(engine.clone())),
                appc: None,
            });
        },
        false,
    );
    assert_eq!(
        plan.unwrap().body.host_config.unwrap().binds.unwrap(),
        [
            "/agent/volumes/db#data#1:/mnt/mesos/sandbox/data:rw",
            "/agent/volumes/db#data#1:/var/lib/mysql:rw"
        ]
    );

    let parameter = |key: &str, value: &str| Parameter {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    let plan = planned(
        |_, engine| {
            engine.privileged = true;
            engine.parameters = vec![parameter("hostname", "a b"), parameter("env", "X=1")];
        },
        false,
    )
    .unwrap();
    assert!(plan.line.contains("-e X=1 "), "{}", plan.line);
    assert!(
        plan.line.contains(" --privileged \"--hostname=a b\" "),
        "{}",
        plan.line
    );
    let unknown = planned(
        |_, engine| engine.parameters = vec![parameter("restart", "always")],
        false,
    );
    assert!(
        unknown
            .unwrap_err()
            .contains("'restart=always': it is not supported")
    );
}

#[test]
fn networks_and_whose_address_a_task_has() {
    let check =
        |network, name: Option<&str>, parameters: &[(&str, &str)], expected: &str, is_own| {
            let change = |launch: &mut LaunchTask, engine: &mut DockerEngine| {
                launch.network_name = name.map(str::to_owned);
                engine.network = network;
                engine.parameters = parameters
                    .iter()
                    .map(|(key, value)| Parameter {
                        key: (*key).to_owned(),
                        value: (*value).to_owned(),
                    })
                    .collect();
            };
            let mode =
                planned(change, false).map(|plan| plan.body.host_config.unwrap().network_mode);
            assert_eq!(mode.unwrap().as_deref(), Some(expected));
            assert_eq!(has_own_network(&order(change)), is_own, "{expected}");
        };
    check(None, None, &[], "host", false);
    check(Some(Network::Host), Some("lab"), &[], "host", false);
    check(Some(Network::None), None, &[], "none", false);
    check(Some(Network::Bridge), None, &[], "bridge", true);
    check(Some(Network::User), Some("lab"), &[], "lab", true);
    check(Some(Network::User), None, &[("net", "lab")], "lab", true);
    check(
        Some(Network::User),
        Some("lab"),
        &[("network", "host")],
        "host",
        false,
    );
    check(
        Some(Network::Host),
        None,
        &[("net", "a"), ("--net", "b")],
        "b",
        true,
    );
    check(None, None, &[("net", "container:x")], "container:x", false);
    let in_bridge =
        |_: &mut LaunchTask, engine: &mut DockerEngine| engine.network = Some(Network::Bridge);
    let binds = |is_built_in| {
        let env = planned(in_bridge, is_built_in).unwrap().body.env.unwrap();
        env.contains(&"ZDD_BIND=0.0.0.0".to_owned())
    };
    assert!(binds(true) && !binds(false));
    let nameless = planned(|_, engine| engine.network = Some(Network::User), false);
    assert!(nameless.unwrap_err().contains("network USER needs"));
}

#[test]
fn our_own_roles_need_no_privileges() {
    let privileged = |_: &mut LaunchTask, engine: &mut DockerEngine| engine.privileged = true;
    let foreign = planned(privileged, false).unwrap();
    assert_eq!(foreign.body.host_config.unwrap().privileged, Some(true));
    let built_in = planned(privileged, true).unwrap();
    assert_eq!(built_in.body.host_config.unwrap().privileged, Some(false));
    assert!(
        built_in.line.contains("(privileged is ignored"),
        "{}",
        built_in.line
    );
}

#[test]
fn only_an_edge_is_given_the_token() {
    let env = BTreeMap::from([(TOKEN_FILE.to_owned(), "/agent/token".to_owned())]);
    let check = |reference: &str, is_built_in, expected: &[&str]| {
        let image = Present {
            reference: reference.to_owned(),
            is_built_in,
            notes: Vec::new(),
        };
        let targets: Vec<_> = mounts(&order(|_, _| {}), &image, &env)
            .into_iter()
            .filter_map(|mount| mount.target)
            .collect();
        assert_eq!(targets, expected, "{reference}");
    };
    check(
        "mesosphere/marathon-lb:v1.4.1",
        true,
        &[SANDBOX, "/agent/token"],
    );
    check("mesosphere/marathon-lb:v1.4.1", false, &[SANDBOX]);
    check(IMAGE, true, &[SANDBOX]);
}
