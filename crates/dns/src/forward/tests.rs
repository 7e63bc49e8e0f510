use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;

/// A query for `a.Lab.` A with id 7 and rd set.
const ASKED: &[u8] = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x01a\x03Lab\0\0\x01\0\x01";
/// The same with an OPT record that tells 4096 bytes.
const ASKED_WITH_OPT: &[u8] =
    b"\0\x07\x01\0\0\x01\0\0\0\0\0\x01\x01a\x03Lab\0\0\x01\0\x01\0\0\x29\x10\0\0\0\0\0\0\0";
/// An A record of the name asked for.
const RECORD: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x01";
/// The length of the part of [`ASKED`] before its records.
const QUESTION_END: usize = ASKED.len();

fn lab() -> Name {
    Name::from_text("a.lab.").expect("a name")
}

/// A forwarder to these, with `timeout` for each.
fn forwarder(resolvers: &[SocketAddr], timeout: Duration) -> Forwarder {
    let resolvers = resolvers.iter().map(|it| it.to_string().parse().unwrap());
    let config = ForwardConfig {
        external_on: true,
        resolvers: resolvers.collect(),
        timeout,
        ..ForwardConfig::default()
    };
    Forwarder::new(&config).expect("it is on")
}

/// What a client gets over UDP that asks [`ASKED`].
async fn asked(resolvers: &[SocketAddr], timeout: Duration) -> Vec<u8> {
    let forwarder = forwarder(resolvers, timeout);
    forwarder.answer(ASKED, &lab(), Protocol::Udp).await
}

/// The answer to a query with `n` records and more behind them.
fn answer(query: &[u8], n: u8, counts: [u8; 2], more: &[u8]) -> Vec<u8> {
    let mut answer = query[..QUESTION_END].to_vec();
    (answer[2], answer[3]) = (0x81, 0x80);
    (answer[7], answer[9], answer[11]) = (n, counts[0], counts[1]);
    answer.extend(RECORD.repeat(usize::from(n)));
    answer.extend_from_slice(more);
    answer
}

/// A resolver over UDP that sends what `replies` makes of each query; how often it was asked is counted.
struct Resolver {
    address: SocketAddr,
    n_asked: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl Resolver {
    async fn start(replies: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let n_asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&n_asked);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut buffer = [0; 512];
            loop {
                let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                for reply in replies(&buffer[..length]) {
                    socket.send_to(&reply, client).await.unwrap();
                }
            }
        });
        Self {
            address,
            n_asked,
            _serving: serving,
        }
    }

    fn n_asked(&self) -> usize {
        self.n_asked.load(Ordering::Relaxed)
    }
}

/// Longer than any answer takes.
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn the_next_one_is_asked_when_there_is_no_answer() {
    let silent = Resolver::start(|_| Vec::new()).await;
    let taken = UdpSocket::bind("127.53.0.5:0").await.unwrap();
    let closed = taken.local_addr().unwrap();
    drop(taken);
    let good = Resolver::start(|query| vec![answer(query, 1, [0, 0], &[])]).await;
    let unasked = Resolver::start(|query| vec![answer(query, 1, [0, 0], &[])]).await;
    let all = [closed, silent.address, good.address, unasked.address];

    let answered = asked(&all, SHORT).await;
    assert_eq!(answered, answer(ASKED, 1, [0, 0], &[]));
    assert_eq!(
        (silent.n_asked(), good.n_asked(), unasked.n_asked()),
        (1, 1, 0)
    );

    // A closed port is known at once, without waiting.
    let answered = asked(&[closed, good.address], LONG).await;
    assert_eq!(answered, answer(ASKED, 1, [0, 0], &[]));

    let failed = asked(&all[..2], SHORT).await;
    let mut expected = ASKED.to_vec();
    (expected[2], expected[3]) = (0x81, 2);
    assert_eq!(failed, expected);
}

#[tokio::test]
async fn a_failure_of_a_resolver_is_an_answer() {
    for rcode in [2, 3, 5] {
        let failing = Resolver::start(move |query| {
            let mut reply = answer(query, 0, [0, 0], &[]);
            reply[3] |= rcode;
            vec![reply]
        });
        let failing = failing.await;
        let other = Resolver::start(|query| vec![answer(query, 1, [0, 0], &[])]).await;
        let forwarder = forwarder(&[failing.address, other.address], LONG);
        let answered = forwarder.answer(ASKED, &lab(), Protocol::Udp).await;
        assert_eq!(answered[2..4], [0x81, 0x80 | rcode]);
        assert_eq!(other.n_asked(), 0);
    }
    // Some leave the question out.
    let terse = Resolver::start(|query| vec![[&query[..2], b"\x81\x81\0\0\0\0\0\0\0\0"].concat()]);
    let terse = terse.await;
    let answered = asked(&[terse.address], LONG).await;
    assert_eq!(answered, b"\0\x07\x81\x81\0\0\0\0\0\0\0\0");
}

