//! Passwords of clients: which are known to be right, and finding out about the others.
//!
//! Finding out is made to take long, milliseconds of a core, and strangers may have it done as often as they like. So it is no work
//! for the threads that carry traffic: some others do it, fewer than there are cores, and who has waited too long for his turn is
//! turned away. What was right is remembered; of many requests only the first one pays.
//!
//! ```text
//!   known ─┬─ right ─▶ (goes on)
//!          ├─ wrong ─▶ 401
//!          └─ not yet ─▶ check ─┬─ turn ─▶ hash ─▶ right (remembered), wrong
//!                               └─ too long ─▶ 503
//! ```
//!
//! Source: contract marathon-lb §1.4 (AUTH).

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::crypt::Crypted;
use crate::labels::Auth;

/// Right ones that are remembered; more are forgotten, oldest first.
const MOST_REMEMBERED: usize = 1024;
/// How long a request waits for its turn: long enough for hundreds of others before it, short enough for somebody who looks at a screen.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// Passwords that were found to be right, and turns for finding out.
#[derive(Debug)]
pub(crate) struct Passwords {
    right: Mutex<VecDeque<Digest>>,
    turns: Arc<Semaphore>,
}

/// Of a password as it should be, and one as it was given.
type Digest = [u8; 32];

/// What is known of a password without looking at it for long.
#[derive(Debug)]
pub(crate) enum Known {
    Right,
    Wrong,
    /// It takes a [`Passwords::check`].
    NotYet(Attempt),
}

/// A password that a client has tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    digest: Digest,
    expected: Crypted,
    given: Secret,
    /// What the client is told to log in to.
    pub(crate) realm: String,
}

/// A password. Nobody is to see it in a log.
#[derive(Clone, PartialEq, Eq)]
struct Secret(Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Default for Passwords {
    fn default() -> Self {
        let n_cores = thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            right: Mutex::default(),
            turns: Arc::new(Semaphore::new((n_cores / 2).max(1))),
        }
    }
}

impl Passwords {
    /// Whether an `Authorization` is that of the one user, if that can be told at once.
    pub(crate) fn known(&self, auth: &Auth, authorization: Option<&str>) -> Known {
        let Some((scheme, given)) = authorization.and_then(|it| it.trim().split_once(' ')) else {
            return Known::Wrong;
        };
        let given = given.trim();
        if !scheme.eq_ignore_ascii_case("basic") {
            return Known::Wrong;
        }
        let digest: Digest = Sha256::new()
            .chain_update(auth.user.as_bytes())
            .chain_update([0])
            .chain_update(auth.password.as_str().as_bytes())
            .chain_update([0])
            .chain_update(given.as_bytes())
            .finalize()
            .into();
        if self.lock().contains(&digest) {
            return Known::Right;
        }
        let Ok(pair) = BASE64.decode(given.as_bytes()) else {
            return Known::Wrong;
        };
        match pair.iter().position(|byte| *byte == b':') {
            Some(colon) if pair[..colon] == *auth.user.as_bytes() => Known::NotYet(Attempt {
                digest,
                expected: auth.password.clone(),
                given: Secret(pair[colon + 1..].to_vec()),
                realm: auth.realm.clone(),
            }),
            Some(_) | None => Known::Wrong,
        }
    }

    /// Finds out whether a password is right; `None` when there was no turn for it in time.
    pub(crate) async fn check(&self, attempt: Attempt) -> Option<bool> {
        let turn = timeout(TURN_TIMEOUT, Arc::clone(&self.turns).acquire_owned());
        let turn = turn.await.ok()?.expect("it is never closed");
        let Attempt {
            digest,
            expected,
            given,
            realm: _,
        } = attempt;
        // Another request of the same client may have found out meanwhile.
        if self.lock().contains(&digest) {
            return Some(true);
        }
        let checked = tokio::task::spawn_blocking(move || {
            let is_right = expected.is_of(&given.0);
            // Also when nobody waits for it any more, the next one's turn comes only now.
            drop(turn);
            is_right
        });
        let is_right = checked.await.unwrap_or(false);
        let mut right = self.lock();
        if is_right && !right.contains(&digest) {
            if right.len() >= MOST_REMEMBERED {
                right.pop_front();
            }
            right.push_back(digest);
        }
        Some(is_right)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Digest>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf};
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::proxy::session;
    use crate::proxy::session::tests::visit;
    use crate::proxy::visit::Entry;
    use crate::proxy::wire::Incoming;

