//! The OPT record of a query and that of its reply (EDNS, RFC 6891).
//!
//! Only with extras: Mesos-DNS takes no notice of it, and then neither do we. Nothing of it is understood but the size and DO, which
//! is copied as RFC 3225 wants it. Options and the other flags have no meaning here and are not sent back. A query with two OPT
//! records, or one that is not the root's, is answered with FORMERR before it comes here.

use hickory_server::proto::op::Edns;
use hickory_server::zone_handler::MessageRequest;

use crate::zone::Zone;

/// What we take and send over UDP: what is not broken into pieces on any usual path (DNS flag day 2020).
pub(crate) const UDP_SIZE: u16 = 1232;

/// The only version there is.
const VERSION: u8 = 0;

/// The query's OPT record, if the zone takes notice of it.
pub(crate) fn asked<'q>(zone: &Zone, request: &'q MessageRequest) -> Option<&'q Edns> {
    request.edns.as_ref().filter(|_| zone.extras.is_some())
}

/// The reply's.
pub(crate) fn replied(asked: &Edns) -> Edns {
    let mut edns = Edns::new();
    edns.set_version(VERSION)
        .set_max_payload(UDP_SIZE)
        .set_dnssec_ok(asked.flags().dnssec_ok);
    edns
}

/// Whether it is of a version that is understood.
pub(crate) fn is_understood(asked: &Edns) -> bool {
    asked.version() == VERSION
}

/// The largest reply over UDP. Less than 512 counts as 512.
pub(crate) fn udp_limit(asked: &Edns) -> u16 {
    asked.max_payload().clamp(512, UDP_SIZE)
}
