//! A loopback /24 for each cluster under test.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// A /24 that no other test of this machine uses while this value lives.
#[derive(Debug)]
pub struct Net {
    octets: [u8; 3],
    /// Locked as long as the net is taken; other test processes try the next one.
    _claim: File,
}

/// The nets tests draw from: 127.100.0.0 to 127.163.255.0, away from those people choose by hand.
const N_NETS: u16 = 64 * 256;

impl Net {
    /// Takes a free one.
    ///
    /// # Panics
    /// When all are taken.
    pub fn take() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let dir = std::env::temp_dir().join("zddcluster-test-nets");
        fs::create_dir_all(&dir).expect("the temporary directory can be written");
        // Processes begin at different places, and within one the numbers go up.
        let start = (std::process::id().wrapping_mul(61)) as u16;
        for _ in 0..N_NETS {
            let n = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % N_NETS;
            let octets = [127, 100 + (n / 256) as u8, (n % 256) as u8];
            let name = format!("{}.{}.{}", octets[0], octets[1], octets[2]);
            let claim =
                File::create(dir.join(name)).expect("the temporary directory can be written");
            let net = Self {
                octets,
                _claim: claim,
            };
            if net._claim.try_lock().is_ok() && TcpListener::bind((net.host(1), 8080)).is_ok() {
                return net;
            }
        }
        panic!("all {N_NETS} test nets are taken")
    }

    /// The address with this last byte.
    pub fn host(&self, host: u8) -> Ipv4Addr {
        let [a, b, c] = self.octets;
        Ipv4Addr::new(a, b, c, host)
    }

    /// As `--net` takes it.
    pub fn cidr(&self) -> String {
        format!("{}/24", self.host(0))
    }
}
