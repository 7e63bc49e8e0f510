//! Users of this machine, from `/etc/passwd` (other sources of users are not asked).

use zddcluster_model::agent::LaunchTask;

use crate::containerizer::{LaunchError, Owner};

/// One line of `/etc/passwd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: String,
}

impl User {
    /// As the owner of files.
    pub(crate) fn owner(&self) -> Owner {
        Owner {
            name: self.name.clone(),
            uid: self.uid,
            gid: self.gid,
        }
    }
}

/// All users.
pub(crate) fn users() -> Vec<User> {
    parse(&std::fs::read_to_string("/etc/passwd").unwrap_or_default())
}

fn parse(passwd: &str) -> Vec<User> {
    let user = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields.as_slice() else {
            return None;
        };
        Some(User {
            name: (*name).to_owned(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            home: (*home).to_owned(),
        })
    };
    passwd.lines().filter_map(user).collect()
}

/// The user to change to for a launch; `None` if the agent's own is meant.
pub(crate) fn of(launch: &LaunchTask) -> Result<Option<User>, LaunchError> {
    let Some(name) = &launch.user else {
        return Ok(None);
    };
    let me = rustix::process::geteuid();
    let user = users()
        .into_iter()
        .find(|user| user.name == *name)
        .ok_or_else(|| {
            LaunchError::new(format!(
                "Failed to get user information for '{name}': no such user"
            ))
        })?;
    if user.uid == me.as_raw() {
        return Ok(None);
    }
    if !me.is_root() {
        return Err(LaunchError::new(format!(
            "the task is to run as user '{name}', and this agent, not being root, cannot change its user"
        )));
    }
    Ok(Some(user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_passwd() {
        let found = parse(
            "root:x:0:0:root:/root:/bin/bash\nbroken\nnobody:x:65534:65534::/nonexistent:/bin/false\n",
        );
        let user = |name: &str, id, home: &str| User {
            name: name.into(),
            uid: id,
            gid: id,
            home: home.into(),
        };
        assert_eq!(
            found,
            [
                user("root", 0, "/root"),
                user("nobody", 65534, "/nonexistent")
            ]
        );
    }
}
