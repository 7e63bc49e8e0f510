use super::*;

/// The help of a command and of everything below it, in the order of the grammar.
fn help(mut command: clap::Command, path: &str) -> String {
    let mut text = format!("$ {path} --help\n{}\n", command.render_help());
    let subcommands: Vec<_> = command.get_subcommands().cloned().collect();
    for subcommand in subcommands {
        let path = format!("{path} {}", subcommand.get_name());
        // The dcos grammar has a snapshot of its own.
        if subcommand.get_name() != "help" && path != "zddcluster dcos" {
            text.push_str(&help(subcommand.term_width(100), &path));
        }
    }
    text
}

fn built(mut command: clap::Command) -> clap::Command {
    command = command.term_width(100);
    command.build();
    command
}

#[test]
fn help_of_zddcluster() {
    insta::assert_snapshot!(help(built(command()), "zddcluster"));
}

#[test]
fn help_of_dcos() {
    insta::assert_snapshot!(help(built(dcos_command()), "dcos"));
}

#[test]
fn the_grammars_are_sound() {
    command().debug_assert();
    dcos_command().debug_assert();
}

fn up(line: &str) -> Result<UpArgs, String> {
    match parse(line.split_whitespace()) {
        Ok(Parsed {
            invocation: Invocation::Up(args),
            ..
        }) => Ok(args),
        Ok(other) => panic!("{other:?}"),
        Err(usage) => Err(usage.to_string()),
    }
}

#[test]
fn up_has_the_defaults_of_the_lab() {
    let args = up("zddcluster up").unwrap();
    assert_eq!((args.agents, args.public_agents, args.speed), (2, 1, 1.0));
    assert_eq!(args.net, LoopbackNet::DEFAULT);
    assert_eq!(args.containerizer, Containerizer::Auto);
    assert_eq!(args.resources, ResourceSpec::default());
    assert!(args.with.is_empty() && !args.detach && !args.no_drain);
    assert_eq!(args.clock_offset_seconds, 0);
}

#[test]
fn up_takes_what_it_is_given() {
    let args = up(
        "zddcluster up --agents 3 --public-agents 2 --with marathon-lb --containerizer process \
                   --net 127.0.7.0/24 --resources cpus:8;ports:[1000-2000,3000-3000] --data-dir /d \
                   --attributes rack:a;level:1.500 --attributes rack:b \
                   --speed 10 --detach --no-drain --clock-offset-seconds -3600",
    )
    .unwrap();
    assert_eq!((args.agents, args.public_agents, args.speed), (3, 2, 10.0));
    assert_eq!(args.with, [Package::MarathonLb]);
    assert_eq!(args.net.private_agent(0).to_string(), "127.0.7.11");
    assert_eq!(args.net.public_agent(0).to_string(), "127.0.7.2");
    assert_eq!(
        args.resources.to_string(),
        "cpus:8;ports:[1000-2000,3000-3000]"
    );
    let attributes: Vec<_> = args.attributes.iter().map(ToString::to_string).collect();
    assert_eq!(attributes, ["level:1.5;rack:a", "rack:b"]);
    assert_eq!(args.data_dir(), Some(Path::new("/d")));
    assert!(args.detach && args.no_drain);
    assert_eq!(args.clock_offset_seconds, -3600);
}

#[test]
fn what_cannot_be_is_refused() {
    for (flags, part) in [
        ("--agents 245", "0..=244"),
        ("--agents -1", "-1"),
        ("--public-agents 10", "0..=9"),
        ("--net 10.0.0.0/24", "loopback"),
        ("--net 127.0.0.0/16", "loopback"),
        ("--net 127.0.0.1/24", "loopback"),
        ("--speed 0", "0.1 to 1000"),
        ("--speed NaN", "0.1 to 1000"),
        ("--resources cpus:-1", "usable number"),
        ("--resources cpus", "not one of"),
        ("--resources ports:[5-1]", "port ranges"),
        ("--attributes rack", "such as rack:a"),
        ("--attributes rack:", "such as rack:a"),
        ("--attributes hostname:a", "such as rack:a"),
        ("--with vamp", "marathon-lb"),
        ("--bogus", "--bogus"),
    ] {
        let fault = up(&format!("zddcluster up {flags}")).unwrap_err();
        assert!(fault.contains(part), "{flags}: {fault}");
    }
    assert!(parse(["zddcluster", "dns", "--listen", "everywhere:53"]).is_err());
}

