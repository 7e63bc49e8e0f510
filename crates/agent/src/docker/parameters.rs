//! `parameters` of an app's container: options of `docker run`, as far as the engine takes them from us.
//!
//! An option that is not in the list fails the task with a message that names those that are: one that was silently left
//! out would be worse. Options that are the agent's own business (`name`, `rm`, `detach`, `restart`) are not in it.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, DeviceMapping, HostConfig, ResourcesUlimits};
use zddcluster_model::app::Parameter;

/// What may be given, without the short forms.
const KNOWN: &str = "add-host, cap-add, cap-drop, cgroup-parent, cpu-period, cpu-quota, cpu-shares, cpus, cpuset-cpus, \
     cpuset-mems, device, dns, dns-option, dns-search, entrypoint, env, expose, group-add, hostname, init, ipc, label, memory, \
     memory-reservation, memory-swap, memory-swappiness, net, network, oom-kill-disable, oom-score-adj, pid, pids-limit, \
     privileged, read-only, runtime, security-opt, shm-size, stop-signal, sysctl, tmpfs, ulimit, user, userns, uts, volume, \
     volume-driver, volumes-from, workdir";

/// Puts the options into what is asked of the engine; later ones win, lists grow.
pub(crate) fn apply(
    parameters: &[Parameter],
    body: &mut ContainerCreateBody,
) -> Result<(), String> {
    for Parameter { key, value } in parameters {
        apply_one(key.trim_start_matches('-'), value, body)
            .map_err(|why| format!("docker parameter '{key}={value}': {why}"))?;
    }
    Ok(())
}

fn apply_one(key: &str, value: &str, body: &mut ContainerCreateBody) -> Result<(), String> {
    if key == "expose" {
        let port = if value.contains('/') {
            value.to_owned()
        } else {
            format!("{value}/tcp")
        };
        add(&mut body.exposed_ports, port);
        return Ok(());
    }
    let text = || Some(value.to_owned());
    let word = value.to_owned();
    match key {
        "e" | "env" => {
            if !value.contains('=') {
                return Err("a variable without a value would be the agent's own".to_owned());
            }
            add(&mut body.env, word);
        }
        "entrypoint" => body.entrypoint = Some(vec![word]),
        "h" | "hostname" => body.hostname = text(),
        "l" | "label" => {
            let (label, content) = value.split_once('=').unwrap_or((value, ""));
            insert(&mut body.labels, label, content);
        }
        "stop-signal" => body.stop_signal = text(),
        "u" | "user" => body.user = text(),
        "w" | "workdir" => body.working_dir = text(),
        other => return apply_to_host(other, value, body.host_config.get_or_insert_default()),
    }
    Ok(())
}

fn apply_to_host(key: &str, value: &str, host: &mut HostConfig) -> Result<(), String> {
    let text = || Some(value.to_owned());
    let word = value.to_owned();
    match key {
        "add-host" => add(&mut host.extra_hosts, word),
        "cap-add" => add(&mut host.cap_add, word),
        "cap-drop" => add(&mut host.cap_drop, word),
        "cgroup-parent" => host.cgroup_parent = text(),
        "c" | "cpu-shares" => host.cpu_shares = Some(number(value)?),
        "cpu-period" => host.cpu_period = Some(number(value)?),
        "cpu-quota" => host.cpu_quota = Some(number(value)?),
        "cpus" => {
            let cpus: f64 = value.parse().map_err(|_| "it is no number".to_owned())?;
            host.nano_cpus = Some((cpus * 1e9) as i64);
        }
        "cpuset-cpus" => host.cpuset_cpus = text(),
        "cpuset-mems" => host.cpuset_mems = text(),
        "device" => add(&mut host.devices, device(value)?),
        "dns" => add(&mut host.dns, word),
        "dns-opt" | "dns-option" => add(&mut host.dns_options, word),
        "dns-search" => add(&mut host.dns_search, word),
        "group-add" => add(&mut host.group_add, word),
        "init" => host.init = Some(switch(value)?),
        "ipc" => host.ipc_mode = text(),
        "m" | "memory" => host.memory = Some(bytes(value)?),
        "memory-reservation" => host.memory_reservation = Some(bytes(value)?),
        "memory-swap" => {
            host.memory_swap = Some(if value == "-1" { -1 } else { bytes(value)? });
        }
        "memory-swappiness" => host.memory_swappiness = Some(number(value)?),
        "net" | "network" => host.network_mode = text(),
        "oom-kill-disable" => host.oom_kill_disable = Some(switch(value)?),
        "oom-score-adj" => host.oom_score_adj = Some(number(value)?),
        "pid" => host.pid_mode = text(),
        "pids-limit" => host.pids_limit = Some(number(value)?),
        "privileged" => host.privileged = Some(switch(value)?),
        "read-only" => host.readonly_rootfs = Some(switch(value)?),
        "runtime" => host.runtime = text(),
        "security-opt" => add(&mut host.security_opt, word),
        "shm-size" => host.shm_size = Some(bytes(value)?),
        "sysctl" => {
            let (name, content) = value.split_once('=').ok_or("it is not name=value")?;
            insert(&mut host.sysctls, name, content);
        }
        "tmpfs" => {
            let (path, options) = value.split_once(':').unwrap_or((value, ""));
            insert(&mut host.tmpfs, path, options);
        }
        "ulimit" => add(&mut host.ulimits, ulimit(value)?),
        "userns" => host.userns_mode = text(),
        "uts" => host.uts_mode = text(),
        "v" | "volume" => add(&mut host.binds, word),
        "volume-driver" => host.volume_driver = text(),
        "volumes-from" => add(&mut host.volumes_from, word),
        _ => return Err(format!("it is not supported; supported are {KNOWN}")),
    }
    Ok(())
}

