//! The package marathon-lb 1.4.1: the edge on the public agent.
//!
//! The original's schema takes options it does not know and forgets them; this one refuses them, as it does what the edge
//! cannot do.
//!
//! Source: contract marathon-lb §6, contract dcos-cli §8; the lab prints its defaults.

use serde_json::{Value, json};

use super::Package;

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
    refused: &[
        ("secret_name", "there are no service accounts"),
        ("template-url", "the built-in edge has no HAProxy templates"),
    ],
};

fn schema() -> Value {
    let sysctl = "net.ipv4.tcp_tw_reuse=1 net.ipv4.tcp_fin_timeout=30 net.ipv4.tcp_max_syn_backlog=10240 net.ipv4.tcp_max_tw_buckets=400000 net.ipv4.tcp_max_orphans=60000 net.core.somaxconn=10000";
    json!({
        "type": "object",
        "properties": {"marathon-lb": {
            "type": "object",
            "properties": {
                "auto-assign-service-ports": {"type": "boolean", "default": false,
                    "description": "Service ports (10101-10150) for apps with an address per task that name none."},
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
                    "description": "Certificate, its chain and private key, PEM, for HTTPS virtual hosts."},
                "sysctl-params": {"type": "string", "default": sysctl,
                    "description": "Kernel parameters of the original; the built-in edge leaves them alone and says so in its log."},
                "template-url": {"type": "string", "default": "",
                    "description": "Archive of HAProxy templates; not supported."},
                "marathon-uri": {"type": "string", "default": "http://master.mesos:8080",
                    "description": "Where Marathon is."}
            },
            "required": ["cpus", "mem", "haproxy-group", "instances", "name"],
            "additionalProperties": false
        }},
        "additionalProperties": false
    })
}
