//! Rules of containers, volumes and residency (contract marathon §1.6, §1.2).

use super::Broken;
use crate::app::{App, Volume, VolumeMode};

/// The only provider of external volumes.
const PROVIDER: &str = "dvdi";

pub(super) fn check(app: &App, broken: &mut Broken) {
    if app.image().is_some_and(str::is_empty) {
        broken.add("/container/image", "must not be empty");
    }
    let appc = app
        .container
        .as_ref()
        .and_then(|container| container.appc.as_ref());
    if appc
        .and_then(|appc| appc.id.as_ref())
        .is_some_and(|id| !is_image_id(id))
    {
        broken.add(
            "/container/appc/id",
            "must be 'sha512-' and hexadecimal digits",
        );
    }
    for (idx, volume) in app.volumes().enumerate() {
        check_volume(volume, &format!("/container/volumes({idx})"), broken);
    }
    let is_persistent = app.volumes().any(|volume| volume.persistent.is_some());
    if is_persistent != app.is_resident() {
        let text = "AppDefinition must contain persistent volumes and define residency";
        broken.add("/", text);
    }
}

fn is_image_id(id: &str) -> bool {
    id.strip_prefix("sha512-")
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn check_volume(volume: &Volume, path: &str, broken: &mut Broken) {
    let Volume {
        container_path,
        host_path,
        mode,
        persistent,
        external,
    } = volume;
    if container_path.is_empty() {
        broken.add(format!("{path}/containerPath"), "must not be empty");
    }
    if let Some(persistent) = persistent {
        if container_path.contains('/') {
            broken.add(
                format!("{path}/containerPath"),
                "value must not contain \"/\"",
            );
        }
        if *mode == VolumeMode::Ro {
            broken.add(format!("{path}/mode"), "got RO, expected RW");
        }
        // Written so that it also catches what is no number.
        if persistent.size.is_nan() || persistent.size <= 0.0 {
            let text = format!("got {}, expected more than 0", persistent.size);
            broken.add(format!("{path}/persistent/size"), text);
        }
    }
    if let Some(external) = external {
        if external.name.is_empty() {
            broken.add(format!("{path}/external/name"), "must not be empty");
        }
        if external.provider != PROVIDER {
            broken.add(
                format!("{path}/external/provider"),
                format!("is not one of ({PROVIDER})"),
            );
        }
    }
    if persistent.is_none() && external.is_none() && host_path.as_deref().is_none_or(str::is_empty)
    {
        broken.add(format!("{path}/hostPath"), "must not be empty");
    }
}
