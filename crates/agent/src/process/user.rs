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

/// Whose files are the user's of a container: `name`, `uid` or `uid:gid`, of which this machine need not know anybody.
///
/// `None` for a name that only the image knows.
pub(crate) fn of_container(text: &str, known: &[User]) -> Option<Owner> {
    let (name, group) = match text.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (text, None),
    };
    let user = known
        .iter()
        .find(|user| user.name == name || user.uid.to_string() == name);
    let uid = match user {
        Some(user) => user.uid,
        None => name.parse().ok()?,
    };
    let gid = group.and_then(|group| group.parse().ok());
    // As the engine does for a number that the image does not know.
    let gid = gid.or_else(|| user.map(|user| user.gid)).unwrap_or(0);
    Some(Owner {
        name: name.to_owned(),
        uid,
        gid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_containers() {
        let known = parse("www:x:33:34::/var/www:/bin/false\n");
        for (text, expected) in [
            ("www", Some((33, 34))),
            ("33", Some((33, 34))),
            ("33:7", Some((33, 7))),
            ("1234", Some((1234, 0))),
            ("1234:5678", Some((1234, 5678))),
            ("only-in-the-image", None),
        ] {
            let owner = of_container(text, &known);
            assert_eq!(
                owner.map(|owner| (owner.uid, owner.gid)),
                expected,
                "{text}"
            );
        }
    }

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
