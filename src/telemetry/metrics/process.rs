//! The process itself, under the names that all client libraries of Prometheus use. Read from `/proc` when somebody scrapes; where
//! there is none, there are no such families.

use super::encode::{family, float, sample};
use prometheus::proto::{MetricFamily, MetricType};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use std::fs;

/// What is known of the process.
pub(super) fn families() -> Vec<MetricFamily> {
    let stat = fs::read_to_string("/proc/self/stat").ok();
    let stat = stat.as_deref().and_then(Stat::parse);
    let boot = fs::read_to_string("/proc/stat").ok().as_deref().and_then(boot_time);
    let mut families = Vec::new();
    let mut add = |name: &str, help: &str, kind: MetricType, value: Option<f64>| {
        let metrics = value.map(|value| sample(kind, &[], value));
        families.push(family(name, help, kind, metrics.into_iter().collect()));
    };
    let ticks = float(clock_ticks_per_second());
    let cpu = stat.as_ref().map(|stat| float(stat.cpu_ticks) / ticks);
    add("process_cpu_seconds_total", "User and system processor time.", MetricType::COUNTER, cpu);
    let resident = stat.as_ref().map(|stat| float(stat.resident_pages) * float(size(page_size())));
    add("process_resident_memory_bytes", "Resident memory.", MetricType::GAUGE, resident);
    let virtual_ = stat.as_ref().map(|stat| float(stat.virtual_bytes));
    add("process_virtual_memory_bytes", "Virtual memory.", MetricType::GAUGE, virtual_);
    let threads = stat.as_ref().map(|stat| float(stat.threads));
    add("process_threads", "Threads.", MetricType::GAUGE, threads);
    let started = stat.as_ref().zip(boot).map(|(stat, boot)| float(boot) + float(stat.started_ticks) / ticks);
    add(
        "process_start_time_seconds",
        "When the process began, in seconds since the epoch.",
        MetricType::GAUGE,
        started,
    );
    // One of them is the folder that is being read.
    let open = fs::read_dir("/proc/self/fd").ok().map(|found| float(size(found.count().saturating_sub(1))));
    add("process_open_fds", "Open file descriptors.", MetricType::GAUGE, open);
    let most = open.and(getrlimit(Resource::Nofile).current).map(float);
    add("process_max_fds", "How many file descriptors may be open.", MetricType::GAUGE, most);
    families
}

/// Fields of `/proc/self/stat` (`proc_pid_stat(5)`).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    started_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name of the program is in brackets, and may hold brackets and blanks; the state behind it is field 3.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number.checked_sub(3)?)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)?.saturating_add(field(15)?),
            threads: field(20)?,
            started_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// When the machine was started, in seconds since the epoch.
fn boot_time(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn size(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Stat, boot_time, families};

    #[test]
    fn a_name_with_brackets_and_blanks_shifts_nothing() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194304 1 0 0 0 30 12 0 0 20 0 5 0 9000 1048576 250 18446744073709551615 1";
        let stat = Stat::parse(text).unwrap();
        let expected = Stat {
            cpu_ticks: 42,
            threads: 5,
            started_ticks: 9000,
            virtual_bytes: 1_048_576,
            resident_pages: 250,
        };
        assert_eq!(stat, expected);
        assert_eq!(Stat::parse("7 (a"), None);
        assert_eq!(boot_time("cpu 1 2\nbtime 1800000000\n"), Some(1_800_000_000));
    }

    #[test]
    fn this_process_is_known() {
        let all = families();
        let value = |name: &str| {
            let family = all.iter().find(|family| family.name() == name).unwrap();
            let metric = &family.get_metric()[0];
            metric.get_gauge().get_value().max(metric.get_counter().get_value())
        };
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(value("process_open_fds") >= 3.0 && value("process_max_fds") >= value("process_open_fds"));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((now - value("process_start_time_seconds")).abs() < 3600.0);
    }
}
