//! A real etcd, outside the machines, at an address of its own in the testbed's network.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Error;
use crate::boot::tail;
use crate::cgroup::Cgroup;
use crate::network::Network;
use crate::notify::Notify;

/// How long etcd may take to serve; it takes about one second, most of it the election.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Enters the cgroups given before `--`, then becomes what follows.
const ENTER: &str = "while [ \"$1\" != -- ]; do echo $$ > \"$1/cgroup.procs\" || exit 1; shift; done; shift; exec \"$@\"";

/// One etcd process and its data, which outlive each other: kill it, start it again with what it had.
#[derive(Debug)]
pub struct EtcdMember {
    name: String,
    address: Ipv4Addr,
    /// `name=peer URL` of every member, as etcd wants it.
    cluster: String,
    directory: PathBuf,
    testbed: String,
    network: Arc<Network>,
    running: Mutex<Option<(Child, Cgroup)>>,
}

impl EtcdMember {
    /// Describes member `number` of `members`, counted from 1; it is not running.
    pub(crate) fn make(
        number: u8,
        members: u8,
        disk: &std::path::Path,
        testbed: &str,
        network: Arc<Network>,
    ) -> Result<Self, Error> {
        let peer = |n: u8| {
            format!(
                "{}=http://{}:2380",
                name(n),
                crate::network::etcd_address(n)
            )
        };
        let directory = disk.join(name(number));
        std::fs::create_dir_all(&directory).map_err(Error::file("create", &directory))?;
        Ok(Self {
            name: name(number),
            address: crate::network::etcd_address(number),
            cluster: (1..=members).map(peer).collect::<Vec<_>>().join(","),
            directory,
            testbed: testbed.to_owned(),
            network,
            running: Mutex::default(),
        })
    }

    /// Returns the URL that clients in the testbed's network use.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}:2379", self.address)
    }

    /// Returns the member's name: `etcd1` and so on.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts etcd on the data it has and returns when it serves clients. The members of a new cluster
    /// wait for each other: start them at the same time.
    pub fn start(&self) -> Result<(), Error> {
        let mut running = self.running();
        if running.is_some() {
            return Err(Error::On {
                name: self.name.clone(),
            });
        }
        let notify = Notify::open(&self.directory.join("notify"))?;
        let cgroup = Cgroup::make(&self.testbed, &self.name)?;
        let failed = |source| Error::Run {
            command: "etcd".to_owned(),
            source,
        };
        let mut child = self.command(&cgroup, &notify)?.spawn().map_err(failed)?;
        match notify.wait("READY", &mut child, &self.name, START_LIMIT, || self.log()) {
            Ok(_) => {
                *running = Some((child, cgroup));
                Ok(())
            }
            Err(error) => {
                cgroup.kill()?;
                child.wait().map_err(failed)?;
                Err(error)
            }
        }
    }

    /// Kills etcd with SIGKILL and returns when it is gone. Its data stay.
    pub fn kill(&self) -> Result<(), Error> {
        let (mut child, cgroup) = self.running().take().ok_or_else(|| self.off())?;
        cgroup.kill()?;
        child.wait().map(drop).map_err(|source| Error::Run {
            command: "etcd".to_owned(),
            source,
        })
    }

    /// Stops etcd where it is: connections stay open and nothing answers.
    pub fn freeze(&self) -> Result<(), Error> {
        self.with_cgroup(Cgroup::freeze)
    }

    /// Lets etcd go on.
    pub fn thaw(&self) -> Result<(), Error> {
        self.with_cgroup(Cgroup::thaw)
    }

    /// Returns the end of etcd's log.
    #[must_use]
    pub fn log(&self) -> String {
        tail(&self.directory.join("log"))
    }

    /// Collects the child process of a member whose cgroup was killed from outside.
    pub(crate) fn collect(&self) -> Result<(), Error> {
        match self.running().take() {
            Some((mut child, _)) => child.wait().map(drop).map_err(|source| Error::Run {
                command: "etcd".to_owned(),
                source,
            }),
            None => Ok(()),
        }
    }

    fn command(&self, cgroup: &Cgroup, notify: &Notify) -> Result<Command, Error> {
        let log_path = self.directory.join("log");
        let log = File::options().create(true).append(true).open(&log_path);
        let log = log.map_err(Error::file("open", &log_path))?;
        let errors = log.try_clone().map_err(Error::file("open", &log_path))?;
        let client = format!("{},http://127.0.0.1:2379", self.endpoint());
        let client = if self.name == "etcd1" {
            client
        } else {
            self.endpoint()
        };
        let peer = format!("http://{}:2380", self.address);
        let mut command = Command::new("setsid");
        command
            .args([
                "nsenter",
                &format!("--net={}", self.network.path()),
                "--",
                "sh",
                "-c",
                ENTER,
                "sh",
            ])
            .args(cgroup.paths())
            .args(["--", "etcd", "--name", &self.name, "--data-dir"])
            .arg(self.directory.join("data"))
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &self.endpoint(),
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args([
                "--initial-cluster",
                &self.cluster,
                "--initial-cluster-token",
                &self.testbed,
            ])
            .env("NOTIFY_SOCKET", notify.path())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        Ok(command)
    }

    fn off(&self) -> Error {
        Error::Off {
            machine: self.name.clone(),
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<(Child, Cgroup)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_cgroup(&self, act: impl FnOnce(&Cgroup) -> Result<(), Error>) -> Result<(), Error> {
        let running = self.running();
        running
            .as_ref()
            .map_or_else(|| Err(self.off()), |(_, cgroup)| act(cgroup))
    }
}

fn name(number: u8) -> String {
    format!("etcd{number}")
}
