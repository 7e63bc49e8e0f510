//! Sends another name server's answer over TCP through hickory-server, which takes records only: they are read and written anew.

use hickory_server::net::NetError;
use hickory_server::proto::op::{Message, Metadata, ResponseCode};
use hickory_server::server::{Request, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;

/// Sends a whole message as the answer to `request`; what cannot be read becomes SERVFAIL.
pub(crate) async fn relay<R: ResponseHandler>(
    answer: &[u8],
    request: &Request,
    sender: &mut R,
) -> Result<ResponseInfo, NetError> {
    let Ok(message) = Message::from_vec(answer) else {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = ResponseCode::ServFail;
        let builder = MessageResponseBuilder::new(&request.queries, None);
        return sender
            .send_response(builder.build_no_records(metadata))
            .await;
    };
    let response = MessageResponseBuilder::new(&request.queries, message.edns.as_ref()).build(
        message.metadata,
        &message.answers,
        &message.authorities,
        &[],
        &message.additionals,
    );
    sender.send_response(response).await
}
