//! What the machine has, as Mesos' masters and agents tell it in their metrics.

use rustix::system::sysinfo;

/// The kernel's fixed point of load averages: `SI_LOAD_SHIFT`.
const LOAD_ONE: f64 = 65_536.0;

/// Numbers of this machine under Mesos' names: memory in bytes, load averages, processors that this process may use.
pub fn machine_metrics() -> [(&'static str, f64); 6] {
    let system = sysinfo();
    // `unsigned long` of the kernel: 32 bits on some machines.
    let bytes = |count: rustix::ffi::c_ulong| count as f64 * f64::from(system.mem_unit);
    let [load_1, load_5, load_15] = system.loads.map(|load| load as f64 / LOAD_ONE);
    let n_cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    [
        ("system/mem_total_bytes", bytes(system.totalram)),
        ("system/mem_free_bytes", bytes(system.freeram)),
        ("system/load_1min", load_1),
        ("system/load_5min", load_5),
        ("system/load_15min", load_15),
        ("system/cpus_total", n_cpus as f64),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_kernel_s_own_files_tell_it() {
        let of = |name: &str| {
            let metrics = machine_metrics();
            let found = metrics.into_iter().find(|(given, _)| *given == name);
            found.unwrap().1
        };
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
        let total = memory.lines().find_map(|line| {
            let rest = line.strip_prefix("MemTotal:")?;
            rest.trim().strip_suffix(" kB")?.parse::<f64>().ok()
        });
        assert_eq!(of("system/mem_total_bytes"), total.unwrap() * 1024.0);
        assert!(of("system/mem_free_bytes") < of("system/mem_total_bytes"));
        assert!(of("system/cpus_total") >= 1.0);
        // Sampled every five seconds; the longest one hardly moves meanwhile.
        let loads = std::fs::read_to_string("/proc/loadavg").unwrap();
        let longest: f64 = loads.split(' ').nth(2).unwrap().parse().unwrap();
        let told = of("system/load_15min");
        assert!((told - longest).abs() < 0.5, "{told} {longest}");
    }
}
