//! Persistent volumes: directories that outlive the tasks that use them.
//!
//! ```text
//!   <work_dir>/volumes/<persistence id>/    made for the first task, found by each further one, gone only by the master's order
//! ```
//!
//! A volume is mounted into the sandbox by the containerizer: as a link for a process, as a bind mount for a container.
//! Nothing here decides that a volume may go; one that the master does not speak of stays, whoever that master is.
//! Source: Mesos' layout `volumes/roles/<role>/<persistence id>`, without roles.

use std::io;
use std::path::{Path, PathBuf};

use zddcluster_model::agent::MountVolume;

use crate::containerizer::{LaunchError, Order, Owner};
use crate::durable::sync_parent;
use crate::journal::is_segment;

const VOLUMES: &str = "volumes";

/// The volumes of one work directory.
#[derive(Clone, Debug)]
pub(crate) struct Volumes {
    directory: PathBuf,
}

impl Volumes {
    pub(crate) fn new(work_dir: &Path) -> Self {
        Self {
            directory: work_dir.join(VOLUMES),
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes the directory that holds them.
    pub(crate) fn create(&self) -> io::Result<()> {
        std::fs::create_dir_all(&self.directory)
    }

    /// The persistence ids of all there are. An error never means that there are none: the master would believe it.
    pub(crate) fn list(&self) -> io::Result<Vec<String>> {
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            // A name that is no text is none of ours.
            if let Ok(id) = entry?.file_name().into_string() {
                ids.push(id);
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// Takes a volume away with all that is in it; one that is not there is fine.
    pub(crate) fn destroy(&self, id: &str) -> io::Result<()> {
        if !is_segment(id) {
            let text = format!("'{id}' cannot be the name of a volume");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let path = self.directory.join(id);
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => sync_parent(&path),
        }
    }
}

impl Order {
    /// Where a volume of the task is.
    pub(crate) fn volume_path(&self, volume: &MountVolume) -> PathBuf {
        self.volumes.join(&volume.persistence_id)
    }

    /// The persistent volume that the task finds under this name.
    pub(crate) fn volume_at(&self, container_path: &str) -> Option<&MountVolume> {
        let mut volumes = self.launch.volumes.iter();
        volumes.find(|volume| volume.container_path == container_path)
    }

    /// Makes the task's new volumes, flushed, and sees to it that the others are there. Blocks.
    pub(crate) fn prepare_volumes(&self) -> Result<(), LaunchError> {
        for volume in &self.launch.volumes {
            let id = &volume.persistence_id;
            if !is_segment(id) {
                let text = format!("'{id}' cannot be the name of a volume");
                return Err(LaunchError::new(text));
            }
            let path = self.volume_path(volume);
            if path.is_dir() {
                continue;
            }
            if !volume.is_new {
                return Err(LaunchError::new(format!(
                    "the persistent volume {id} is not on this agent any more; \
                     kill the app's tasks with wipe=true to begin with an empty one"
                )));
            }
            let made = std::fs::create_dir(&path).and_then(|()| sync_parent(&path));
            made.map_err(|error| {
                LaunchError::new(format!(
                    "Failed to create the persistent volume {id}: {error}"
                ))
            })?;
        }
        Ok(())
    }

    /// Gives the task's volumes, not what is in them, to the user that it runs as. Blocks.
    pub(crate) fn give_volumes(&self, owner: &Owner) -> Result<(), LaunchError> {
        for volume in &self.launch.volumes {
            let path = self.volume_path(volume);
            std::os::unix::fs::chown(path, Some(owner.uid), Some(owner.gid)).map_err(|error| {
                let id = &volume.persistence_id;
                LaunchError::new(format!(
                    "Failed to give away the persistent volume {id}: {error}"
                ))
            })?;
        }
        Ok(())
    }

    /// Puts links to the task's volumes into its sandbox. Blocks.
    pub(crate) fn link_volumes(&self) -> Result<(), LaunchError> {
        for volume in &self.launch.volumes {
            let name = &volume.container_path;
            let refused = |why: String| {
                LaunchError::new(format!(
                    "Failed to mount the persistent volume at '{name}': {why}"
                ))
            };
            if !is_segment(name) {
                return Err(refused("it must be a name in the sandbox".to_owned()));
            }
            let (path, link) = (self.volume_path(volume), self.sandbox.join(name));
            // The same order came before, and to nothing.
            if std::fs::read_link(&link).is_ok_and(|to| to == path) {
                continue;
            }
            std::os::unix::fs::symlink(path, link).map_err(|error| refused(error.to_string()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_volumes_are_destroyed_and_that_more_than_once() {
        let directory = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(directory.path());
        volumes.create().unwrap();
        std::fs::create_dir_all(volumes.directory().join("a#data#1/deep")).unwrap();
        std::fs::create_dir(volumes.directory().join("b#data#2")).unwrap();
        assert_eq!(volumes.list().unwrap(), ["a#data#1", "b#data#2"]);
        volumes.destroy("a#data#1").unwrap();
        volumes.destroy("a#data#1").unwrap();
        for other in ["", ".", "..", "../meta", "b#data#2/x"] {
            assert!(volumes.destroy(other).is_err(), "{other}");
        }
        assert_eq!(volumes.list().unwrap(), ["b#data#2"]);
        std::fs::remove_dir_all(volumes.directory()).unwrap();
        assert!(volumes.list().is_err(), "not the same as none");
    }
}
