//! What a task wants in its sandbox before it starts: local files for now.
//!
//! `file://` URIs and absolute paths are copied. Downloads and archives are refused with a message that says so,
//! rather than leaving the task without its files.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use zddcluster_model::app::Fetch;

use super::user::User;
use crate::containerizer::LaunchError;

/// Endings that Mesos' fetcher unpacks.
const ARCHIVES: [&str; 10] = [
    ".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz", ".gz", ".zip", ".jar.gz",
];

/// Copies everything a task asks for into its sandbox. Blocks.
pub(crate) fn fetch(
    wanted: &[Fetch],
    sandbox: &Path,
    user: Option<&User>,
) -> Result<(), LaunchError> {
    wanted.iter().try_for_each(|fetch| {
        copy(fetch, sandbox, user)
            .map_err(|why| LaunchError::new(format!("Failed to fetch '{}': {why}", fetch.uri)))
    })
}

fn copy(fetch: &Fetch, sandbox: &Path, user: Option<&User>) -> Result<(), String> {
    let source = source(&fetch.uri)?;
    let name = source
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or("it names no file")?;
    if fetch.extract && ARCHIVES.iter().any(|ending| name.ends_with(ending)) {
        return Err(
            "archives are not unpacked yet; set \"extract\": false to get the file as it is"
                .to_owned(),
        );
    }
    let target = target(fetch.output_file.as_deref().unwrap_or(name))?;
    let metadata = fs::metadata(&source).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    if let Some(user) = user {
        // The copy will be the user's: it must not show what the user could not read.
        let readable = metadata.uid() == user.uid
            || (metadata.gid() == user.gid && metadata.mode() & 0o040 != 0)
            || metadata.mode() & 0o004 != 0;
        if !readable {
            return Err(format!("user '{}' may not read it", user.name));
        }
    }
    let target = sandbox.join(target);
    let text = |error: std::io::Error| error.to_string();
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(text)?;
    }
    fs::copy(&source, &target).map_err(text)?;
    let mode = if fetch.executable { 0o755 } else { 0o644 };
    fs::set_permissions(&target, fs::Permissions::from_mode(mode)).map_err(text)?;
    if let Some(user) = user {
        std::os::unix::fs::chown(&target, Some(user.uid), Some(user.gid)).map_err(text)?;
    }
    Ok(())
}

fn source(uri: &str) -> Result<PathBuf, String> {
    let path = match uri.split_once("://") {
        Some(("file", path)) => path.strip_prefix("localhost").unwrap_or(path),
        Some((scheme, _)) => {
            return Err(format!(
                "{scheme} downloads are not supported yet; only file:// and absolute paths are"
            ));
        }
        None => uri,
    };
    if !path.starts_with('/') {
        return Err("a path must be absolute".to_owned());
    }
    Ok(PathBuf::from(path))
}

/// A name inside the sandbox.
fn target(name: &str) -> Result<&Path, String> {
    let path = Path::new(name);
    let is_inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let is_log = ["stdout", "stderr"]
        .iter()
        .any(|log| path == Path::new(log));
    if name.is_empty() || !is_inside || is_log {
        return Err(format!("'{name}' cannot be its name in the sandbox"));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(uri: &str) -> Fetch {
        Fetch {
            uri: uri.to_owned(),
            extract: true,
            executable: false,
            cache: false,
            output_file: None,
        }
    }

    #[test]
    fn copies_and_refuses() {
        let (outside, sandbox) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = outside.path().join("tool");
        fs::write(&file, "#!/bin/sh").unwrap();
        let uri = file.display().to_string();
        let order = Fetch {
            executable: true,
            output_file: Some("bin/it".to_owned()),
            ..wanted(&format!("file://{uri}"))
        };
        fetch(&[wanted(&uri), order], sandbox.path(), None).unwrap();
        assert_eq!(
            fs::metadata(sandbox.path().join("tool")).unwrap().mode() & 0o777,
            0o644
        );
        assert_eq!(
            fs::metadata(sandbox.path().join("bin/it")).unwrap().mode() & 0o777,
            0o755
        );

        let refused = |fetched: Fetch| fetch(&[fetched], sandbox.path(), None).unwrap_err().message;
        assert!(
            refused(wanted("http://example.com/x"))
                .contains("http downloads are not supported yet")
        );
        assert!(refused(wanted("/no/such/a.tar.gz")).contains("archives are not unpacked yet"));
        assert!(refused(wanted("/no/such/file")).contains("No such file"));
        assert!(refused(wanted("relative")).contains("must be absolute"));
        for name in ["../x", "/etc/x", "", "stderr"] {
            let order = Fetch {
                output_file: Some(name.to_owned()),
                ..wanted(&uri)
            };
            assert!(refused(order).contains("cannot be its name"), "{name}");
        }
    }
}
