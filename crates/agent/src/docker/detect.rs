//! Whether there is an engine, where, and what to do if not.

use std::io;
use std::path::Path;

use super::CLAIM;
use super::engine::{DEFAULT_SOCKET, Engine, EngineError};

/// The socket that `DOCKER_HOST` names, or the usual one.
///
/// # Errors
/// A message with a hint when it names an engine that is not reached by a local socket: sandboxes are this machine's.
pub fn socket(docker_host: Option<&str>) -> Result<String, String> {
    match docker_host.filter(|host| !host.is_empty()) {
        None => Ok(DEFAULT_SOCKET.to_owned()),
        Some(host) => match host.strip_prefix("unix://") {
            Some(path) => Ok(path.to_owned()),
            None => Err(format!(
                "DOCKER_HOST is {host}, and only a local engine can mount sandboxes; \
                 hint: DOCKER_HOST=unix://{DEFAULT_SOCKET}"
            )),
        },
    }
}

/// Whether an engine answers: its version, or why not.
///
/// # Errors
/// When none answers within three seconds.
pub async fn detect(socket: &str) -> Result<String, EngineError> {
    let version = Engine::new(socket).version().await?;
    Ok(version
        .version
        .unwrap_or_else(|| "of an unknown version".to_owned()))
}

/// What to do about an engine that does not answer.
pub fn hint(error: &EngineError) -> &'static str {
    match error {
        EngineError::Away { why, .. } if why.contains("ermission") => {
            "run as root, or add your user to the group docker; or use --containerizer process"
        }
        EngineError::Away { .. } | EngineError::Slow { .. } | EngineError::Refused { .. } => {
            "start the engine (for instance `systemctl start docker`), or name its socket by \
             DOCKER_HOST=unix://PATH; or use --containerizer process"
        }
    }
}

/// Whether tasks under this work directory were given to an engine and may still be there. Blocks.
///
/// # Errors
/// When the books cannot be read.
pub fn holds_containers(work_dir: &Path) -> io::Result<bool> {
    let entries = match std::fs::read_dir(work_dir.join("meta/tasks")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    for entry in entries {
        if entry?.path().join(CLAIM).exists() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_engines() {
        assert_eq!(socket(None).as_deref(), Ok(DEFAULT_SOCKET));
        assert_eq!(
            socket(Some("unix:///run/user/1000/docker.sock")).as_deref(),
            Ok("/run/user/1000/docker.sock")
        );
        let refused = socket(Some("tcp://10.0.0.1:2375")).unwrap_err();
        assert!(refused.contains("hint: DOCKER_HOST=unix://"), "{refused}");
    }
}
