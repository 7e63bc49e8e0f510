//! A socket between the containerizer and the engine, at which the engine can be away, silent, or slow.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use zddcluster_runtime::{OnFailure, Tasks};

/// What callers meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Passes,
    /// Takes connections and answers nothing.
    Silent,
    /// Whatever the engine says comes so much later.
    Slow(Duration),
}

/// How callers are let through now.
#[derive(Clone)]
struct Opening {
    manner: Manner,
    /// Ends the connections that were made so far.
    cut: CancellationToken,
    /// Keeps them, and lets nothing through any more.
    freeze: CancellationToken,
}

impl Opening {
    fn new(manner: Manner) -> Self {
        Self {
            manner,
            cut: CancellationToken::new(),
            freeze: CancellationToken::new(),
        }
    }
}

/// The socket in between.
pub(crate) struct Door {
    directory: tempfile::TempDir,
    tasks: Tasks,
    open: Arc<Mutex<Opening>>,
}

impl Door {
    pub(crate) fn open() -> Self {
        let mut door = Self {
            directory: tempfile::tempdir().unwrap(),
            tasks: Tasks::new(),
            open: Arc::new(Mutex::new(Opening::new(Manner::Passes))),
        };
        door.come_back();
        door
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    /// The engine is gone: its socket too, and every connection.
    pub(crate) async fn go_away(&mut self) {
        self.open.lock().unwrap().cut.cancel();
        self.tasks.shut_down(Duration::from_secs(10)).await.unwrap();
        let _ = std::fs::remove_file(self.socket());
    }

    pub(crate) fn come_back(&mut self) {
        self.tasks = Tasks::new();
        *self.open.lock().unwrap() = Opening::new(Manner::Passes);
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
                        let opening = open.lock().unwrap().clone();
                        tasks.spawn("caller", OnFailure::Log, pass(accepted?.0, opening));
                    }
                    () = token.cancelled() => return Ok(()),
                }
            }
        });
    }

    /// New connections are taken and never answered; old ones are cut.
    pub(crate) fn fall_silent(&self) {
        let mut open = self.open.lock().unwrap();
        open.cut.cancel();
        *open = Opening::new(Manner::Silent);
    }

    /// What the engine says on new connections comes so much later, piece by piece; old ones are cut.
    pub(crate) fn slow_down(&self, delay: Duration) {
        let mut open = self.open.lock().unwrap();
        open.cut.cancel();
        *open = Opening::new(Manner::Slow(delay));
    }

    /// Connections stay and carry nothing any more; new ones do.
    pub(crate) fn freeze(&self) {
        let mut open = self.open.lock().unwrap();
        open.freeze.cancel();
        open.freeze = CancellationToken::new();
    }

    /// From silence or slowness.
    pub(crate) fn speak(&self) {
        let mut open = self.open.lock().unwrap();
        open.cut.cancel();
        *open = Opening::new(Manner::Passes);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.open.lock().unwrap().cut.cancel();
        self.tasks.token().cancel();
    }
}

async fn engine() -> std::io::Result<UnixStream> {
    UnixStream::connect(Path::new(zddcluster_agent::docker::DEFAULT_SOCKET)).await
}

async fn pass(mut caller: UnixStream, opening: Opening) -> Result<(), zddcluster_runtime::Error> {
    let talk = async {
        match opening.manner {
            Manner::Silent => std::future::pending().await,
            Manner::Slow(delay) => {
                let mut engine = engine().await?;
                let (mut from_caller, mut to_caller) = caller.split();
                let (mut from_engine, mut to_engine) = engine.split();
                let there = async {
                    copy(&mut from_caller, &mut to_engine).await?;
                    to_engine.shutdown().await
                };
                let back = async {
                    let mut piece = vec![0; 64 << 10];
                    loop {
                        let length = from_engine.read(&mut piece).await?;
                        tokio::time::sleep(delay).await;
                        if length == 0 {
                            return to_caller.shutdown().await;
                        }
                        to_caller.write_all(&piece[..length]).await?;
                    }
                };
                tokio::try_join!(there, back).map(|_| ())
            }
            Manner::Passes => {
                let mut engine = engine().await?;
                tokio::select! {
                    copied = copy_bidirectional(&mut caller, &mut engine) => copied.map(|_| ()),
                    () = opening.freeze.cancelled() => std::future::pending().await,
                }
            }
        }
    };
    let talk: std::io::Result<()> = tokio::select! {
        talked = talk => talked,
        () = opening.cut.cancelled() => Ok(()),
    };
    Ok(talk?)
}
