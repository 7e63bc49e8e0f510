//! Reading health and readiness checks.
//!
//! Source: contract marathon §1.8, §1.9.

use super::{Faults, Object, int};
use crate::app::{CommandCheck, Form, HealthCheck, HealthProtocol, ReadinessCheck};

/// `gracePeriodSeconds` when none is given (Marathon's documents say 15; its code says this).
const GRACE_PERIOD_SECONDS: u64 = 300;
/// `intervalSeconds` when none is given.
const INTERVAL_SECONDS: u64 = 60;
/// `timeoutSeconds` when none is given.
const TIMEOUT_SECONDS: u64 = 20;
/// `maxConsecutiveFailures` when none is given.
const MAX_CONSECUTIVE_FAILURES: u32 = 3;
/// A readiness check's `intervalSeconds` when none is given.
const READINESS_INTERVAL_SECONDS: u64 = 30;
/// A readiness check's `timeoutSeconds` when none is given.
const READINESS_TIMEOUT_SECONDS: u64 = 10;

pub(in crate::app) fn read_health_checks(
    body: Object<'_>,
    form: Form,
    faults: &mut Faults,
) -> Option<Vec<HealthCheck>> {
    body.objects("healthChecks", faults, |object, faults| {
        read_health_check(object, form, faults)
    })
}

fn read_health_check(object: Object<'_>, form: Form, faults: &mut Faults) -> Option<HealthCheck> {
    let parse = |word: &str| match word {
        "HTTP" => Some(HealthProtocol::Http),
        "HTTPS" => Some(HealthProtocol::Https),
        "TCP" => Some(HealthProtocol::Tcp),
        "COMMAND" => Some(HealthProtocol::Command),
        "MESOS_HTTP" => Some(HealthProtocol::MesosHttp),
        "MESOS_HTTPS" => Some(HealthProtocol::MesosHttps),
        "MESOS_TCP" => Some(HealthProtocol::MesosTcp),
        _ => None,
    };
    let protocol = if object.has("protocol") {
        object.word("protocol", faults, parse, "is not a valid protocol")
    } else {
        Some(HealthProtocol::Http)
    };
    let path = object.string("path", faults);
    let command = object.object("command", faults, |object, faults| {
        Some(CommandCheck {
            value: object.required_string("value", faults)?,
        })
    });
    let port = object.port("port", faults);
    let port_index = match object.int("portIndex", faults) {
        Some(index) => Some(u32::try_from(index).unwrap_or_else(|_| {
            faults.rule(object.path, crate::app::rules::BAD_PORT_INDEX);
            0
        })),
        // A partial definition does not know the app's ports; a whole one is completed once they are known.
        None if form == Form::Partial && port.is_none() => {
            (protocol != Some(HealthProtocol::Command)).then_some(0)
        }
        None => None,
    };
    let mut seconds = |key: &str, default: u64| object.seconds(key, faults).unwrap_or(default);
    let grace_period_seconds = seconds("gracePeriodSeconds", GRACE_PERIOD_SECONDS);
    let interval_seconds = seconds("intervalSeconds", INTERVAL_SECONDS);
    let timeout_seconds = seconds("timeoutSeconds", TIMEOUT_SECONDS);
    let max_consecutive_failures = object
        .count("maxConsecutiveFailures", faults)
        .unwrap_or(MAX_CONSECUTIVE_FAILURES);
    let ignore_http1xx = object.boolean("ignoreHttp1xx", faults).unwrap_or(false);
    Some(HealthCheck {
        path,
        protocol: protocol?,
        port_index,
        command,
        grace_period_seconds,
        interval_seconds,
        timeout_seconds,
        max_consecutive_failures,
        ignore_http1xx,
        port,
    })
}

pub(in crate::app) fn read_readiness_check(
    object: Object<'_>,
    faults: &mut Faults,
) -> Option<ReadinessCheck> {
    let protocol = match object.string("protocol", faults).as_deref() {
        None | Some("HTTP") => HealthProtocol::Http,
        Some("HTTPS") => HealthProtocol::Https,
        Some(_) => {
            faults.read(object.at("protocol"), "Choose one of HTTP, HTTPS");
            HealthProtocol::Http
        }
    };
    let mut text = |key: &str, default: &str| {
        object
            .string(key, faults)
            .unwrap_or_else(|| default.to_owned())
    };
    let name = text("name", "readinessCheck");
    let path = text("path", "/");
    let port_name = text("portName", "http-api");
    let interval_seconds = object
        .seconds("intervalSeconds", faults)
        .unwrap_or(READINESS_INTERVAL_SECONDS);
    let timeout_seconds = object
        .seconds("timeoutSeconds", faults)
        .unwrap_or(READINESS_TIMEOUT_SECONDS);
    let codes = object.list("httpStatusCodesForReady", faults, |value, path, faults| {
        let code = int(value, || path.to_owned(), faults)?;
        let status = u16::try_from(code)
            .ok()
            .filter(|code| (100..1000).contains(code));
        if status.is_none() {
            faults.rule(path, format!("got {code}, expected between 100 and 999"));
        }
        // A broken rule is noted: the value stands in for it until then.
        Some(status.unwrap_or(100))
    });
    Some(ReadinessCheck {
        name,
        protocol,
        path,
        port_name,
        interval_seconds,
        timeout_seconds,
        http_status_codes_for_ready: codes.unwrap_or_else(|| vec![200]),
        preserve_last_response: object
            .boolean("preserveLastResponse", faults)
            .unwrap_or(false),
    })
}
