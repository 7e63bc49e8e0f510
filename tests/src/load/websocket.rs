//! As much of RFC 6455 as an echo needs: short text frames and the closing one, whole in one piece.

/// The key of the RFC's example, and what the server says to it.
pub(super) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// See [`KEY`].
pub(super) const ACCEPT: &str = "s3pPLMBiTzaQ9kYGzzhZRbK+xOo=";

/// A text frame with its last fragment.
pub(super) const TEXT: u8 = 0x81;
/// The closing frame.
pub(super) const CLOSE: u8 = 0x88;
/// Frames of clients carry a mask.
const MASKED: u8 = 0x80;
/// Any will do against proxies that look for requests in tunnels; the mask must only not be nothing.
const MASK: [u8; 4] = [0x5a, 0xa5, 0x3c, 0xc3];
/// Longer payloads have a longer header.
const MAX_PAYLOAD: usize = 125;

/// A frame of a client.
pub(super) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![opcode, MASKED | length(payload)];
    frame.extend(MASK);
    frame.extend(unmask(MASK, payload));
    frame
}

/// A frame of a server.
pub(super) fn plain(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![opcode, length(payload)];
    frame.extend(payload);
    frame
}

/// How many bytes a client's frame has behind these two, if it is one of ours.
pub(super) fn rest_of(header: [u8; 2]) -> Option<usize> {
    let length = usize::from(header[1] & !MASKED);
    let is_ours = header[1] & MASKED != 0 && length <= MAX_PAYLOAD;
    is_ours.then_some(MASK.len() + length)
}

/// The payload of what [`rest_of`] counts.
pub(super) fn payload(rest: &[u8]) -> Vec<u8> {
    let (mask, payload) = rest.split_at(MASK.len().min(rest.len()));
    unmask(mask.try_into().unwrap_or_default(), payload)
}

fn unmask(mask: [u8; 4], bytes: &[u8]) -> Vec<u8> {
    let mask = mask.iter().cycle();
    bytes
        .iter()
        .zip(mask)
        .map(|(byte, mask)| byte ^ mask)
        .collect()
}

fn length(payload: &[u8]) -> u8 {
    assert!(payload.len() <= MAX_PAYLOAD, "only short frames are sent");
    payload.len() as u8
}
