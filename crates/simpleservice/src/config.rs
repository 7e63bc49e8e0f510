//! What the environment says, checked before anything starts.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

/// The port without `PORT0`, as the original's.
const DEFAULT_PORT: u16 = 9876;
/// The version without `SIMPLE_SERVICE_VERSION`: the one the lab begins with.
const DEFAULT_VERSION: &str = "0.9";

/// Looks up an environment variable.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) version: String,
    /// How long `/health` takes, in ms, before it is divided by `speed`.
    pub(crate) health_delay: RangeInclusive<u64>,
    /// How much faster than real time the cluster runs.
    pub(crate) speed: f64,
    pub(crate) ignores_sigterm: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    name: &'static str,
    value: String,
    expected: &'static str,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={:?} is not {}", self.name, self.value, self.expected)
    }
}

impl Config {
    pub(crate) fn from_env(env: Env<'_>) -> Result<Self, Fault> {
        let min = parse(env, "HEALTH_MIN", "a number of milliseconds", 0)?;
        let max = parse(env, "HEALTH_MAX", "a number of milliseconds", 0)?;
        let speed = parse(env, "ZDD_SPEED", "a number above 0", 1.0)?;
        if !(speed > 0.0 && f64::is_finite(speed)) {
            let value = speed.to_string();
            return Err(Fault {
                name: "ZDD_SPEED",
                value,
                expected: "a number above 0",
            });
        }
        // Not a name: that could stand for any interface, and `/env` tells the environment to whoever asks.
        let host = parse(env, "HOST", "an IP address", Ipv4Addr::LOCALHOST.into())?;
        Ok(Self {
            // In a network of its own, `HOST` is still the agent's address, which is not there.
            address: parse(env, "ZDD_BIND", "an IP address", host)?,
            port: parse(env, "PORT0", "a port", DEFAULT_PORT)?,
            version: env("SIMPLE_SERVICE_VERSION").unwrap_or_else(|| DEFAULT_VERSION.to_owned()),
            // As the original: bounds in the wrong order mean no delay.
            health_delay: if min <= max { min..=max } else { 0..=0 },
            speed,
            ignores_sigterm: env("SIMPLE_SERVICE_IGNORE_SIGTERM").is_some_and(|value| value == "1"),
        })
    }
}

fn parse<T: std::str::FromStr>(
    env: Env<'_>,
    name: &'static str,
    expected: &'static str,
    default: T,
) -> Result<T, Fault> {
    match env(name).filter(|value| !value.is_empty()) {
        None => Ok(default),
        Some(value) => value.trim().parse().map_err(|_| Fault {
            name,
            value,
            expected,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(env: &[(&str, &str)]) -> Result<Config, String> {
        let get = |name: &str| {
            env.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Config::from_env(&get).map_err(|fault| fault.to_string())
    }

    #[test]
    fn defaults_are_safe() {
        let expected = Config {
            address: Ipv4Addr::LOCALHOST.into(),
            port: 9876,
            version: "0.9".to_owned(),
            health_delay: 0..=0,
            speed: 1.0,
            ignores_sigterm: false,
        };
        assert_eq!(config(&[]), Ok(expected));
    }

    #[test]
    fn the_task_environment_is_followed() {
        let env = [
            ("HOST", "127.0.0.11"),
            ("PORT0", "1765"),
            ("SIMPLE_SERVICE_VERSION", "1.0"),
            ("HEALTH_MIN", "1000"),
            ("HEALTH_MAX", "5000"),
            ("ZDD_SPEED", "20"),
            ("SIMPLE_SERVICE_IGNORE_SIGTERM", "1"),
        ];
        let expected = Config {
            address: Ipv4Addr::new(127, 0, 0, 11).into(),
            port: 1765,
            version: "1.0".to_owned(),
            health_delay: 1000..=5000,
            speed: 20.0,
            ignores_sigterm: true,
        };
        assert_eq!(config(&env), Ok(expected));
    }

    #[test]
    fn where_to_listen_goes_before_where_it_is_reached() {
        let env = [("HOST", "127.0.0.11"), ("ZDD_BIND", "0.0.0.0")];
        let address = config(&env).map(|config| config.address);
        assert_eq!(address, Ok(Ipv4Addr::UNSPECIFIED.into()));
    }

    #[test]
    fn a_lower_maximum_means_no_delay() {
        let delay = config(&[("HEALTH_MIN", "1000")]).map(|config| config.health_delay);
        assert_eq!(delay, Ok(0..=0));
    }

    #[test]
    fn faults_name_the_variable() {
        for (name, value, expected) in [
            ("HOST", "node-1", "HOST=\"node-1\" is not an IP address"),
            ("PORT0", "http", "PORT0=\"http\" is not a port"),
            ("PORT0", "70000", "PORT0=\"70000\" is not a port"),
            (
                "HEALTH_MAX",
                "-1",
                "HEALTH_MAX=\"-1\" is not a number of milliseconds",
            ),
            ("ZDD_SPEED", "0", "ZDD_SPEED=\"0\" is not a number above 0"),
            (
                "ZDD_SPEED",
                "inf",
                "ZDD_SPEED=\"inf\" is not a number above 0",
            ),
        ] {
            assert_eq!(config(&[(name, value)]), Err(expected.to_owned()));
        }
    }
}
