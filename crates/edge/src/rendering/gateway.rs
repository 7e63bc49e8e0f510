//! A gateway, as comments: HAProxy has no words for exact shares of backends.

use std::fmt::Write as _;

use super::words::line;
use crate::table::{Gateway, Goal, Table};

/// Writes a gateway and where its routes lead.
pub(super) fn write(out: &mut String, gateway: &Gateway, table: &Table) {
    let spec = &gateway.spec.spec;
    let port = spec.listen.port.map(|port| format!("port {port}"));
    let places: Vec<_> = port.into_iter().chain(spec.listen.vhosts.clone()).collect();
    let places = match places.is_empty() {
        true => "nothing of its own".to_owned(),
        false => line(&places.join(", ")),
    };
    let _ = writeln!(out, "\n# gateway {}, on {places}:", line(&spec.name));
    for (route, goal) in spec.routes.iter().zip(&gateway.goals) {
        let goal = match goal {
            Goal::Backend(at) => table.backends[*at].name.clone(),
            Goal::Gateway(name) => format!("gateway {}", line(name)),
            Goal::Nobody => "nobody".to_owned(),
        };
        let condition = match route.condition {
            Some(_) => format!(", and {} % of a condition", route.strength),
            None => String::new(),
        };
        let (name, weight) = (line(&route.name), route.weight);
        let _ = writeln!(out, "#   {name}, weight {weight}{condition}: {goal}");
    }
}