#[test]
fn the_edge_gets_its_arguments_as_they_are() {
    let line = "zddcluster edge sse -m http://master.mesos:8080 --health-check --haproxy-map --group external --help";
    let parsed = parse(line.split_whitespace()).unwrap();
    let Invocation::Edge(EdgeArgs { args, .. }) = parsed.invocation else {
        panic!("{parsed:?}")
    };
    let expected: Vec<&str> = line.split_whitespace().skip(2).collect();
    assert_eq!(args, expected);
}

#[test]
fn the_name_chooses_the_grammar() {
    for line in [
        "dcos --log-level=debug marathon app list --json",
        "/data/bin/dcos marathon app list",
        "dcos.exe task log --follow zdd_base.75443553 stderr",
        "zddcluster dcos --data-dir /d marathon task list /zdd/base",
        "zddcluster --output json dcos node",
        "dcos marathon app update --force /zdd/base instances=5 cmd=sleep",
        "dcos marathon app show --app-version=-1 /zdd/base",
        "dcos task --completed zdd",
        "dcos task --all zdd",
        "dcos marathon pod list --json",
        "dcos marathon app list -q",
        "dcos job run x --json",
        "dcos task exec -it zdd_base sh -c ls",
        "dcos node log --leader --follow --lines=3",
        "dcos service log --lines=3 marathon",
        "dcos cluster remove --all",
        "dcos config set core.timeout -1",
    ] {
        let parsed =
            parse(line.split_whitespace()).unwrap_or_else(|usage| panic!("{line}: {usage}"));
        let Invocation::Client(ClientVerb(ClientVerbs::Dcos(_))) = parsed.invocation else {
            panic!("{line}");
        };
    }
    for line in [
        "dcos up",
        "dcos marathon pods list",
        "dcos task exec zdd_base",
        "dcos cluster remove",
        "zddcluster marathon app list",
    ] {
        assert!(parse(line.split_whitespace()).is_err(), "{line}");
    }
}

#[test]
fn dns_is_a_role_and_has_two_verbs() {
    let parsed = parse(["zddcluster", "dns", "--listen", "127.0.0.1:8053"]).unwrap();
    assert!(
        matches!(parsed.invocation, Invocation::Dns(_)),
        "{parsed:?}"
    );
    for line in [
        "zddcluster dns install --dry-run --data-dir /d",
        "zddcluster dns uninstall --yes --resolver systemd-resolved",
    ] {
        let parsed = parse(line.split_whitespace()).unwrap();
        let Invocation::Client(ClientVerb(ClientVerbs::Resolver(_))) = parsed.invocation else {
            panic!("{line}: {parsed:?}");
        };
    }
    assert!(parse(["zddcluster", "dns", "--ttl", "5", "install"]).is_err());
}

#[test]
fn what_follows_a_command_is_the_commands() {
    for line in [
        "zddcluster exec -i zdd_base sh -c ls --color",
        "zddcluster shell curl --fail http://leader.mesos:5050/health",
        "zddcluster shell -- sh -c true",
    ] {
        parse(line.split_whitespace()).unwrap_or_else(|usage| panic!("{line}: {usage}"));
    }
}

#[test]
fn how_a_wrong_line_ends() {
    let code = |line: &str| {
        parse(line.split_whitespace())
            .map(drop)
            .map_err(|usage| usage.report())
    };
    assert_eq!(code("zddcluster status --bogus"), Err(ExitStatus::Usage));
    assert_eq!(code("zddcluster"), Err(ExitStatus::Usage));
    assert_eq!(code("zddcluster --version"), Err(ExitStatus::Success));
    assert_eq!(code("dcos marathon bogus"), Err(ExitStatus::Failure));
    assert_eq!(
        code("zddcluster dcos marathon bogus"),
        Err(ExitStatus::Failure)
    );
    assert_eq!(code("dcos marathon --help"), Err(ExitStatus::Success));
}

#[test]
fn dcos_commands_tell_of_themselves() {
    let about = |line: &str| match parse(line.split_whitespace()).unwrap().invocation {
        Invocation::Client(ClientVerb(ClientVerbs::Dcos(args))) => args.about,
        other => panic!("{other:?}"),
    };
    let version = format!("dcos-task version {}", env!("CARGO_PKG_VERSION"));
    for (line, told) in [
        ("dcos node --info", Some("View DC/OS node information")),
        (
            "zddcluster dcos marathon --info",
            Some("Deploy and manage applications to DC/OS"),
        ),
        ("dcos task --version", Some(version.as_str())),
        ("dcos --version", None),
        ("dcos task", None),
    ] {
        assert_eq!(about(line).as_deref(), told, "{line}");
    }
    for line in [
        "dcos nothing --info",
        "dcos marathon app --info",
        "zddcluster node --info",
    ] {
        parse(line.split_whitespace()).unwrap_err();
    }
}
