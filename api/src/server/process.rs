//! What the kernel says of this process, under the names that every Prometheus client library uses.

use std::fs;

use super::exposition::{Exposition, Kind};

/// The kernel's clock ticks in a second, as `/proc` counts them: 100 on every Linux.
const TICKS_PER_S: f64 = 100.0;

/// Position of a field in `/proc/self/stat`, counted from the one after the process's name (proc(5) counts from 1, two
/// more).
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const START_TICKS: usize = 19;
const VIRTUAL_BYTES: usize = 20;

/// Writes what can be read; what cannot is left out.
pub(super) fn write(page: &mut Exposition) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name may hold blanks and parentheses: what follows the last one is regular.
    let fields: Vec<&str> = match stat.rsplit_once(") ") {
        Some((_, rest)) => rest.split_whitespace().collect(),
        None => Vec::new(),
    };
    let field = |at: usize| fields.get(at)?.parse::<f64>().ok();
    let seconds = field(USER_TICKS)
        .zip(field(SYSTEM_TICKS))
        .map(|(user, system)| (user + system) / TICKS_PER_S);
    let started = booted_unix_s()
        .zip(field(START_TICKS))
        .map(|(boot, ticks)| boot + ticks / TICKS_PER_S);
    let files = fs::read_dir("/proc/self/fd").map(Iterator::count).ok();
    let values = [
        (
            "process_cpu_seconds_total",
            Kind::Counter,
            "Processor time used, in seconds.",
            seconds,
        ),
        (
            "process_start_time_seconds",
            Kind::Gauge,
            "When the process started, in seconds since 1970.",
            started,
        ),
        (
            "process_resident_memory_bytes",
            Kind::Gauge,
            "Memory in use.",
            resident_bytes(),
        ),
        (
            "process_virtual_memory_bytes",
            Kind::Gauge,
            "Address space in use.",
            field(VIRTUAL_BYTES),
        ),
        (
            "process_open_fds",
            Kind::Gauge,
            "Open files.",
            // One of them is the directory that is being read.
            files.map(|files| files.saturating_sub(1) as f64),
        ),
    ];
    for (name, kind, help, value) in values {
        if let Some(value) = value {
            page.one(name, kind, help, value);
        }
    }
}

fn booted_unix_s() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_all_of_it_and_it_is_about_this_process() {
        let mut page = Exposition::default();
        write(&mut page);
        let text = page.into_text();
        println!("{text}");
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().parse().unwrap()
        };
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        let age = now - value("process_start_time_seconds ");
        assert!((-5.0..86_400.0).contains(&age), "{age}");
        assert!(value("process_cpu_seconds_total ") >= 0.0);
        let resident = value("process_resident_memory_bytes ");
        assert!(resident > 500_000.0);
        assert!(value("process_virtual_memory_bytes ") >= resident);
        assert!(value("process_open_fds ") >= 3.0);
    }
}
