//! A testbed as a whole: what it is made of, how it starts, how it ends.

use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::{fs, thread};

use crate::boot::Body;
use crate::command::{Output, capture, host, limited, shown};
use crate::ground::Ground;
use crate::network::{Network, machine_address};
use crate::{Error, EtcdMember, FleetFiles, Machine, image, unavailable_because};

/// The user and group that the image's recipe makes for "core": the first that is free.
const CORE_ID: u32 = 1000;

/// Where the cluster is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Store {
    /// Nowhere: machines only.
    None,
    /// A cluster of real etcd, outside the machines.
    Etcd {
        /// How many processes: 1 or 3.
        members: u8,
    },
    /// In the fleetd of the first machine (`standalone=true`), which the others join.
    Embedded,
}

/// One machine of a testbed.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// Host name: at most 12 lower-case letters and digits.
    pub name: String,
    /// The value of `metadata=` in fleet.conf, for example `region=eu,disk=ssd`.
    pub metadata: String,
    /// More lines for fleet.conf.
    pub fleet_conf: Vec<String>,
}

/// What a testbed is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the cluster is kept.
    pub store: Store,
    /// The machines, in the order of their machine-ids; at most 200.
    pub machines: Vec<MachineConfig>,
    /// fleet, to be installed and enabled on every machine; `None`: plain Debian.
    pub fleet: Option<FleetFiles>,
}

impl Config {
    /// Describes `count` machines named `m1`, `m2` and so on, without metadata and without fleet.
    #[must_use]
    pub fn of(count: u8, store: Store) -> Self {
        let machine = |number| MachineConfig {
            name: format!("m{number}"),
            metadata: String::new(),
            fleet_conf: Vec::new(),
        };
        Self {
            store,
            machines: (1..=count).map(machine).collect(),
            fleet: None,
        }
    }

    /// Installs fleet on every machine.
    #[must_use]
    pub fn fleet(mut self, files: FleetFiles) -> Self {
        self.fleet = Some(files);
        self
    }

    /// Gives machines their metadata, in order.
    #[must_use]
    pub fn metadata<S: AsRef<str>>(mut self, metadata: &[S]) -> Self {
        for (machine, value) in self.machines.iter_mut().zip(metadata) {
            value.as_ref().clone_into(&mut machine.metadata);
        }
        self
    }

    /// Adds a line to fleet.conf on every machine.
    #[must_use]
    pub fn fleet_conf(mut self, line: &str) -> Self {
        for machine in &mut self.machines {
            machine.fleet_conf.push(line.to_owned());
        }
        self
    }
}

/// Running machines and, if wanted, a running etcd. Dropping it ends all of it.
#[derive(Debug)]
pub struct Testbed {
    machines: Vec<Machine>,
    etcd: Vec<EtcdMember>,
    store: Store,
    network: Arc<Network>,
    ground: Ground,
    end: End,
}

#[derive(Clone, Copy, Debug)]
enum End {
    OnDrop,
    Kept,
}

impl Testbed {
    /// Starts a testbed if this host can, and otherwise prints why not and returns `None`.
    ///
    /// # Errors
    /// With `CI=true` in the environment nothing is skipped: what is missing is an error.
    pub fn start_or_skip(config: &Config) -> Result<Option<Self>, Error> {
        match unavailable_because() {
            None => Self::start(config).map(Some),
            Some(reason) if std::env::var_os("CI").is_some_and(|value| value == "true") => {
                Err(Error::Unavailable { reason })
            }
            Some(reason) => {
                eprintln!("SKIP: {reason}");
                Ok(None)
            }
        }
    }

