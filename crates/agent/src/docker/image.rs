//! Which image a task runs in, and how it comes to be in the engine.
//!
//! ```text
//!   a built-in name   there, with our label and digest ──▶ used
//!                     there, with our label, other digest ──▶ made anew, the old one taken away
//!                     there, without our label ──▶ used: the user has the real one
//!                     absent ──▶ made from this executable, never pulled
//!   any other name    there ──▶ used as it is;  absent, or forcePullImage ──▶ pulled, or the task fails in the engine's words
//! ```
//!
//! An image that was once seen is taken for there until a container cannot be made of it: [`Images::forget`].

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::{OnceCell, mpsc};

use super::bundle::{self, Bundle};
use super::engine::{Engine, EngineError};
use crate::containerizer::LaunchError;
use crate::process::command::{Image, not_yet};

/// On images we made: what they were made of.
const DIGEST_LABEL: &str = "zddcluster.digest";

/// On images we made: which of our roles they run.
const ROLE_LABEL: &str = "zddcluster.role";

/// Part of every digest; to be raised when the form of images changes.
const FORM: &str = "1";

/// Bytes that go to the engine at once.
const CHUNK: usize = 256 << 10;

/// Chunks that wait for the engine: a slow one holds the reading back.
const QUEUE: usize = 4;

/// One block of a tar.
const BLOCK: u64 = 512;

/// An image that is in the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Present {
    /// What a container is made of.
    pub(crate) reference: String,
    /// Whether it is of our making, so that our environment goes with it.
    pub(crate) is_built_in: bool,
    /// For the task's log.
    pub(crate) notes: Vec<String>,
}

/// The images of one engine, as far as tasks asked for them.
#[derive(Debug)]
pub(crate) struct Images {
    engine: Arc<Engine>,
    executable: PathBuf,
    known: Mutex<HashMap<String, Present>>,
    /// Held while an image is made: twenty tasks that start at once need one.
    making: tokio::sync::Mutex<()>,
    made: OnceCell<Arc<Layer>>,
}

/// Everything built-in images have in common.
#[derive(Debug)]
struct Layer {
    bundle: Bundle,
    /// Of the layer's tar.
    sha256: String,
    /// The tar's length, bytes.
    size: u64,
}

impl Images {
    /// `executable` must be the running one: images are made from its memory map.
    pub(crate) fn new(engine: Arc<Engine>, executable: PathBuf) -> Self {
        Self {
            engine,
            executable,
            known: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            made: OnceCell::new(),
        }
    }

    /// Sees to it that `image` is in the engine.
    pub(crate) async fn ensure(&self, image: &str, pulls: bool) -> Result<Present, LaunchError> {
        check_name(image)?;
        let kind = Image::of(image);
        let must_pull = pulls && kind == Image::Foreign;
        if !must_pull && let Some(present) = self.known(image) {
            return Ok(with_note(present, pulls));
        }
        let present = match kind {
            Image::BuiltIn(role) => self.built_in(image, role).await?,
            Image::NotYet => self.real_one_of(image).await?,
            Image::Foreign => self.foreign(image, must_pull).await?,
        };
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(image.to_owned(), present.clone());
        Ok(with_note(present, pulls))
    }

    /// It was not there after all: looked for anew at the next launch.
    pub(crate) fn forget(&self, image: &str) {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(image);
    }

    fn known(&self, image: &str) -> Option<Present> {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(image)
            .cloned()
    }

    async fn foreign(&self, image: &str, must_pull: bool) -> Result<Present, LaunchError> {
        if !must_pull {
            match self.engine.image(image).await {
                Ok(_) => return Ok(as_it_is(image)),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(failed(image, "look for", &error)),
            }
        }
        tracing::info!(image, "pulling an image");
        match self.engine.pull(image).await {
            Ok(()) => Ok(as_it_is(image)),
            Err(error) => Err(failed(image, "pull", &error)),
        }
    }

    /// A name that will be built in one day: the user may have the original.
    async fn real_one_of(&self, image: &str) -> Result<Present, LaunchError> {
        match self.engine.image(image).await {
            Ok(_) => Ok(as_it_is(image)),
            Err(error) if error.is_not_found() => Err(not_yet(image)),
            Err(error) => Err(failed(image, "look for", &error)),
        }
    }

