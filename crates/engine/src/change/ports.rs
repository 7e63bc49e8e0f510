//! Which service ports apps get.
//!
//! Source: contract marathon §1.5.

use std::collections::BTreeSet;

use zddcluster_model::Group;
use zddcluster_model::app::App;

use crate::effect::Refusal;

/// Service ports are assigned from here, Marathon's default range.
const SERVICE_PORTS: std::ops::Range<u16> = 10_000..20_000;

/// The service ports of all apps.
pub(super) fn used_ports(root: &Group) -> BTreeSet<u16> {
    let apps = root.transitive_apps().into_iter();
    apps.flat_map(|app| app.service_ports()).collect()
}

/// Gives each service port 0 a number: first the app's own earlier ones, then the lowest that no app uses.
///
/// `used` are the ports of all apps of the old tree and the new one so far; the app's are added.
/// Source: contract marathon §1.5.
pub(super) fn assign_service_ports(
    app: &mut App,
    previous: Option<&App>,
    used: &mut BTreeSet<u16>,
) -> Result<(), Refusal> {
    let mut ports = app.service_ports();
    used.extend(ports.iter().copied());
    if !ports.contains(&0) {
        return Ok(());
    }
    let mut own = previous
        .map(App::service_ports)
        .unwrap_or_default()
        .into_iter()
        .filter(|port| SERVICE_PORTS.contains(port) && !ports.contains(port))
        .collect::<Vec<_>>()
        .into_iter();
    let mut free = SERVICE_PORTS.filter(|port| !used.contains(port));
    for port in ports.iter_mut().filter(|port| **port == 0) {
        *port = match own.next() {
            Some(port) => port,
            None => free.next().ok_or(Refusal::PortsExhausted)?,
        };
    }
    used.extend(ports.iter().copied());
    app.set_service_ports(&ports);
    Ok(())
}