    impl Incoming for ReadHalf<DuplexStream> {
        fn has_unread(&self) -> bool {
            false
        }
    }

    /// `secret`, by crypt(3) of glibc.
    const SECRET: &str = "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1";

    fn auth(password: &str) -> Auth {
        Auth {
            realm: "the realm".to_owned(),
            user: "me".to_owned(),
            password: Crypted::new(password).unwrap(),
        }
    }

    fn attempt(passwords: &Passwords, auth: &Auth, given: &str) -> Attempt {
        let authorization = format!("Basic {}", BASE64.encode(given.as_bytes()));
        match passwords.known(auth, Some(&authorization)) {
            Known::NotYet(attempt) => attempt,
            known => panic!("{known:?}"),
        }
    }

    #[tokio::test]
    async fn what_was_right_for_one_password_is_not_for_another() {
        let (passwords, first) = (Passwords::default(), auth(SECRET));
        let right = attempt(&passwords, &first, "me:secret");
        assert_eq!(passwords.check(right).await, Some(true));
        let known = |auth: &Auth| passwords.known(auth, Some("Basic bWU6c2VjcmV0"));
        assert!(matches!(known(&first), Known::Right));
        let other = auth("$1$x$Csw7VKF4Pd3clFEHHx7b20");
        let Known::NotYet(wrong) = known(&other) else {
            panic!("it is not known");
        };
        assert_eq!(passwords.check(wrong).await, Some(false));
        assert!(matches!(known(&other), Known::NotYet(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_for_a_turn_is_turned_away() {
        let (passwords, auth) = (Passwords::default(), auth(SECRET));
        let all = Arc::clone(&passwords.turns)
            .acquire_many_owned(passwords.turns.available_permits() as u32);
        let all = all.await.unwrap();
        let right = attempt(&passwords, &auth, "me:secret");
        assert_eq!(passwords.check(right.clone()).await, None);
        drop(all);
        assert_eq!(passwords.check(right).await, Some(true));
    }

    #[tokio::test]
    async fn requests_do_not_wait_for_passwords_of_others() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let mut visit = visit(server.local_addr().unwrap());
        visit.entry = Entry::Vhosts { port: 80 };
        let app = serde_json::json!({
            "id": "/guarded", "version": "1", "ports": [10081],
            "tasks": [{ "id": "g.1", "host": "127.0.0.1", "ports": [port], "state": "TASK_RUNNING" }],
            "labels": {
                "HAPROXY_GROUP": "g", "HAPROXY_0_VHOST": "guarded.example",
                "HAPROXY_0_AUTH": format!("the realm:me:{SECRET}"),
            },
        });
        let app = serde_json::from_value(app).unwrap();
        visit.shared.put(app, BTreeMap::new());
        let passwords = &visit.shared.passwords;
        let n_turns = passwords.turns.available_permits();
        let all = Arc::clone(&passwords.turns).acquire_many_owned(n_turns as u32);
        let all = all.await.unwrap();
        let ask = async |host: &str, password: String| {
            let (mut client, edge) = tokio::io::duplex(4096);
            let password = BASE64.encode(password.as_bytes());
            let request = format!(
                "GET / HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic {password}\r\nConnection: close\r\n\r\n"
            );
            client.write_all(request.as_bytes()).await.unwrap();
            let stop = CancellationToken::new();
            session::serve(&visit, tokio::io::split(edge), &stop).await;
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer[..12].to_owned()
        };
        let wrong = (0..50).map(|n| ask("guarded.example", format!("me:{n}")));
        let mut wrong = std::pin::pin!(futures_util::future::join_all(wrong));
        assert_eq!(wrong.as_mut().now_or_never(), None, "no turn for anybody");
        // On the same thread.
        assert_eq!(ask("free.example", String::new()).await, "HTTP/1.1 503");
        assert_eq!(
            ask("guarded.example", "you:secret".to_owned()).await,
            "HTTP/1.1 401"
        );
        assert_eq!(wrong.as_mut().now_or_never(), None, "no turn for anybody");
        drop(all);
        // A turn is not taken on this thread: it is not over at once.
        assert_eq!(wrong.as_mut().now_or_never(), None);
        assert_eq!(wrong.await, ["HTTP/1.1 401"; 50]);
        let server = async {
            let (mut stream, _) = server.accept().await.unwrap();
            let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = server => {}
            answer = ask("guarded.example", "me:secret".to_owned()) => {
                assert_eq!(answer, "HTTP/1.1 204");
            }
        }
        assert_eq!(passwords.turns.available_permits(), n_turns);
    }
}