fn add<T>(list: &mut Option<Vec<T>>, item: T) {
    list.get_or_insert_default().push(item);
}

fn insert(map: &mut Option<HashMap<String, String>>, key: &str, value: &str) {
    map.get_or_insert_default()
        .insert(key.to_owned(), value.to_owned());
}

fn number(value: &str) -> Result<i64, String> {
    value
        .parse()
        .map_err(|_| "it is no whole number".to_owned())
}

/// As on a command line: given without a value, it is on.
fn switch(value: &str) -> Result<bool, String> {
    match value {
        "" | "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("it is neither true nor false".to_owned()),
    }
}

/// `32m`, `1g`, `1024`, in Docker's units: powers of 1024.
fn bytes(value: &str) -> Result<i64, String> {
    let lower = value.to_ascii_lowercase();
    let lower = lower
        .strip_suffix("ib")
        .or_else(|| lower.strip_suffix('b'))
        .unwrap_or(&lower);
    let (digits, shift) = match lower.chars().last() {
        Some('k') => (&lower[..lower.len() - 1], 10),
        Some('m') => (&lower[..lower.len() - 1], 20),
        Some('g') => (&lower[..lower.len() - 1], 30),
        Some('t') => (&lower[..lower.len() - 1], 40),
        Some(_) | None => (lower, 0),
    };
    let amount: i64 = digits
        .parse()
        .map_err(|_| "it is no size such as 64m".to_owned())?;
    amount
        .checked_mul(1 << shift)
        .ok_or_else(|| "it is too large".to_owned())
}

/// `/dev/a[:/dev/b[:rwm]]`.
fn device(value: &str) -> Result<DeviceMapping, String> {
    let parts: Vec<&str> = value.split(':').collect();
    let (host, inside, permissions) = match parts.as_slice() {
        [host] => (host, host, "rwm"),
        [host, inside] => (host, inside, "rwm"),
        [host, inside, permissions] => (host, inside, *permissions),
        _ => return Err("it is not device:device:permissions".to_owned()),
    };
    Ok(DeviceMapping {
        path_on_host: Some((*host).to_owned()),
        path_in_container: Some((*inside).to_owned()),
        cgroup_permissions: Some(permissions.to_owned()),
    })
}

/// `nofile=1024[:2048]`.
fn ulimit(value: &str) -> Result<ResourcesUlimits, String> {
    let (name, limits) = value.split_once('=').ok_or("it is not name=soft:hard")?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    Ok(ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(number(soft)?),
        hard: Some(number(hard)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(parameters: &[(&str, &str)]) -> Result<ContainerCreateBody, String> {
        let parameters: Vec<Parameter> = parameters
            .iter()
            .map(|&(key, value)| Parameter {
                key: key.to_owned(),
                value: value.to_owned(),
            })
            .collect();
        let mut body = ContainerCreateBody::default();
        apply(&parameters, &mut body).map(|()| body)
    }

    #[test]
    fn options_find_their_place() {
        let body = applied(&[
            ("hostname", "web"),
            ("env", "A=b=c"),
            ("label", "team=blue"),
            ("cap-add", "NET_ADMIN"),
            ("cap-add", "SYS_TIME"),
            ("memory-swap", "64m"),
            ("ulimit", "nofile=1024:2048"),
            ("device", "/dev/kvm"),
            ("read-only", ""),
        ])
        .unwrap();
        let host = body.host_config.unwrap();
        assert_eq!(body.hostname.as_deref(), Some("web"));
        assert_eq!(body.env.unwrap(), ["A=b=c"]);
        assert_eq!(body.labels.unwrap()["team"], "blue");
        assert_eq!(host.cap_add.unwrap(), ["NET_ADMIN", "SYS_TIME"]);
        assert_eq!(host.memory_swap, Some(64 << 20));
        assert_eq!(host.ulimits.unwrap()[0].hard, Some(2048));
        assert_eq!(
            host.devices.unwrap()[0].path_in_container.as_deref(),
            Some("/dev/kvm")
        );
        assert_eq!(host.readonly_rootfs, Some(true));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (parameter, why) in [
            (
                ("restart", "always"),
                "not supported; supported are add-host, cap-add",
            ),
            (("rm", "true"), "not supported"),
            (("env", "SECRET"), "without a value"),
            (("memory-swap", "lots"), "no size such as 64m"),
            (("ulimit", "nofile"), "name=soft:hard"),
        ] {
            let error = applied(&[parameter]).unwrap_err();
            assert!(error.contains(why), "{error}");
            assert!(error.contains(parameter.0), "{error}");
        }
    }

    #[test]
    fn sizes_as_docker_counts() {
        for (text, expected) in [
            ("32m", 32 << 20),
            ("1G", 1 << 30),
            ("1024", 1024),
            ("2kb", 2048),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
    }
}
