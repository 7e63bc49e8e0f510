//! Rules of health checks (contract marathon §1.8) and readiness checks (§1.9).

use super::Broken;
use crate::app::{App, HealthCheck, HealthProtocol, ReadinessCheck};

/// A health check asks a port the app does not have.
pub(in crate::app) const BAD_PORT_INDEX: &str = "Health check port indices must address an element of the ports array or container port mappings.";

pub(super) fn check(app: &App, broken: &mut Broken) {
    let n_ports = app.port_count();
    for (idx, check) in app.health_checks.iter().enumerate() {
        let path = format!("/healthChecks({idx})");
        check_health_check(check, n_ports, &path, broken);
    }
    let n_checks = app.readiness_checks.len();
    if n_checks > 1 {
        broken.add(
            "/readinessChecks",
            format!("got {n_checks}, expected 1 or less"),
        );
    }
    let names = app.port_names();
    for (idx, check) in app.readiness_checks.iter().enumerate() {
        check_readiness_check(check, &names, &format!("/readinessChecks({idx})"), broken);
    }
}

fn check_health_check(check: &HealthCheck, n_ports: usize, path: &str, broken: &mut Broken) {
    if check.protocol == HealthProtocol::Command {
        match &check.command {
            None => broken.add(path, "a COMMAND health check must have a command"),
            Some(command) if command.value.is_empty() => {
                broken.add(
                    path,
                    "the command of a COMMAND health check must not be empty",
                );
            }
            Some(command) if command.value.contains('\0') => broken.add(path, super::NO_NUL),
            Some(_) => {}
        }
        return;
    }
    let is_valid = match check.port_index {
        Some(index) => (index as usize) < n_ports,
        None => check.port.is_some() || n_ports == 1,
    };
    if !is_valid {
        broken.add(path, BAD_PORT_INDEX);
    }
}

fn check_readiness_check(
    check: &ReadinessCheck,
    port_names: &[&str],
    path: &str,
    broken: &mut Broken,
) {
    let ReadinessCheck {
        name,
        protocol: _,
        path: request_path,
        port_name,
        interval_seconds,
        timeout_seconds,
        http_status_codes_for_ready,
        preserve_last_response: _,
    } = check;
    for (key, value) in [
        ("name", name),
        ("path", request_path),
        ("portName", port_name),
    ] {
        if value.is_empty() {
            broken.add(format!("{path}/{key}"), "must not be empty");
        }
    }
    if http_status_codes_for_ready.is_empty() {
        broken.add(
            format!("{path}/httpStatusCodesForReady"),
            "must not be empty",
        );
    }
    if !port_names.contains(&port_name.as_str()) {
        let text = format!("is not one of ({})", port_names.join(","));
        broken.add(format!("{path}/portName"), text);
    }
    for (key, seconds) in [
        ("intervalSeconds", *interval_seconds),
        ("timeoutSeconds", *timeout_seconds),
    ] {
        if seconds == 0 {
            broken.add(format!("{path}/{key}"), "got 0, expected more than 0");
        }
    }
    if timeout_seconds >= interval_seconds {
        let text = format!("got {timeout_seconds}, expected less than {interval_seconds}");
        broken.add(format!("{path}/timeoutSeconds"), text);
    }
}
