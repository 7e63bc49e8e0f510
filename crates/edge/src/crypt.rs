//! Passwords as crypt(3) keeps them: `$1$` (MD5), `$5$` (SHA-256) and `$6$` (SHA-512).
//!
//! `mkpasswd -m sha-512`, `openssl passwd -6` and `openssl passwd -1` make them. The old form without a `$` is not read: its eight
//! significant characters protect nothing any more.
//!
//! Source: contract marathon-lb §1.4 (AUTH); FreeBSD `crypt-md5.c` for the MD5 form.

use md5::{Digest as _, Md5};
use sha_crypt::{PasswordHashRef, PasswordVerifier as _, ShaCrypt};

/// The digits of crypt(3)'s base 64, lowest first.
const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// What a label may ask for: half a second of a core. The default is 5,000, and what tools write is below a million; crypt(3)'s own
/// limit is minutes, in which one app would keep everybody else's passwords waiting.
const MOST_ROUNDS: u32 = 1_000_000;
/// crypt(3) looks at so much of the salt in the MD5 form.
const MD5_SALT: usize = 8;

/// A password in one of the forms above.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Crypted(String);

impl std::fmt::Debug for Crypted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Crypted")
    }
}

impl Crypted {
    /// Takes `text` if it is in a form that can be checked.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let is_known = match text.split('$').collect::<Vec<_>>()[..] {
            ["", "1", _, digest] => digest.len() == 22,
            ["", "5" | "6", first, ..] => {
                PasswordHashRef::new(text).is_ok() && is_whole(text) && has_few_rounds(first)
            }
            _ => false,
        };
        is_known.then(|| Self(text.to_owned()))
    }

    /// Whether this is `password`. Takes milliseconds: that is what it is for.
    pub(crate) fn is_of(&self, password: &[u8]) -> bool {
        match self
            .0
            .strip_prefix("$1$")
            .and_then(|rest| rest.split_once('$'))
        {
            Some((salt, digest)) => {
                is_same(md5_crypt(password, salt).as_bytes(), digest.as_bytes())
            }
            None => PasswordHashRef::new(&self.0)
                .is_ok_and(|hash| ShaCrypt::default().verify_password(password, hash).is_ok()),
        }
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether what follows the algorithm's name asks for as many rounds as are done here, or for none in particular.
fn has_few_rounds(first: &str) -> bool {
    match first.strip_prefix("rounds=").map(str::parse::<u32>) {
        None => true,
        Some(rounds) => rounds.is_ok_and(|rounds| rounds <= MOST_ROUNDS),
    }
}

/// Whether the digest at the end is as long as the algorithm's.
fn is_whole(text: &str) -> bool {
    let length = if text.starts_with("$5$") { 43 } else { 86 };
    text.rsplit('$')
        .next()
        .is_some_and(|digest| digest.len() == length)
}

/// Compares in a time that does not tell where the difference is.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |seen, (a, b)| seen | (a ^ b)) == 0
}

/// The digest that `$1$salt$` of `password` ends in.
fn md5_crypt(password: &[u8], salt: &str) -> String {
    let salt = &salt.as_bytes()[..salt.len().min(MD5_SALT)];
    let inner = Md5::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize();
    let mut outer = Md5::new()
        .chain_update(password)
        .chain_update(b"$1$")
        .chain_update(salt);
    for piece in password.chunks(16) {
        outer.update(&inner[..piece.len()]);
    }
    let mut length = password.len();
    while length > 0 {
        outer.update(if length % 2 == 1 {
            &[0]
        } else {
            &password[..1]
        });
        length /= 2;
    }
    let mut digest = outer.finalize();
    for round in 0..1000 {
        let mut hash = Md5::new();
        hash.update(if round % 2 == 1 {
            password
        } else {
            &digest[..]
        });
        if round % 3 != 0 {
            hash.update(salt);
        }
        if round % 7 != 0 {
            hash.update(password);
        }
        hash.update(if round % 2 == 1 {
            &digest[..]
        } else {
            password
        });
        digest = hash.finalize();
    }
    let mut text = String::with_capacity(22);
    let mut put = |mut bits: u32, n_digits: usize| {
        for _ in 0..n_digits {
            text.push(char::from(DIGITS[(bits % 64) as usize]));
            bits /= 64;
        }
    };
    for [a, b, c] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        put(u32::from_be_bytes([0, digest[a], digest[b], digest[c]]), 4);
    }
    put(u32::from(digest[11]), 2);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by crypt(3) of glibc.
    const SECRET: [&str; 3] = [
        "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1",
        "$5$rounds=1000$salt$CCvcOM6b7TEJDPb37Aec/9UpOg4QhPNAxPpL9ZzjTB7",
        "$6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.",
    ];

    #[test]
    fn passwords_are_told_from_others() {
        for text in SECRET {
            let crypted = Crypted::new(text).unwrap();
            assert!(crypted.is_of(b"secret"), "{text}");
            assert!(!crypted.is_of(b"Secret") && !crypted.is_of(b""), "{text}");
        }
        for (password, text) in [
            (
                "a much longer password than sixteen bytes",
                "$1$x$Csw7VKF4Pd3clFEHHx7b20",
            ),
            ("", "$1$$qRPK7m23GJusamGpoGLby/"),
        ] {
            assert!(
                Crypted::new(text).unwrap().is_of(password.as_bytes()),
                "{text}"
            );
        }
    }

    #[test]
    fn nobody_waits_for_minutes() {
        let of = |rounds: &str| SECRET[1].replace("1000", rounds);
        assert!(Crypted::new(&of("1000000")).is_some());
        for rounds in ["1000001", "999999999", "4294967296", "x"] {
            assert_eq!(Crypted::new(&of(rounds)), None, "{rounds}");
        }
    }

    #[test]
    fn other_forms_are_not_taken() {
        for text in [
            "",
            "secret",
            "ab1sZQ8Kc5kdo",
            "$1$salt",
            "$1$salt$short",
            "$6$salt$short",
            "$2y$10$x",
            "$6$",
        ] {
            assert_eq!(Crypted::new(text), None, "{text}");
        }
    }
}
