//! Where the token comes from, and who may do without.
//!
//! `--token-file` names a file, `ZDD_TOKEN` holds the token itself; the flag goes first. It is never an argument, so that
//! nobody reads it in the list of processes, and never part of what is printed.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::{fs, io};

use zddcluster_cli::TokenArgs;
use zddcluster_runtime::Token;

/// Holds the token itself.
const TOKEN: &str = "ZDD_TOKEN";

/// Names the file for built-in roles that run as tasks.
pub(crate) const TOKEN_FILE: &str = "ZDD_TOKEN_FILE";

/// How much of a token file is read; more is no token.
const LONGEST: u64 = 64 * 1024;

/// Reads the token, if there is one; what is wrong with it joins `faults`.
pub(crate) fn read(args: &TokenArgs, faults: &mut Vec<String>) -> Option<Token> {
    let from_env = std::env::var(TOKEN)
        .ok()
        .filter(|token| !token.trim().is_empty());
    let (origin, text) = match (args.file(), from_env) {
        (Some(path), _) => match read_file(path) {
            Ok(text) => (path.display().to_string(), text),
            Err(error) => {
                faults.push(format!(
                    "cannot read the token in {}: {error}",
                    path.display()
                ));
                return None;
            }
        },
        (None, Some(text)) => (TOKEN.to_owned(), text),
        (None, None) => return None,
    };
    Token::parse(&text)
        .map_err(|error| {
            faults.push(format!(
                "{origin} holds no token: {error}; hint: openssl rand -hex 32 makes one"
            ));
        })
        .ok()
}

fn read_file(path: &Path) -> io::Result<String> {
    let file = fs::File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(io::Error::other(
            "every user of this machine may open it; hint: chmod 600",
        ));
    }
    io::read_to_string(io::Read::take(file, LONGEST))
}

/// Whoever can connect to an API could start processes, so one that is not on loopback needs a token.
pub(crate) fn demand(
    token: Option<&Token>,
    flag: &str,
    listens_at: SocketAddr,
    faults: &mut Vec<String>,
) {
    if token.is_none() && !listens_at.ip().is_loopback() {
        faults.push(format!(
            "{flag} {listens_at} can be reached from other machines, and whoever reaches it could start processes; hint: set a \
             token with --token-file FILE (or {TOKEN}), or listen on a loopback address"
        ));
    }
}

/// Writes the token where built-in roles that run as tasks of this agent find it; for this user only.
pub(crate) fn leave_for_tasks(token: &Token, work_dir: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(work_dir)?.join("token");
    let new = path.with_extension("new");
    let mut file = fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(token.reveal().as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";

    #[test]
    fn a_file_for_all_to_read_is_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, SECRET).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(
            read_file(&path)
                .unwrap_err()
                .to_string()
                .contains("chmod 600")
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_file(&path).unwrap(), SECRET);
    }

    #[test]
    fn tasks_find_it_and_nobody_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let token = Token::parse(SECRET).unwrap();
        let path = leave_for_tasks(&token, dir.path()).unwrap();
        assert_eq!(Token::parse(&read_file(&path).unwrap()).unwrap(), token);
        assert_eq!(leave_for_tasks(&token, dir.path()).unwrap(), path);
    }

    #[test]
    fn only_loopback_goes_without() {
        let mut faults = Vec::new();
        demand(None, "--front", "127.0.0.1:1".parse().unwrap(), &mut faults);
        let token = Token::parse(SECRET).unwrap();
        let open = "0.0.0.0:1".parse().unwrap();
        demand(Some(&token), "--front", open, &mut faults);
        assert_eq!(faults, Vec::<String>::new());
        demand(None, "--front", open, &mut faults);
        assert!(
            faults[0].starts_with("--front 0.0.0.0:1 ") && faults[0].contains("--token-file"),
            "{faults:?}"
        );
    }
}
