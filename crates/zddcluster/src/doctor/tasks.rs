//! What runs the tasks, and whether they can be limited.

use zddcluster_agent::{docker, limits_of_processes};
use zddcluster_cli::{Check, Containerizer, Examined};

pub(super) async fn examine(examined: &Examined) -> Vec<Check> {
    let (engine, uses_docker) = engine(examined.containerizer).await;
    let mut checks = vec![engine];
    // Where Docker runs them, tasks without an image are plain processes still.
    checks.push(limits(uses_docker).await);
    checks
}

/// The Docker engine, and whether it will be used.
async fn engine(wanted: Containerizer) -> (Check, bool) {
    const NAME: &str = "Docker";
    let host = std::env::var("DOCKER_HOST").ok();
    let detected = match docker::socket(host.as_deref()) {
        Ok(socket) => match docker::detect(&socket).await {
            Ok(version) => Ok(format!("engine {version} answers at {socket}")),
            Err(error) => Err((error.to_string(), docker::hint(&error).to_owned())),
        },
        // It ends with a hint of its own.
        Err(error) => match error.split_once("; hint: ") {
            Some((what, hint)) => Err((what.to_owned(), hint.to_owned())),
            None => Err((error, "use --containerizer process".to_owned())),
        },
    };
    match (wanted, detected) {
        (Containerizer::Process, _) => {
            let finding = "not used: tasks run as plain processes, as asked for";
            (Check::ok(NAME, finding), false)
        }
        (Containerizer::Auto | Containerizer::Docker, Ok(finding)) => {
            (Check::ok(NAME, finding), true)
        }
        (Containerizer::Docker, Err((finding, hint))) => (Check::fault(NAME, finding, hint), true),
        (Containerizer::Auto, Err((finding, hint))) => {
            let finding = format!(
                "{finding}; tasks run as plain processes, and of images only those that are built in"
            );
            (Check::warning(NAME, finding, hint), false)
        }
    }
}

async fn limits(uses_docker: bool) -> Check {
    const NAME: &str = "limits";
    let found = tokio::task::spawn_blocking(|| {
        let executable = std::env::current_exe().map_err(|error| error.to_string())?;
        limits_of_processes(&executable)
    });
    let found = found
        .await
        .unwrap_or_else(|error| Err(format!("they cannot be looked at: {error}")));
    let hint = "start the cluster as root, or in a session with control groups of its own: \
                systemd-run --user --scope -p Delegate=yes zddcluster up";
    match (found, uses_docker) {
        (Ok(words), _) => Check::ok(NAME, words),
        (Err(words), true) => Check::ok(
            NAME,
            format!("Docker limits its containers; tasks without an image: {words}"),
        ),
        (Err(words), false) => Check::warning(NAME, words, hint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zddcluster_cli::Verdict;

    #[tokio::test]
    async fn an_engine_that_is_not_wanted_is_not_missed() {
        let (check, uses_docker) = engine(Containerizer::Process).await;
        assert_eq!((check.verdict, uses_docker), (Verdict::Ok, false));
    }
}
