//! What this host says of itself: machine id, boot, address, capacity.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;

use anyhow::{Context, Result, bail};
use model::{BootId, Capacity, Machine, MachineId};

use crate::config::Config;

const MACHINE_ID_FILE: &str = "/etc/machine-id";
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";
const MEMORY_FILE: &str = "/proc/meminfo";

/// An address that belongs to nobody (RFC 5737). Nothing is sent to it: the kernel is only asked which of our addresses it would use
/// on the default route.
const FAR_AWAY: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// Describes this machine to the cluster.
pub(crate) fn describe(config: &Config, version: &str) -> Result<Machine> {
    Ok(Machine {
        id: machine_id(Path::new(MACHINE_ID_FILE))?,
        boot: BootId(read_trimmed(Path::new(BOOT_ID_FILE))?),
        address: config
            .public_ip
            .clone()
            .or_else(detect_address)
            .unwrap_or_default(),
        metadata: config.metadata.clone(),
        version: version.to_owned(),
        capacity: capacity(),
    })
}

fn machine_id(path: &Path) -> Result<MachineId> {
    let text = read_trimmed(path).with_context(|| {
        format!(
            "unable to determine local machine ID from {}: run systemd-machine-id-setup",
            path.display()
        )
    })?;
    if text.is_empty() {
        bail!("{} is empty: run systemd-machine-id-setup", path.display());
    }
    MachineId::parse(&text).with_context(|| format!("{} cannot be used", path.display()))
}

fn read_trimmed(path: &Path) -> Result<String> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim().to_owned())
}

/// The IPv4 address on the default route; none if there is no such route, or the address means nothing to others.
fn detect_address() -> Option<String> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(FAR_AWAY).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) if is_usable(address) => Some(address.to_string()),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

fn is_usable(address: Ipv4Addr) -> bool {
    !(address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_unspecified())
}

fn capacity() -> Capacity {
    let memory_bytes = fs::read_to_string(MEMORY_FILE)
        .ok()
        .and_then(|text| memory_total(&text))
        .unwrap_or(0);
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    Capacity {
        memory_bytes,
        cpu_milli: processors as u64 * 1000,
    }
}

fn memory_total(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_mean_nothing_to_others_are_not_published() {
        for (text, usable) in [
            ("192.168.1.12", true),
            ("127.0.0.12", false),
            ("169.254.4.87", false),
            ("0.0.0.0", false),
            ("239.255.255.250", false),
        ] {
            assert_eq!(is_usable(text.parse().unwrap()), usable, "{text}");
        }
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(
            memory_total("MemTotal:       24676172 kB\nMemFree: 1 kB\n"),
            Some(24_676_172 * 1024)
        );
        assert_eq!(memory_total("nothing"), None);
    }
}
