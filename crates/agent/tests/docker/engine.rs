//! A socket between the containerizer and the engine, at which the engine can be away, or silent.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use zddcluster_runtime::{OnFailure, Tasks};

/// What callers meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Passes,
    /// Takes connections and answers nothing.
    Silent,
}

/// The socket in between.
pub(crate) struct Door {
    directory: tempfile::TempDir,
    tasks: Tasks,
    open: Arc<Mutex<(Manner, CancellationToken)>>,
}

impl Door {
    pub(crate) fn open() -> Self {
        let mut door = Self {
            directory: tempfile::tempdir().unwrap(),
            tasks: Tasks::new(),
            open: Arc::new(Mutex::new((Manner::Passes, CancellationToken::new()))),
        };
        door.come_back();
        door
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    /// The engine is gone: its socket too, and every connection.
    pub(crate) async fn go_away(&mut self) {
        self.open.lock().unwrap().1.cancel();
        self.tasks.shut_down(Duration::from_secs(10)).await.unwrap();
        let _ = std::fs::remove_file(self.socket());
    }

    pub(crate) fn come_back(&mut self) {
        self.tasks = Tasks::new();
        *self.open.lock().unwrap() = (Manner::Passes, CancellationToken::new());
        let listener = UnixListener::bind(self.socket()).unwrap();
        let (open, tasks, token) = (
            Arc::clone(&self.open),
            self.tasks.clone(),
            self.tasks.token().clone(),
        );
        self.tasks.spawn("door", OnFailure::Log, async move {
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (manner, cut) = open.lock().unwrap().clone();
                        tasks.spawn("caller", OnFailure::Log, pass(accepted?.0, manner, cut));
                    }
                    () = token.cancelled() => return Ok(()),
                }
            }
        });
    }

    /// New connections are taken and never answered; old ones are cut.
    pub(crate) fn fall_silent(&self) {
        let mut open = self.open.lock().unwrap();
        open.1.cancel();
        *open = (Manner::Silent, CancellationToken::new());
    }

    /// From silence.
    pub(crate) fn speak(&self) {
        let mut open = self.open.lock().unwrap();
        open.1.cancel();
        *open = (Manner::Passes, CancellationToken::new());
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.open.lock().unwrap().1.cancel();
        self.tasks.token().cancel();
    }
}

async fn pass(
    mut caller: UnixStream,
    manner: Manner,
    cut: CancellationToken,
) -> Result<(), zddcluster_runtime::Error> {
    let talk = async {
        match manner {
            Manner::Silent => std::future::pending().await,
            Manner::Passes => {
                let socket = Path::new(zddcluster_agent::docker::DEFAULT_SOCKET);
                let mut engine = UnixStream::connect(socket).await?;
                copy_bidirectional(&mut caller, &mut engine).await
            }
        }
    };
    tokio::select! {
        _ = talk => Ok(()),
        () = cut.cancelled() => Ok(()),
    }
}
