//! Reading what edges say: ours, or Marathon-LB's.
//!
//! An edge's host may have several addresses; each is an edge of its own and is asked. Source: contract marathon-lb §3.1, §5.2.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::HOST;
use url::Url;
use zddcluster_client::HttpClient;

use super::swap::{Seen, Server};

/// How long an edge may take for its statistics.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The edges behind one address.
#[derive(Clone, Debug)]
pub(super) struct Edges {
    url: Url,
    http: HttpClient,
}

/// Why the edges cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum EdgeError {
    #[error("{url} is no http:// address of an edge: {reason}")]
    Address { url: String, reason: String },
    #[error("the edge's host {host} has no address")]
    Resolve {
        host: String,
        source: std::io::Error,
    },
    #[error("the edge at {address} does not answer")]
    Ask {
        address: String,
        source: zddcluster_client::HttpError,
    },
    #[error("the edge at {address} answered {what} that cannot be read")]
    Unreadable { address: String, what: &'static str },
}

impl Edges {
    /// The edges at `url`, which names the port for statistics.
    pub(super) fn at(url: &str) -> Result<Self, EdgeError> {
        let fault = |reason: &str| EdgeError::Address {
            url: url.to_owned(),
            reason: reason.to_owned(),
        };
        let parsed = Url::parse(url).map_err(|error| fault(&error.to_string()))?;
        if parsed.scheme() != "http" || parsed.host_str().is_none() {
            return Err(fault("it has to begin with http:// and a host"));
        }
        Ok(Self {
            url: parsed,
            http: HttpClient::new(),
        })
    }

    /// Asks all of them about the backend of this name.
    pub(super) async fn look(&self, backend: &str) -> Result<Seen, EdgeError> {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port_or_known_default().unwrap_or(80);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found = tokio::net::lookup_host((bare, port)).await;
        let found = found.map_err(|source| EdgeError::Resolve {
            host: host.to_owned(),
            source,
        })?;
        let mut addresses: Vec<_> = found.map(|address| address.to_string()).collect();
        addresses.sort();
        addresses.dedup();
        let mut seen = Seen::default();
        for address in addresses {
            let csv = self.get(&address, host, "/haproxy?stats;csv").await?;
            let servers = servers_of(&csv, backend).ok_or_else(|| EdgeError::Unreadable {
                address: address.clone(),
                what: "statistics",
            })?;
            let pids = self.get(&address, host, "/_haproxy_getpids").await?;
            seen.n_edges += 1;
            seen.servers.extend(servers);
            seen.n_pids = seen.n_pids.max(pids.split_whitespace().count());
        }
        Ok(seen)
    }

    async fn get(&self, address: &str, host: &str, path: &str) -> Result<String, EdgeError> {
        let unreadable = || EdgeError::Unreadable {
            address: address.to_owned(),
            what: "something",
        };
        let request = Request::get(format!("http://{address}{path}")).header(HOST, host);
        let request = request.body(Bytes::new()).map_err(|_| unreadable())?;
        let answer = self
            .http
            .send(request, TIMEOUT)
            .await
            .map_err(|source| EdgeError::Ask {
                address: address.to_owned(),
                source,
            })?;
        if !answer.status().is_success() {
            return Err(unreadable());
        }
        String::from_utf8(answer.into_body().to_vec()).map_err(|_| unreadable())
    }
}

/// The servers of a backend in an edge's CSV; `None` if it is no such thing.
fn servers_of(csv: &str, backend: &str) -> Option<Vec<Server>> {
    let mut lines = csv.lines();
    let names: Vec<&str> = lines.next()?.strip_prefix("# ")?.split(',').collect();
    let at = |name: &str| names.iter().position(|found| *found == name);
    let columns = [
        at("pxname")?,
        at("svname")?,
        at("status")?,
        at("qcur")?,
        at("scur")?,
    ];
    let mut servers = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let cells: Vec<&str> = line.split(',').collect();
        let cell = |column: usize| cells.get(columns[column]).copied();
        let name = cell(1)?;
        if cell(0)? == backend && !["FRONTEND", "BACKEND"].contains(&name) {
            servers.push(Server {
                name: name.to_owned(),
                status: cell(2)?.to_owned(),
                is_idle: ["", "0"].contains(&cell(3)?) && ["", "0"].contains(&cell(4)?),
            });
        }
    }
    Some(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_by_the_names_of_columns() {
        let csv = "# svname,pxname,x,status,scur,qcur,\nFRONTEND,a_1,,OPEN,1,,\n1_2_3_4_5,a_1,,MAINT,0,0,\n\
                   1_2_3_4_6,a_1,,UP 1/4,2,0,\nother,b_1,,UP,0,0,\nBACKEND,a_1,,UP,1,0,\n";
        let servers = servers_of(csv, "a_1").unwrap();
        let shown: Vec<_> = servers
            .iter()
            .map(|server| format!("{} {} {}", server.name, server.status, server.is_idle))
            .collect();
        assert_eq!(shown, ["1_2_3_4_5 MAINT true", "1_2_3_4_6 UP 1/4 false"]);
        assert_eq!(servers_of("<html>", "a_1"), None);
        assert_eq!(servers_of("# pxname,x,\n", "a_1"), None);
    }
}
