//! Rules of role names in `acceptedResourceRoles` (contract marathon §1.2; the names are Mesos').

use super::Broken;
use crate::app::App;

/// Characters Mesos does not allow in a role name.
const FORBIDDEN: [(char, &str); 8] = [
    ('\x08', "backspace (\\x08)"),
    ('\t', "tab (\\x09)"),
    ('\n', "newline (\\x0a)"),
    ('\x0b', "vertical tab (\\x0b)"),
    ('\x0c', "form feed (\\x0c)"),
    ('\r', "carriage return (\\x0d)"),
    (' ', "space (\\x20)"),
    ('/', "slash (\\x2f)"),
];

pub(super) fn check(app: &App, broken: &mut Broken) {
    let path = "/acceptedResourceRoles";
    let Some(roles) = &app.accepted_resource_roles else {
        return;
    };
    if roles.is_empty() {
        broken.add(path, "set must not be empty");
    }
    for role in roles {
        if ["", ".", ".."].contains(&role.as_str()) {
            broken.add(path, format!("A role name must not be \"{role}\"."));
        }
        if role.starts_with('-') {
            broken.add(path, "A role name must not start with a '-'.");
        }
        for (forbidden, name) in FORBIDDEN {
            if role.contains(forbidden) {
                broken.add(
                    path,
                    format!("A role name must not include a {name} character."),
                );
            }
        }
    }
    if app.is_resident() && !roles.iter().eq(["*"]) {
        broken.add(
            path,
            "A resident app must have `acceptedResourceRoles = [\"*\"]`.",
        );
    }
}