    /// Starts etcd, then boots all machines at the same time, and returns when all are up.
    pub fn start(config: &Config) -> Result<Self, Error> {
        if let Some(reason) = unavailable_because() {
            return Err(Error::Unavailable { reason });
        }
        let image = image::find_or_build()?;
        let ground = Ground::make()?;
        let members = match config.store {
            Store::Etcd { members } => members,
            Store::None | Store::Embedded => 0,
        };
        let network = Arc::new(Network::make(ground.id(), members)?);
        let end = End::OnDrop;
        let (machines, etcd) = (Vec::new(), Vec::new());
        let mut bed = Self {
            machines,
            etcd,
            store: config.store,
            network,
            ground,
            end,
        };
        for number in 1..=members {
            let (disk, id) = (bed.ground.disk(), bed.ground.id());
            bed.etcd.push(EtcdMember::make(
                number,
                members,
                &disk,
                id,
                Arc::clone(&bed.network),
            )?);
        }
        let layer = bed.make_layer(config)?;
        let lower = format!("{}:{}", layer.display(), image.display());
        for (number, machine) in (1..).zip(&config.machines) {
            let made = bed.make_machine(number, machine, &lower)?;
            if config.fleet.is_some() {
                made.install_file(
                    "/etc/fleet/fleet.conf",
                    bed.fleet_conf(number, machine).as_bytes(),
                    0o644,
                )?;
            }
            bed.machines.push(made);
        }
        all(&bed.etcd, EtcdMember::start)?;
        all(&bed.machines, |machine| machine.power_on().map(drop))?;
        Ok(bed)
    }

