//! kill -9 of a writer at random moments: nothing it acknowledged is lost, no batch is torn.
//!
//! The writer is this test binary once more. It commits batches of two records that carry the same number, and says
//! `ack N` on its standard output after each.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use zddcluster_store::{Change, SledStore, Store as _};

/// Names the directory; set only in the child.
const DIR: &str = "ZDD_TEST_STORE_DIR";

/// Kills of one database, each at another moment.
const ROUNDS: u64 = 30;

/// Keys the writer goes around in, so that it overwrites and sled collects garbage.
const KEYS: u64 = 50;

fn number_in(records: &[(String, Vec<u8>)], key: &str) -> u64 {
    let value = records
        .iter()
        .find(|(found, _)| found == key)
        .map(|(_, value)| value);
    value.map_or(0, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        text.split(' ')
            .next()
            .unwrap_or_default()
            .parse()
            .expect("the writer writes numbers")
    })
}

#[test]
fn writer() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let mut store = SledStore::open(Path::new(&dir)).unwrap();
    let mut n = number_in(&store.load().unwrap(), "last");
    let mut out = std::io::stdout();
    loop {
        n += 1;
        let value = format!("{n} {}", "y".repeat(2000)).into_bytes();
        let put = |key: String| Change::Put(key, value.clone());
        store
            .commit(vec![put("last".into()), put(format!("slot/{}", n % KEYS))])
            .unwrap();
        writeln!(out, "\nack {n}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn a_killed_writer_loses_nothing_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    let mut moment = 0x9e37_79b9_u64;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, acks) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(n) = line
                    .strip_prefix("ack ")
                    .and_then(|n| n.parse::<u64>().ok())
                {
                    let _ = sender.send(n);
                }
            }
        });

        // Dies after a number of acknowledgements and a few microseconds that differ from round to round.
        moment = moment
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(round);
        for _ in 0..(moment >> 40) % 120 + 1 {
            acknowledged = acks
                .recv_timeout(Duration::from_secs(30))
                .expect("the writer goes on");
        }
        for _ in 0..(moment >> 20) % 100_000 {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        reader.join().unwrap();
        acknowledged = acks.try_iter().last().unwrap_or(acknowledged);

        let mut store = SledStore::open(dir.path()).unwrap();
        let records = store.load().unwrap();
        let last = number_in(&records, "last");
        assert!(
            last >= acknowledged,
            "round {round}: {acknowledged} acknowledged, {last} found"
        );
        for n in last.saturating_sub(KEYS - 1).max(1)..=last {
            let found = number_in(&records, &format!("slot/{}", n % KEYS));
            assert_eq!(found, n, "round {round}: batch {n} of {last} is torn");
        }
    }
    assert!(
        acknowledged > ROUNDS,
        "only {acknowledged} writes in {ROUNDS} rounds"
    );
}