#[tokio::test]
async fn what_does_not_answer_the_question_is_passed_over() {
    let changed = |query: &[u8], at: usize| {
        let mut guess = answer(query, 1, [0, 0], &[]);
        guess[at] ^= 1;
        guess
    };
    let resolver = Resolver::start(move |query| {
        assert_eq!(query[2..], ASKED[2..], "all but the id is as it came");
        vec![
            changed(query, 0),
            changed(query, 13),
            changed(query, QUESTION_END - 3),
            query.to_vec(),
            b"short".to_vec(),
            answer(query, 2, [0, 0], &[]),
        ]
    });
    let resolver = resolver.await;
    let answered = asked(&[resolver.address], LONG).await;
    assert_eq!(answered, answer(ASKED, 2, [0, 0], &[]));
}

#[tokio::test]
async fn ids_are_drawn() {
    let seen = Arc::new(std::sync::Mutex::new(std::collections::BTreeSet::new()));
    let kept = Arc::clone(&seen);
    let resolver = Resolver::start(move |query| {
        kept.lock().unwrap().insert([query[0], query[1]]);
        vec![answer(query, 1, [0, 0], &[])]
    });
    let resolver = resolver.await;
    let forwarder = forwarder(&[resolver.address], LONG);
    for _ in 0..20 {
        let answered = forwarder.answer(ASKED, &lab(), Protocol::Udp).await;
        assert_eq!(answered[..2], ASKED[..2]);
    }
    // Two of twenty are seldom equal, five never.
    assert!(seen.lock().unwrap().len() > 15);
}

#[tokio::test]
async fn over_tcp_it_is_asked_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut query = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut query).await.unwrap();
        let reply = answer(&query, 200, [0, 0], &[]);
        stream
            .write_u16(u16::try_from(reply.len()).unwrap())
            .await
            .unwrap();
        stream.write_all(&reply).await.unwrap();
    };
    let forwarder = forwarder(&[address], LONG);
    let lab = lab();
    let (answered, ()) = tokio::join!(forwarder.answer(ASKED, &lab, Protocol::Tcp), serve);
    assert_eq!(answered, answer(ASKED, 200, [0, 0], &[]));
}

#[tokio::test]
async fn more_than_a_client_takes_is_cut() {
    // The OPT of the resolver tells 600 bytes: it counts when the client has one too.
    let opt = b"\0\0\x29\x02\x58\0\0\0\0\0\0";
    for (query, n, n_kept) in [
        // 23 bytes and 16 for each record; the OPT is dropped first.
        (ASKED, 20, 20),
        (ASKED, 30, 30),
        (ASKED, 31, 30),
        (ASKED, 90, 30),
        (ASKED_WITH_OPT, 35, 35),
        (ASKED_WITH_OPT, 90, 36),
    ] {
        let resolver = Resolver::start(move |query| vec![answer(query, n, [0, 1], opt)]).await;
        let forwarder = forwarder(&[resolver.address], LONG);
        let answered = forwarder.answer(query, &lab(), Protocol::Udp).await;
        let is_whole = answered[11] == 1;
        assert_eq!(is_whole, n == 20 || n == 35, "{n} records");
        assert_eq!(
            answered[2],
            if is_whole { 0x81 } else { 0x83 },
            "{n} records"
        );
        assert_eq!(answered[7], n_kept, "{n} records");
    }
}

#[tokio::test]
async fn too_many_at_once_are_refused_and_zones_not_handed_over() {
    let silent = Resolver::start(|_| Vec::new()).await;
    let forwarder = forwarder(&[silent.address], LONG);
    let all = forwarder
        .in_flight
        .try_acquire_many(u32::try_from(MAX_IN_FLIGHT).unwrap());
    let answered = forwarder.answer(ASKED, &lab(), Protocol::Udp).await;
    assert_eq!(answered[2..4], [0x81, 2]);
    drop(all);
    for qtype in [251, 252] {
        let mut transfer = ASKED.to_vec();
        transfer[QUESTION_END - 3] = qtype;
        let answered = forwarder.answer(&transfer, &lab(), Protocol::Tcp).await;
        assert_eq!(answered[2..4], [0x81, 5]);
    }
    assert_eq!(silent.n_asked(), 0);
}

#[test]
fn the_longest_zone_counts() {
    let address = |text: &str| -> crate::config::Resolver { text.parse().unwrap() };
    let config = ForwardConfig {
        external_on: true,
        resolvers: vec![address("10.0.0.1")],
        zone_resolvers: [
            ("lab".to_owned(), vec![address("10.0.0.2")]),
            ("deep.lab".to_owned(), vec![address("10.0.0.3")]),
        ]
        .into(),
        ..ForwardConfig::default()
    };
    let forwarder = Forwarder::new(&config).expect("it is on");
    for (name, resolver) in [
        (".", "10.0.0.1:53"),
        ("example.", "10.0.0.1:53"),
        ("collab.", "10.0.0.1:53"),
        ("lab.", "10.0.0.2:53"),
        ("a.b.lab.", "10.0.0.2:53"),
        ("deep.lab.", "10.0.0.3:53"),
        ("a.deep.lab.", "10.0.0.3:53"),
    ] {
        let name = Name::from_text(name).expect("a name");
        let resolvers = forwarder.resolvers_of(&name);
        assert_eq!(
            resolvers,
            [resolver.parse::<SocketAddr>().unwrap()],
            "{name}"
        );
    }
    assert_eq!(forwarder.everybody().count(), 3);
    assert!(Forwarder::new(&ForwardConfig::default()).is_none());
}