    /// Returns the machines, in the order of their machine-ids.
    #[must_use]
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// Returns the machine of this name.
    #[must_use]
    pub fn machine(&self, name: &str) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.name() == name)
    }

    /// Returns the etcd members; none unless the store is [`Store::Etcd`].
    #[must_use]
    pub fn etcd(&self) -> &[EtcdMember] {
        &self.etcd
    }

    /// Returns the client URLs of the store, real or embedded, with commas: what `etcd_servers=` is set to.
    #[must_use]
    pub fn store_endpoints(&self) -> String {
        match self.store {
            Store::None => String::new(),
            Store::Etcd { .. } => self
                .etcd
                .iter()
                .map(EtcdMember::endpoint)
                .collect::<Vec<_>>()
                .join(","),
            Store::Embedded => format!("http://{}:2379", machine_address(1)),
        }
    }

    /// Returns a command that runs `words` on the host, but in the testbed's network, with
    /// `etcdctl` set up for the store.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        self.enter(&mut command, words);
        command
    }

    /// Runs a program as [`command`](Self::command) does, to its end, whatever that is.
    pub fn run(&self, words: &[&str]) -> Result<Output, Error> {
        let mut command = limited();
        command.arg("nsenter");
        self.enter(&mut command, words);
        capture(&mut command, &shown(words), b"")
    }

    /// Returns the private ssh key that root and core on every machine accept.
    #[must_use]
    pub fn ssh_key(&self) -> PathBuf {
        self.ground.disk().join("ssh_key")
    }

    /// Returns the name of the network namespace, for `ip netns exec`.
    #[must_use]
    pub fn network_namespace(&self) -> &str {
        self.network.name()
    }

    /// Leaves the testbed running when this process ends, and returns the script that ends it.
    pub fn keep(mut self) -> Result<PathBuf, Error> {
        self.ground.keep()?;
        self.end = End::Kept;
        Ok(self.ground.end_script())
    }

    /// Returns what helps to find out what went wrong: fleet's journal of every machine and etcd's log.
    #[must_use]
    pub fn diagnosis(&self) -> String {
        const LOG: &str = include_str!("journal.sh");
        let machine = |machine: &Machine| {
            let log = match machine.thaw().and_then(|()| machine.shell(LOG)) {
                Ok(output) => output.stdout,
                Err(error) => format!("({error})\n"),
            };
            format!("--- {machine:?}\n{log}")
        };
        let member = |member: &EtcdMember| format!("--- {}\n{}\n", member.name(), member.log());
        let machines = self.machines.iter().map(machine);
        machines.chain(self.etcd.iter().map(member)).collect()
    }

    fn enter(&self, command: &mut Command, words: &[&str]) {
        command
            .args([&format!("--net={}", self.network.path()), "--"])
            .args(words)
            .env("ETCDCTL_API", "3")
            .env("ETCDCTL_ENDPOINTS", self.store_endpoints());
    }

    /// Makes what all machines have in common beyond the image: names, the ssh key they accept, fleet.
    fn make_layer(&self, config: &Config) -> Result<PathBuf, Error> {
        let layer = self.ground.disk().join("layer");
        let mut hosts = "127.0.0.1 localhost\n".to_owned();
        for (number, machine) in (1..).zip(&config.machines) {
            hosts += &format!("{} {}\n", machine_address(number), machine.name);
        }
        make_folder(&layer.join("etc"), 0o755)?;
        let hosts_path = layer.join("etc/hosts");
        fs::write(&hosts_path, hosts).map_err(Error::file("write", &hosts_path))?;
        let key = self.ssh_key();
        host(&[
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "testbed",
            "-f",
            &key.to_string_lossy(),
        ])?;
        for (home, owner) in [("root", 0), ("home/core", CORE_ID)] {
            make_folder(&layer.join(home), 0o700)?;
            make_folder(&layer.join(home).join(".ssh"), 0o700)?;
            let accepted = layer.join(home).join(".ssh/authorized_keys");
            fs::copy(key.with_extension("pub"), &accepted)
                .map_err(Error::file("write", &accepted))?;
            for path in [layer.join(home), layer.join(home).join(".ssh"), accepted] {
                chown(&path, Some(owner), Some(owner))
                    .map_err(Error::file("set the owner of", &path))?;
            }
        }
        if let Some(fleet) = &config.fleet {
            fleet.install(&layer)?;
        }
        Ok(layer)
    }

    fn make_machine(
        &self,
        number: u8,
        config: &MachineConfig,
        lower: &str,
    ) -> Result<Machine, Error> {
        let address = machine_address(number);
        let random = Path::new("/proc/sys/kernel/random/uuid");
        let random = fs::read_to_string(random).map_err(Error::file("read", random))?;
        // The number in front makes the order of ids, by which fleet settles ties, the order of names.
        let machine_id: String = format!("{number:02x}{}", random.trim().replace('-', ""))
            .chars()
            .take(32)
            .collect();
        let body = Body {
            name: config.name.clone(),
            machine_id,
            address: format!("{address}/24"),
            lower: lower.to_owned(),
            directory: self.ground.disk().join(&config.name),
        };
        Machine::make(body, address, self.ground.id(), Arc::clone(&self.network))
    }

    fn fleet_conf(&self, number: u8, machine: &MachineConfig) -> String {
        let address: Ipv4Addr = machine_address(number);
        let mut lines = vec![format!("public_ip={address}")];
        match self.store {
            Store::Embedded if number == 1 => {
                lines.push("standalone=true".to_owned());
                lines.push(format!("standalone_listen={address}:2379"));
                // The testbed's network has no way in from outside.
                lines.push("insecure_listen=true".to_owned());
            }
            Store::Etcd { .. } | Store::Embedded => {
                lines.push(format!("etcd_servers={}", self.store_endpoints()));
            }
            Store::None => {}
        }
        if !machine.metadata.is_empty() {
            lines.push(format!("metadata={}", machine.metadata));
        }
        lines.extend(machine.fleet_conf.iter().cloned());
        lines.join("\n") + "\n"
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        if matches!(self.end, End::Kept) {
            return;
        }
        if thread::panicking() {
            eprintln!("{}", self.diagnosis());
        }
        let mut ended = vec![self.ground.end()];
        ended.extend(self.machines.iter().map(Machine::collect));
        ended.extend(self.etcd.iter().map(EtcdMember::collect));
        for error in ended.into_iter().filter_map(Result::err) {
            eprintln!("testbed: {error}");
        }
    }
}

/// Does the same to all at the same time; returns the first error after all have ended.
fn all<T: Sync>(things: &[T], act: impl Fn(&T) -> Result<(), Error> + Sync) -> Result<(), Error> {
    let act = &act;
    thread::scope(|scope| {
        let threads: Vec<_> = things
            .iter()
            .map(|thing| scope.spawn(move || act(thing)))
            .collect();
        let ended = threads.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        // Collected first: an error must not leave the others unobserved.
        ended.collect::<Vec<_>>().into_iter().collect()
    })
}

fn make_folder(path: &Path, mode: u32) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::file("create", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(Error::file("set the mode of", path))
}