    async fn built_in(&self, image: &str, role: &'static str) -> Result<Present, LaunchError> {
        let reference = local_reference(image);
        let _making = self.making.lock().await;
        if let Some(present) = self.known(image) {
            return Ok(present);
        }
        let made = Present {
            reference: reference.clone(),
            is_built_in: true,
            notes: Vec::new(),
        };
        let found = match self.engine.image(&reference).await {
            Ok(found) => Some(found),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(failed(image, "look for", &error)),
        };
        let label = |label: &str| {
            let labels = found.as_ref()?.config.as_ref()?.labels.as_ref()?;
            labels.get(label).cloned()
        };
        if found.is_some() && label(DIGEST_LABEL).is_none() {
            let mut present = as_it_is(&reference);
            present.notes.push(
                "the engine has an image of this name; the built-in one is not used".to_owned(),
            );
            return Ok(present);
        }
        let unmade = |error: &dyn std::fmt::Display| {
            LaunchError::new(format!(
                "Failed to make the built-in image {image}: {error}"
            ))
        };
        let layer = self.layer().await.map_err(|error| unmade(&error))?;
        let digest = layer.digest(role);
        if label(DIGEST_LABEL).as_ref() == Some(&digest) {
            return Ok(made);
        }
        tracing::info!(image, role, bytes = layer.size, "making a built-in image");
        let loaded = self
            .engine
            .load(save(Arc::clone(&layer), role, reference.clone()))
            .await;
        loaded.map_err(|error| unmade(&error))?;
        // Some engines take in what they do not understand and say nothing.
        let now = self
            .engine
            .image(&reference)
            .await
            .map_err(|error| unmade(&error))?;
        if let Some(old) = found
            .and_then(|found| found.id)
            .filter(|old| now.id.as_ref() != Some(old))
        {
            // Refused while containers or other names use it, and then it is somebody's.
            if let Err(error) = self.engine.remove_image(&old).await {
                tracing::debug!(image = old, %error, "an older built-in image stays");
            }
        }
        Ok(made)
    }

    async fn layer(&self) -> io::Result<Arc<Layer>> {
        let made = self.made.get_or_try_init(|| async {
            let executable = self.executable.clone();
            tokio::task::spawn_blocking(move || Layer::make(&executable).map(Arc::new))
                .await
                .map_err(io::Error::other)?
        });
        made.await.cloned()
    }
}

impl Layer {
    /// Reads everything once for the digest. Blocks.
    fn make(executable: &std::path::Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let id = |path: &std::path::Path| {
            std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
        };
        let running = id(std::path::Path::new("/proc/self/exe"))?;
        // One that was replaced on disk since is still the running one.
        if id(executable).is_ok_and(|named| named != running)
            && std::fs::read_link("/proc/self/exe")? != executable
            && !std::fs::read_link("/proc/self/exe")?
                .to_string_lossy()
                .ends_with(" (deleted)")
        {
            return Err(io::Error::other(format!(
                "{} is not the program that runs",
                executable.display()
            )));
        }
        let bundle = Bundle::of_this_process()?;
        let mut hash = Hashing::default();
        bundle.write(&mut hash)?;
        Ok(Self {
            bundle,
            sha256: hex(&hash.hasher.finalize()),
            size: hash.size,
        })
    }

    /// What an image of a role is made of.
    fn digest(&self, role: &str) -> String {
        let mut hasher = Sha256::new();
        for part in [FORM, role, &self.sha256] {
            hasher.update(part);
            hasher.update([0]);
        }
        hex(&hasher.finalize())
    }

    /// The image's configuration: OCI image-spec `config.md`.
    fn config(&self, role: &str) -> Vec<u8> {
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"],
                "Entrypoint": [bundle::EXECUTABLE, role],
                "Labels": { (DIGEST_LABEL): self.digest(role), (ROLE_LABEL): role },
            },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", self.sha256)] },
            "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "zddcluster" }],
        });
        config.to_string().into_bytes()
    }

    /// Writes it as `docker save` does. Blocks.
    fn save(&self, role: &str, reference: &str, mut out: impl Write) -> io::Result<()> {
        let header_of = |path: &str, size: u64| -> io::Result<tar::Header> {
            let mut header = tar::Header::new_gnu();
            header.set_path(path)?;
            header.set_size(size);
            header.set_mode(0o644);
            header.set_mtime(0);
            header.set_cksum();
            Ok(header)
        };
        out.write_all(header_of("layer.tar", self.size)?.as_bytes())?;
        self.bundle.write(&mut out)?;
        let padding = (BLOCK - self.size % BLOCK) % BLOCK;
        io::copy(&mut io::Read::take(io::repeat(0), padding), &mut out)?;
        let config = self.config(role);
        let config_name = format!("{}.json", hex(&Sha256::digest(&config)));
        let manifest =
            json!([{ "Config": config_name, "RepoTags": [reference], "Layers": ["layer.tar"] }]);
        let manifest = manifest.to_string().into_bytes();
        let mut tar = tar::Builder::new(out);
        for (path, content) in [(config_name.as_str(), config), ("manifest.json", manifest)] {
            tar.append(&header_of(path, content.len() as u64)?, content.as_slice())?;
        }
        tar.into_inner()?.flush()
    }
}

