//! Messages as bytes, looked at no further than forwarding needs.
//!
//! ```text
//!   0 id   2 flags   4 counts of question, answer, authority, additional   12 question …
//! ```

use hickory_server::proto::op::{Message, ResponseCode};

use crate::message;
use crate::packet::{HEADER, TYPE_AND_CLASS, flag};
use crate::reply::most_that_fit;

/// The type of the record that tells a size.
const OPT: u16 = 41;
/// The one question of a message: name, type, class. Names are written in full there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question<'a>(&'a [u8]);

impl<'a> Question<'a> {
    /// Finds it; `None` in a message without one, with several, or with one that breaks off.
    pub(super) fn of(message: &'a [u8]) -> Option<Self> {
        if count(message, 0)? != 1 {
            return None;
        }
        let end = skip_name(message, HEADER)? + TYPE_AND_CLASS;
        message.get(HEADER..end).map(Self)
    }

    /// Whether it asks the same, in whatever case.
    fn is_same(self, other: Self) -> bool {
        let (name, kind) = self.0.split_at(self.0.len() - TYPE_AND_CLASS);
        let (other_name, other_kind) = other.0.split_at(other.0.len() - TYPE_AND_CLASS);
        name.eq_ignore_ascii_case(other_name) && kind == other_kind
    }

    /// The number of its type.
    pub(super) fn qtype(self) -> u16 {
        let at = self.0.len() - TYPE_AND_CLASS;
        u16::from_be_bytes([self.0[at], self.0[at + 1]])
    }
}

/// Whether `reply` answers `query`, which was sent with `id`. Some servers leave the question out when they refuse.
pub(super) fn answers(reply: &[u8], id: u16, query: Question<'_>) -> bool {
    let Some(header) = reply.first_chunk::<HEADER>() else {
        return false;
    };
    let is_reply = header[..2] == id.to_be_bytes() && header[2] & flag::QR != 0;
    let is_failure = header[3] & 0xf != 0 && count(reply, 0) == Some(0);
    is_reply && (is_failure || Question::of(reply).is_some_and(|asked| asked.is_same(query)))
}

/// A reply without records to a query that has a header.
pub(super) fn bare(query: &[u8], code: ResponseCode) -> Vec<u8> {
    let header = query.first_chunk().expect("the query has a header");
    let question = Question::of(query).map_or(&[][..], |question| question.0);
    let mut reply = Vec::new();
    message::write_bare(header, question, 0, code, &mut reply);
    reply
}

/// The size an OPT record tells, if there is one in the additional section.
pub(super) fn told_size(message: &[u8]) -> Option<usize> {
    let n_before = usize::from(count(message, 1)?) + usize::from(count(message, 2)?);
    let n_additional = usize::from(count(message, 3)?);
    let mut at = HEADER;
    for _ in 0..count(message, 0)? {
        at = skip_name(message, at)? + TYPE_AND_CLASS;
    }
    for n in 0..n_before + n_additional {
        // Type, class, time to live, and the length of what follows.
        at = skip_name(message, at)?;
        let [t0, t1, c0, c1, _, _, _, _, l0, l1] = *message.get(at..)?.first_chunk()?;
        if n >= n_before && u16::from_be_bytes([t0, t1]) == OPT {
            return Some(usize::from(u16::from_be_bytes([c0, c1])));
        }
        at += 10 + usize::from(u16::from_be_bytes([l0, l1]));
    }
    None
}

/// Cuts a message that is longer than `limit` as our own are cut: the additional section goes first, then answers from the
/// end. What cannot be read keeps its question only.
pub(super) fn cut(bytes: Vec<u8>, limit: usize) -> Vec<u8> {
    if bytes.len() <= limit {
        return bytes;
    }
    let Some(mut message) = Message::from_vec(&bytes).ok() else {
        return question_only(&bytes);
    };
    message.metadata.truncation = true;
    message.additionals.clear();
    message.edns = None;
    message.signature = None;
    let answers = std::mem::take(&mut message.answers);
    let mut encoded = |n: usize| {
        message.answers = answers[..n].to_vec();
        message.to_vec().ok().filter(|bytes| bytes.len() < limit)
    };
    if let Some(bytes) = encoded(answers.len()) {
        return bytes;
    }
    let fits = most_that_fit(answers.len(), |n| encoded(n).is_some());
    encoded(fits).unwrap_or_else(|| question_only(&bytes))
}

/// A reply's header, marked as cut, and its question.
fn question_only(reply: &[u8]) -> Vec<u8> {
    let question = Question::of(reply).map_or(&[][..], |question| question.0);
    let n_questions = u8::from(!question.is_empty());
    let mut bare = reply[..4].to_vec();
    bare[2] |= flag::TC;
    bare.extend_from_slice(&[0, n_questions, 0, 0, 0, 0, 0, 0]);
    bare.extend_from_slice(question);
    bare
}

/// The number of entries in section `n`.
fn count(message: &[u8], n: usize) -> Option<u16> {
    let at = 4 + 2 * n;
    let bytes = message.get(at..at + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// Where the name that begins at `at` has ended. A pointer ends it; the names of questions, which are compared, have none.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            0xc0.. => return Some(at + 2),
            64.. => return None,
        }
    }
}
