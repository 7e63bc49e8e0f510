//! From what frameworks call things to what fits in a name: mangled labels, the hash of a task, the tail of an agent.
//!
//! Source: contract mesos-dns §3.1, §3.2 and, for what is too long, §5.7.

use sha1::{Digest as _, Sha1};

/// The longest label the wire format can carry, in bytes.
pub(crate) const MAX_LABEL: usize = 63;
/// The longest label of RFC 952 as the original understands it.
const MAX_LABEL_RFC952: usize = 24;
/// The longest label after which `_` can be put: `_label` is then 63.
const MAX_SERVICE_LABEL: usize = MAX_LABEL - 1;
/// What a canonical label adds to the task's label besides the tail: two dashes and five characters of hash.
const CANONICAL_EXTRA: usize = 7;
/// z-base-32: the digits 0 to 31 in the order that is easiest to read aloud.
const ZBASE32: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

/// Which labels are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LabelRule {
    /// RFC 1123: up to 63 characters, may begin with a digit.
    #[default]
    Rfc1123,
    /// RFC 952: up to 24 characters, begins with a letter (`EnforceRFC952`).
    Rfc952,
}

impl LabelRule {
    fn max(self) -> usize {
        match self {
            Self::Rfc1123 => MAX_LABEL,
            Self::Rfc952 => MAX_LABEL_RFC952,
        }
    }

    fn is_stripped_from_left(self, c: char) -> bool {
        c == '-' || (self == Self::Rfc952 && c.is_ascii_digit())
    }

    /// Makes a label of any text. It may be empty when nothing of the text is allowed in a label; it is ASCII.
    pub(crate) fn mangle(self, text: &str) -> String {
        let kept: String = text
            .chars()
            .filter_map(|c| match c {
                'A'..='Z' => Some(c.to_ascii_lowercase()),
                'a'..='z' | '0'..='9' => Some(c),
                '-' | '.' | '_' => Some('-'),
                _ => None,
            })
            .collect();
        let kept = kept.trim_start_matches(|c| self.is_stripped_from_left(c));
        let (head, rest) = kept.split_at(kept.len().min(self.max()));
        let trimmed = head.trim_end_matches('-');
        let n_removed = head.len() - trimmed.len();
        // What was removed at the cut is refilled once from what follows it, as the original does, dashes at the new
        // end included.
        let refill = rest.trim_start_matches('-');
        let refill = &refill[..refill.len().min(n_removed)];
        [trimmed, refill].concat()
    }

    /// Makes the framework part of names: the pieces between dots, each mangled, empty ones left out.
    pub(crate) fn mangle_framework(self, name: &str) -> String {
        let pieces: Vec<String> = name
            .split('.')
            .map(|piece| self.mangle(piece))
            .filter(|piece| !piece.is_empty())
            .collect();
        pieces.join(".")
    }
}

/// Returns the five characters by which instances are told apart: 25 bits of the SHA-1 of the whole task id.
pub(crate) fn task_hash(task_id: &str) -> String {
    let digest = Sha1::digest(task_id.as_bytes());
    let bits = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    (0..5)
        .map(|n| char::from(ZBASE32[(bits >> (27 - 5 * n) & 31) as usize]))
        .collect()
}

/// Returns what follows the last `-` of an agent's id, in lower case: `s2` of `…-S2`.
pub(crate) fn agent_tail(agent_id: &str) -> String {
    let tail = agent_id.rsplit_once('-').map_or(agent_id, |(_, tail)| tail);
    tail.to_lowercase()
}

/// Returns the label of one instance, `<label>-<hash>-<tail>`.
pub(crate) fn canonical(label: &str, hash: &str, tail: &str) -> String {
    format!("{label}-{hash}-{tail}")
}

/// As [`canonical`], with a mangled label cut so that the whole fits in 63 bytes.
pub(crate) fn canonical_that_fits(label: &str, hash: &str, tail: &str) -> String {
    let room = MAX_LABEL.saturating_sub(CANONICAL_EXTRA + tail.len());
    if label.len() <= room {
        return canonical(label, hash, tail);
    }
    canonical(label[..room].trim_end_matches('-'), hash, tail)
}