/// The image's tar as it is read: never whole in memory.
fn save(
    layer: Arc<Layer>,
    role: &'static str,
    reference: String,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (sender, receiver) = mpsc::channel(QUEUE);
    // Ends by itself: its channel closes when the stream is dropped.
    tokio::task::spawn_blocking(move || {
        let out = io::BufWriter::with_capacity(CHUNK, Sending(sender.clone()));
        if let Err(error) = layer.save(role, &reference, out) {
            let _ = sender.blocking_send(Err(error));
        }
    });
    futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    })
}

/// Writes into a channel.
struct Sending(mpsc::Sender<io::Result<Bytes>>);

impl Write for Sending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(CHUNK);
        self.0
            .blocking_send(Ok(Bytes::copy_from_slice(&bytes[..n])))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counts and hashes.
#[derive(Default)]
struct Hashing {
    hasher: Sha256,
    size: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Says in the task's log what was not done for it.
fn with_note(mut present: Present, pulls: bool) -> Present {
    if pulls && present.is_built_in {
        present
            .notes
            .push("forcePullImage is ignored: the image is built in".to_owned());
    }
    present
}

fn as_it_is(image: &str) -> Present {
    Present {
        reference: image.to_owned(),
        is_built_in: false,
        notes: Vec::new(),
    }
}

fn failed(image: &str, verb: &str, error: &EngineError) -> LaunchError {
    LaunchError::new(format!(
        "Failed to launch container: failed to {verb} image '{image}': {error}"
    ))
}

/// What a built-in image is tagged with; a digest is no tag.
fn local_reference(image: &str) -> String {
    match image.split_once('@') {
        Some((name, _digest)) => format!("{name}:zddcluster"),
        None => image.to_owned(),
    }
}

/// Names go into the path of a request: only what image names are made of.
fn check_name(image: &str) -> Result<(), LaunchError> {
    let is_name = image
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b))
        && !image.is_empty()
        && image
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.'));
    if is_name {
        return Ok(());
    }
    Err(LaunchError::new(format!(
        "Failed to launch container: '{image}' is no name of an image"
    )))
}

/// As Go names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["nginx", "registry:5000/a/b:1.0", "a@sha256:00ff"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", "../containers/x", "a//b", "a b", "a?x=1", "a/../b"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert_eq!(local_reference("a/b@sha256:00"), "a/b:zddcluster");
    }

    #[test]
    fn a_save_holds_what_its_manifest_names() {
        let layer = Layer::make(&std::env::current_exe().unwrap()).unwrap();
        let mut saved = Vec::new();
        layer.save("edge", "a/b:1", &mut saved).unwrap();
        let mut found = HashMap::new();
        for entry in tar::Archive::new(saved.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            io::Read::read_to_end(&mut entry, &mut content).unwrap();
            found.insert(entry.path().unwrap().display().to_string(), content);
        }
        let manifest: serde_json::Value = serde_json::from_slice(&found["manifest.json"]).unwrap();
        assert_eq!(manifest[0]["RepoTags"], json!(["a/b:1"]));
        let config = &found[manifest[0]["Config"].as_str().unwrap()];
        let config: serde_json::Value = serde_json::from_slice(config).unwrap();
        let diff_id = format!("sha256:{}", hex(&Sha256::digest(&found["layer.tar"])));
        assert_eq!(config["rootfs"]["diff_ids"], json!([diff_id]));
        assert_eq!(
            config["config"]["Entrypoint"],
            json!([bundle::EXECUTABLE, "edge"])
        );
        assert_ne!(layer.digest("edge"), layer.digest("simpleservice"));
    }
}
