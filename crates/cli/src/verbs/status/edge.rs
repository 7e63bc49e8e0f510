//! What the cluster's edge tells of itself: it is asked, so that after a restart of anybody the answer is what holds.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use zddcluster_client::HttpClient;
use zddcluster_model::edge::{EdgeStatus, EdgeWarning, STATUS_PATH};

/// Where an edge answers for itself.
const STATS_PORT: u16 = 9090;
/// How long it may take: whoever asks for the status wants it now.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Asks the edge at `address`; `None` if it does not answer.
pub(super) async fn ask(address: IpAddr) -> Option<EdgeStatus> {
    let url = format!(
        "http://{}{STATUS_PATH}",
        SocketAddr::new(address, STATS_PORT)
    );
    let http = HttpClient::new();
    let answer = tokio::time::timeout(TIMEOUT, http.get_json(&url)).await;
    answer.ok()?.ok()
}

/// Where it is to be found.
pub(super) fn addresses(address: IpAddr, edge: Option<&EdgeStatus>) -> String {
    let mut text = address.to_string();
    let of_vhosts = edge.map(|edge| [("http", edge.http), ("https", edge.https)]);
    for (scheme, address) in of_vhosts.into_iter().flatten() {
        if let Some(address) = address {
            text += &format!(", vhosts {scheme}://{address}");
        }
    }
    let stats = SocketAddr::new(address, STATS_PORT);
    text + &format!(", stats http://{stats}/haproxy?stats")
}

/// Tells what is odd about apps.
pub(super) fn append_warnings(out: &mut String, edge: &EdgeStatus) {
    if !edge.warnings.is_empty() {
        out.push_str("\nthe edge warns:\n");
    }
    for warning in &edge.warnings {
        let EdgeWarning {
            app_id,
            subject,
            text,
        } = warning;
        let _ = writeln!(out, "  {app_id} {subject}: {text}");
    }
}
