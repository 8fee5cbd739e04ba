//! The network of a testbed: a namespace with one bridge, and the fixed addresses on it.
//!
//! The same addresses serve every testbed, because no two share a namespace and none is joined to the host's.

use std::net::Ipv4Addr;

use crate::Error;
use crate::command::host;

/// The host's side of the bridge: the machines' default route.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Returns the address of etcd member `number`, counted from 1.
pub(crate) fn etcd_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 1 + number)
}

/// Returns the address of machine `number`, counted from 1.
pub(crate) fn machine_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 10 + number)
}

/// A network namespace with the bridge `br0`.
#[derive(Debug)]
pub(crate) struct Network {
    namespace: String,
}

impl Network {
    /// Makes the namespace of testbed `id` and its bridge, with an address for each etcd member.
    pub(crate) fn make(id: &str, etcd_members: u8) -> Result<Self, Error> {
        let network = Self {
            namespace: format!("ftb-{id}"),
        };
        host(&["ip", "netns", "add", &network.namespace])?;
        network.ip(&["link", "set", "lo", "up"])?;
        network.ip(&["link", "add", "br0", "type", "bridge"])?;
        let mut addresses = vec![GATEWAY];
        addresses.extend((1..=etcd_members).map(etcd_address));
        for address in addresses {
            network.ip(&["address", "add", &format!("{address}/24"), "dev", "br0"])?;
        }
        network.ip(&["link", "set", "br0", "up"])?;
        Ok(network)
    }

    /// Returns the namespace's name, as `ip netns` knows it.
    pub(crate) fn name(&self) -> &str {
        &self.namespace
    }

    /// Returns the file that stands for the namespace.
    pub(crate) fn path(&self) -> String {
        format!("/run/netns/{}", self.namespace)
    }

    /// Takes a machine's cable off the bridge: nothing it sends arrives and nothing is refused, as when a switch dies.
    pub(crate) fn unplug(&self, machine: &str) -> Result<(), Error> {
        self.ip(&["link", "set", &port(machine), "nomaster"])
    }

    /// Puts a machine's cable back.
    pub(crate) fn plug(&self, machine: &str) -> Result<(), Error> {
        self.ip(&["link", "set", &port(machine), "master", "br0"])
    }

    /// Removes what is left of the cable of a machine that is gone. The kernel does so by itself, but
    /// not at once, and the next boot needs the name.
    pub(crate) fn remove(&self, machine: &str) -> Result<(), Error> {
        match self.ip(&["link", "delete", &port(machine)]) {
            // It was gone before it was looked up, or between that and the deletion.
            Err(Error::Failed { output, .. })
                if ["Cannot find device", "No such device"]
                    .iter()
                    .any(|gone| output.contains(gone)) =>
            {
                Ok(())
            }
            other => other,
        }
    }

    fn ip(&self, words: &[&str]) -> Result<(), Error> {
        let mut all = vec!["ip", "-netns", &self.namespace];
        all.extend(words);
        host(&all).map(drop)
    }
}

/// The name that systemd-nspawn gives the host's end of a machine's cable.
fn port(machine: &str) -> String {
    format!("vb-{machine}")
}
