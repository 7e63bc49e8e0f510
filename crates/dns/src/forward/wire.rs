//! Messages as bytes, looked at no further than forwarding needs.
//!
//! ```text
//!   0 id   2 flags   4 counts of question, answer, authority, additional   12 question …
//! ```

use hickory_server::proto::op::Message;

use crate::name::{Name, suffixes};

/// The bytes of a header.
pub(super) const HEADER: usize = 12;
/// What a client takes over UDP that says nothing.
pub(super) const PLAIN_UDP: usize = 512;
/// The type of the record that tells a size.
const OPT: u16 = 41;
/// `QR`: it is a reply.
const REPLY: u8 = 0x80;
/// `TC`: it is cut.
const CUT: u8 = 0x02;
/// The operation and `RD`, of the third byte.
const KEPT: u8 = 0x79;
/// `CD`, of the fourth byte.
const CHECKING_DISABLED: u8 = 0x10;

/// The codes given here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    ServFail = 2,
    Refused = 5,
}

/// The one question of a message: name, type, class. Names are written in full there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question<'a>(&'a [u8]);

impl<'a> Question<'a> {
    /// Finds it; `None` in a message without one, with several, or with one that breaks off.
    pub(super) fn of(message: &'a [u8]) -> Option<Self> {
        if count(message, 0)? != 1 {
            return None;
        }
        let end = skip_name(message, HEADER)? + 4;
        message.get(HEADER..end).map(Self)
    }

    /// Whether it asks the same, in whatever case.
    fn is_same(self, other: Self) -> bool {
        let (name, kind) = self.0.split_at(self.0.len() - 4);
        let (other_name, other_kind) = other.0.split_at(other.0.len() - 4);
        name.eq_ignore_ascii_case(other_name) && kind == other_kind
    }

    /// The number of its type.
    pub(super) fn qtype(self) -> u16 {
        let at = self.0.len() - 4;
        u16::from_be_bytes([self.0[at], self.0[at + 1]])
    }
}

/// Whether `reply` answers `query`, which was sent with `id`. Some servers leave the question out when they refuse.
pub(super) fn answers(reply: &[u8], id: u16, query: Question<'_>) -> bool {
    let Some(header) = reply.first_chunk::<HEADER>() else {
        return false;
    };
    let is_reply = header[..2] == id.to_be_bytes() && header[2] & REPLY != 0;
    let is_failure = header[3] & 0xf != 0 && count(reply, 0) == Some(0);
    is_reply && (is_failure || Question::of(reply).is_some_and(|asked| asked.is_same(query)))
}

/// A reply without records to a query that has a header.
pub(super) fn bare(query: &[u8], code: Code) -> Vec<u8> {
    let mut reply = query[..2].to_vec();
    let cd = query[3] & CHECKING_DISABLED;
    reply.extend_from_slice(&[query[2] & KEPT | REPLY, cd | code as u8]);
    let question = Question::of(query).map_or(&[][..], |question| question.0);
    let n_questions = u8::from(!question.is_empty());
    reply.extend_from_slice(&[0, n_questions, 0, 0, 0, 0, 0, 0]);
    reply.extend_from_slice(question);
    reply
}

/// The size an OPT record tells, if there is one in the additional section.
pub(super) fn told_size(message: &[u8]) -> Option<usize> {
    let n_before = usize::from(count(message, 1)?) + usize::from(count(message, 2)?);
    let n_additional = usize::from(count(message, 3)?);
    let mut at = HEADER;
    for _ in 0..count(message, 0)? {
        at = skip_name(message, at)? + 4;
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
    // The size grows with every answer, so the largest number that fits is found by halving.
    let (mut fits, mut too_many) = (0, answers.len());
    while too_many - fits > 1 {
        let middle = fits + (too_many - fits) / 2;
        match encoded(middle) {
            Some(_) => fits = middle,
            None => too_many = middle,
        }
    }
    encoded(fits).unwrap_or_else(|| question_only(&bytes))
}

/// A reply's header, marked as cut, and its question.
fn question_only(reply: &[u8]) -> Vec<u8> {
    let question = Question::of(reply).map_or(&[][..], |question| question.0);
    let n_questions = u8::from(!question.is_empty());
    let mut bare = reply[..4].to_vec();
    bare[2] |= CUT;
    bare.extend_from_slice(&[0, n_questions, 0, 0, 0, 0, 0, 0]);
    bare.extend_from_slice(question);
    bare
}

/// The names a question may be forwarded by, its own first and the root last.
pub(super) fn zones(name: &Name) -> impl Iterator<Item = &[u8]> {
    suffixes(name.as_wire())
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