/// Returns a mangled label cut so that `_` fits before it.
pub(crate) fn service_that_fits(label: &str) -> &str {
    &label[..label.len().min(MAX_SERVICE_LABEL)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn labels_are_mangled_as_in_the_contract() {
        let x62 = "x".repeat(62);
        let cases = [
            ("blue.zdd", "blue-zdd", "blue-zdd"),
            ("api.v2.prod", "api-v2-prod", "api-v2-prod"),
            ("My_App.Prod", "my-app-prod", "my-app-prod"),
            ("4 bad$ch@rs-", "4badchrs", "badchrs"),
            (
                "ChronosTask_Nightly.Report",
                "chronostask-nightly-report",
                "chronostask-nightly-repo",
            ),
            (
                "application-with-a-name.very-long-group-name-number-two.very-long-group-name-number-one",
                "application-with-a-name-very-long-group-name-number-two-very-lo",
                "application-with-a-namev",
            ),
            ("--a--", "a", "a"),
            ("$$$", "", ""),
        ];
        for (text, rfc1123, rfc952) in cases {
            assert_eq!(LabelRule::Rfc1123.mangle(text), rfc1123);
            assert_eq!(LabelRule::Rfc952.mangle(text), rfc952);
        }
        let refilled = format!("{x62}--yz");
        assert_eq!(LabelRule::Rfc1123.mangle(&refilled), format!("{x62}y"));
        assert_eq!(LabelRule::Rfc952.mangle(&refilled), "x".repeat(24));
    }

    #[test]
    fn frameworks_keep_their_dots() {
        let cases = [
            ("kafka.prod", "kafka.prod", "kafka.prod"),
            (
                "Spark Cluster_2.0.1",
                "sparkcluster-2.0.1",
                "sparkcluster-2",
            ),
            ("..weird..name..", "weird.name", "weird.name"),
            ("$", "", ""),
        ];
        for (name, rfc1123, rfc952) in cases {
            assert_eq!(LabelRule::Rfc1123.mangle_framework(name), rfc1123);
            assert_eq!(LabelRule::Rfc952.mangle_framework(name), rfc952);
        }
    }

    #[test]
    fn instances_are_named_as_in_the_contract() {
        let cases = [
            (
                "blue-zdd",
                "zdd_blue.30b5db3b-92b7-11e6-9f4e-70b3d5800002",
                "x-S2",
                "blue-zdd-rrf4y-s2",
            ),
            (
                "blue-zdd",
                "zdd_blue.30bf109e-92b7-11e6-9f4e-70b3d5800002",
                "x-S2",
                "blue-zdd-8sqqy-s2",
            ),
            (
                "twoport-svc",
                "svc_twoport.400120b5-92b9-11e6-9f4e-70b3d5800002",
                "x-S1",
                "twoport-svc-q41p6-s1",
            ),
            (
                "chronostask-nightly-report",
                "ct:1476518400000:0:ChronosTask_Nightly.Report:",
                "x-S1",
                "chronostask-nightly-report-of79r-s1",
            ),
            ("driver", "0", "AgentSeven", "driver-s3cj9-agentseven"),
            (
                "my-app-prod",
                "my-app.1",
                "2014-2116-3",
                "my-app-prod-ya988-3",
            ),
        ];
        for (label, task_id, agent_id, expected) in cases {
            let (hash, tail) = (task_hash(task_id), agent_tail(agent_id));
            assert_eq!(canonical(label, &hash, &tail), expected);
            assert_eq!(canonical_that_fits(label, &hash, &tail), expected);
        }
    }

    proptest! {
        #[test]
        fn a_mangled_label_is_always_fit_for_a_name(text in "\\PC{0,100}|[-._a-zA-Z0-9]{0,100}") {
            for rule in [LabelRule::Rfc1123, LabelRule::Rfc952] {
                let label = rule.mangle(&text);
                prop_assert!(label.len() <= rule.max());
                prop_assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
                prop_assert!(!label.starts_with(|c| rule.is_stripped_from_left(c)));
                // Labels of up to the limit that end well are fixed points.
                if !label.ends_with('-') {
                    prop_assert_eq!(&rule.mangle(&label), &label);
                }
            }
        }

        #[test]
        fn what_is_cut_fits(label in "[a-z0-9][a-z0-9-]{0,62}", tail in "[a-z0-9]{1,20}") {
            let canonical = canonical_that_fits(&label, "abcde", &tail);
            prop_assert!(canonical.len() <= MAX_LABEL);
            let end = format!("-abcde-{tail}");
            prop_assert!(canonical.ends_with(&end));
            prop_assert!(service_that_fits(&label).len() < MAX_LABEL);
        }
    }
}
