//! The package marathon-lb 1.4.1: the edge on the public agent.
//!
//! Source: contract marathon-lb §6, contract dcos-cli §8; the lab prints its defaults.

use serde_json::{Value, json};

use super::{Package, PackageError};
use crate::id::AppId;

/// The service ports the edge may be asked to listen on.
const SERVICE_PORTS: std::ops::RangeInclusive<u16> = 10000..=10100;

pub(super) const PACKAGE: Package = Package {
    name: "marathon-lb",
    version: "1.4.1",
    release: 13,
    description: "HAProxy configured using Marathon state",
    maintainer: "support@mesosphere.io",
    scm: "https://github.com/mesosphere/marathon-lb",
    tags: &[
        "loadbalancer",
        "service-discovery",
        "reverse-proxy",
        "proxy",
        "haproxy",
    ],
    pre_install_notes: "We recommend a minimum of 0.5 CPUs and 256 MB of RAM available for the Marathon-LB DCOS Service.",
    post_install_notes: "Marathon-lb DC/OS Service has been successfully installed!\nSee https://github.com/mesosphere/marathon-lb for documentation.",
    post_uninstall_notes: "Marathon-lb DC/OS Service has been uninstalled and will no longer run.",
    image: "mesosphere/marathon-lb:v1.4.1",
    template: include_str!("marathon_lb.mustache"),
    schema,
    app,
};

fn schema() -> Value {
    let sysctl = "net.ipv4.tcp_tw_reuse=1 net.ipv4.tcp_fin_timeout=30 net.ipv4.tcp_max_syn_backlog=10240 net.ipv4.tcp_max_tw_buckets=400000 net.ipv4.tcp_max_orphans=60000 net.core.somaxconn=10000";
    json!({
        "type": "object",
        "properties": {"marathon-lb": {
            "type": "object",
            "properties": {
                "auto-assign-service-ports": {"type": "boolean", "default": false,
                    "description": "Auto assign service ports for tasks which use IP-per-task."},
                "bind-http-https": {"type": "boolean", "default": true,
                    "description": "Reserve ports 80 and 443 for HTTP and HTTPS virtual hosts."},
                "cpus": {"type": "number", "default": 2, "minimum": 1,
                    "description": "CPUs of each instance."},
                "haproxy-group": {"type": "string", "default": "external",
                    "description": "Only apps with this HAPROXY_GROUP are routed."},
                "haproxy-map": {"type": "boolean", "default": true,
                    "description": "Look virtual hosts up in a map."},
                "instances": {"type": "integer", "default": 1, "minimum": 1,
                    "description": "Number of instances; each needs a public agent of its own."},
                "mem": {"type": "number", "default": 1024, "minimum": 256,
                    "description": "Memory of each instance, MiB."},
                "minimumHealthCapacity": {"type": "number", "default": 0.5, "minimum": 0,
                    "description": "Share of instances kept during an upgrade."},
                "maximumOverCapacity": {"type": "number", "default": 0.2, "minimum": 0,
                    "description": "Share of instances added during an upgrade."},
                "name": {"type": "string", "default": "marathon-lb",
                    "description": "The app's id."},
                "role": {"type": "string", "default": "slave_public",
                    "description": "Run only on agents of this role; empty for any private agent."},
                "secret_name": {"type": "string", "default": "",
                    "description": "Service account secret; not supported."},
                "ssl-cert": {"type": "string",
                    "description": "TLS certificate and private key, PEM."},
                "sysctl-params": {"type": "string", "default": sysctl,
                    "description": "Kernel parameters of the original; not needed here."},
                "template-url": {"type": "string", "default": "",
                    "description": "Archive of HAProxy templates; not supported."},
                "marathon-uri": {"type": "string", "default": "http://master.mesos:8080",
                    "description": "Where Marathon is."}
            },
            "required": ["cpus", "mem", "haproxy-group", "instances", "name"]
        }}
    })
}

/// The app for settled options.
fn app(options: &Value) -> Result<Value, PackageError> {
    let text = |key: &str| options[key].as_str().unwrap_or_default();
    let is_set = |key: &str| options[key].as_bool().unwrap_or_default();
    for (key, reason) in [
        ("template-url", "the built-in edge has no HAProxy templates"),
        ("secret_name", "there are no service accounts"),
    ] {
        if !text(key).is_empty() {
            let option = format!("{}.{key}", PACKAGE.name);
            return Err(PackageError::NotSupported { option, reason });
        }
    }
    let mut args = vec!["sse", "-m", text("marathon-uri"), "--health-check"];
    if is_set("haproxy-map") {
        args.push("--haproxy-map");
    }
    if is_set("auto-assign-service-ports") {
        args.push("--auto-assign-service-ports");
    }
    let mut ports = Vec::new();
    if is_set("bind-http-https") {
        ports.extend([80, 443]);
    } else {
        args.push("--dont-bind-http-https");
    }
    args.extend(["--group", text("haproxy-group")]);
    // The health check asks the statistics port, the first after those of the virtual hosts.
    let stats_idx = ports.len();
    ports.extend([9090, 9091]);
    ports.extend(SERVICE_PORTS);
    let mut env = json!({"HAPROXY_SYSCTL_PARAMS": text("sysctl-params")});
    if !text("ssl-cert").is_empty() {
        env["HAPROXY_SSL_CERT"] = text("ssl-cert").into();
    }
    let mut app = json!({
        "id": AppId::absolute(text("name")),
        "instances": options["instances"],
        "cpus": options["cpus"],
        "mem": options["mem"],
        "args": args,
        "env": env,
        "container": {
            "type": "DOCKER",
            "docker": {"image": PACKAGE.image, "network": "HOST", "privileged": true}
        },
        "ports": ports,
        "requirePorts": true,
        "healthChecks": [{
            "path": "/_haproxy_health_check",
            "protocol": "HTTP",
            "portIndex": stats_idx,
            "gracePeriodSeconds": 60,
            "intervalSeconds": 5,
            "timeoutSeconds": 2,
            "maxConsecutiveFailures": 2
        }],
        "upgradeStrategy": {
            "minimumHealthCapacity": options["minimumHealthCapacity"],
            "maximumOverCapacity": options["maximumOverCapacity"]
        },
        "labels": {}
    });
    if !text("role").is_empty() {
        app["acceptedResourceRoles"] = json!([text("role")]);
    }
    Ok(app)
}
