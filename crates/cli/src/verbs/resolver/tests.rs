use super::*;
use crate::args::Format;

fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
    let dir = tempfile::tempdir().unwrap();
    let machine = Machine {
        root: dir.path().to_owned(),
    };
    for (path, text) in files {
        let path = machine.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    (dir, machine)
}

fn dns(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn the_resolver_is_the_one_that_is_asked() {
    let check = |files: &[(&str, &str)]| machine(files).1.resolver();
    let stub = ("/etc/resolv.conf", "# by systemd\nnameserver 127.0.0.53\n");
    let runs = ("/run/systemd/resolve/stub-resolv.conf", "");
    assert_eq!(check(&[]), None);
    assert_eq!(check(&[stub, runs]), Some(Kind::SystemdResolved));
    // It runs, but is not asked.
    let other = ("/etc/resolv.conf", "nameserver 10.0.0.1\n");
    assert_eq!(check(&[other, runs]), None);
    let manager = ("/run/NetworkManager/resolv.conf", "");
    let setting = (
        "/etc/NetworkManager/conf.d/dns.conf",
        "[main]\ndns = dnsmasq\n",
    );
    assert_eq!(check(&[other, manager]), None);
    assert_eq!(
        check(&[other, manager, setting]),
        Some(Kind::NetworkManager)
    );
    let pid = ("/run/dnsmasq/dnsmasq.pid", "1");
    assert_eq!(check(&[other, pid]), Some(Kind::Dnsmasq));
}

#[test]
fn only_names_of_the_cluster_go_to_it() {
    let (_dir, machine) = machine(&[]);
    let steps = Kind::SystemdResolved.install(dns("127.0.0.1:8053"), &machine);
    let [Step::Write { path, text }, Step::Run { argv }] = steps.as_slice() else {
        panic!("{steps:?}");
    };
    assert!(path.ends_with("etc/systemd/resolved.conf.d/zddcluster.conf"));
    assert!(text.ends_with("[Resolve]\nDNS=127.0.0.1:8053\nDomains=~mesos\n"));
    assert_eq!(argv.join(" "), "systemctl restart systemd-resolved");
    let text = Kind::SystemdResolved.text(dns("127.0.5.1:53"));
    assert!(text.contains("\nDNS=127.0.5.1\n"), "{text}");
    let text = Kind::Dnsmasq.text(dns("127.0.0.1:8053"));
    assert!(text.ends_with("\nserver=/mesos/127.0.0.1#8053\n"), "{text}");
}

#[test]
fn what_is_done_is_not_done_again_and_can_be_undone() {
    let (_dir, machine) = machine(&[]);
    for kind in ALL {
        assert_eq!(kind.uninstall(&machine), []);
        let steps = kind.install(dns("127.0.0.1:53"), &machine);
        perform(&steps[0]).unwrap();
        assert_eq!(kind.install(dns("127.0.0.1:53"), &machine), []);
        let other = kind.install(dns("127.0.5.1:53"), &machine);
        assert!(describe(&other[0]).starts_with("replace "), "{other:?}");
        let steps = kind.uninstall(&machine);
        perform(&steps[0]).unwrap();
        assert_eq!(kind.uninstall(&machine), []);
        let left = fs::read_dir(machine.path(kind.dir())).unwrap().count();
        assert_eq!(left, 0);
    }
}

#[test]
fn nothing_is_done_unasked() {
    let (_dir, machine) = machine(&[]);
    let steps = Kind::Dnsmasq.install(dns("127.0.0.1:53"), &machine);
    let args = |dry_run| ResolverArgs {
        data_dir: crate::args::DataDirArgs::default(),
        resolver: Resolver::Auto,
        dry_run,
        yes: false,
    };
    let (printer, captured) = Printer::captured(Format::Table);
    let ended = carry_out(&steps, &args(true), "x", &printer).unwrap();
    assert_eq!(ended, ExitStatus::Success);
    let out = captured.out();
    assert!(
        out.starts_with("write /") && out.contains("\n    server=/mesos/127.0.0.1#53\nrun "),
        "{out}"
    );
    assert!(!machine.path("/etc").exists());

    let (printer, captured) = Printer::captured(Format::Json);
    carry_out(&steps, &args(true), "x", &printer).unwrap();
    let shown: Value = serde_json::from_str(&captured.out()).unwrap();
    assert_eq!(shown["done"], false);
    assert_eq!(shown["steps"][1]["run"][0], "systemctl");
    assert!(!machine.path("/etc").exists());
}

#[test]
fn a_program_that_fails_is_told_with_its_words() {
    let step = Step::Run {
        argv: vec!["sh", "-c", "echo no such unit >&2; exit 5"],
    };
    let failure = perform(&step).unwrap_err();
    assert!(failure.to_string().contains("no such unit"), "{failure}");
}

#[test]
fn without_a_resolver_it_is_said_what_to_do() {
    let hint = |server| unknown_resolver(dns(server)).hint().unwrap().to_owned();
    for part in ["zddcluster shell", "nameserver 127.0.0.1", "/etc/hosts"] {
        assert!(hint("127.0.0.1:53").contains(part), "{part}");
    }
    // resolv.conf knows no ports.
    let other = hint("127.0.0.1:8053");
    assert!(
        other.contains("8053") && !other.contains("nameserver"),
        "{other}"
    );
}
