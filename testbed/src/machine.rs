//! One machine: what can be done in it, and to it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Error;
use crate::boot::{Body, Running};
use crate::cgroup::Cgroup;
use crate::command::{COMMAND_LIMIT_S, Output, capture, limited, shown};
use crate::network::Network;
use crate::unit_state::{PROPERTIES, UnitState, parse};

/// A container with Debian, systemd as PID 1, D-Bus and sshd. Methods may be called from any thread.
pub struct Machine {
    body: Body,
    address: Ipv4Addr,
    testbed: String,
    network: Arc<Network>,
    cgroup: Mutex<Option<Cgroup>>,
    running: Mutex<Option<Running>>,
}

impl Machine {
    /// Makes the machine's files; it is off.
    pub(crate) fn make(
        body: Body,
        address: Ipv4Addr,
        testbed: &str,
        network: Arc<Network>,
    ) -> Result<Self, Error> {
        body.make()?;
        let testbed = testbed.to_owned();
        Ok(Self {
            body,
            address,
            testbed,
            network,
            cgroup: Mutex::default(),
            running: Mutex::default(),
        })
    }

    /// Returns the name, which is its host name too.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.body.name
    }

    /// Returns the machine-id, 32 hexadecimal digits; the order of ids is the order in which machines were named.
    #[must_use]
    pub fn machine_id(&self) -> &str {
        &self.body.machine_id
    }

    /// Returns the address on the testbed's network.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Returns whether the machine was powered on and not killed or shut down since.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.running().is_some()
    }

    /// Boots the machine and returns when systemd has finished coming up, with what it calls itself:
    /// `running` or `degraded`. After [`kill`](Self::kill) its disk is as it was and `/run` is empty.
    ///
    /// # Errors
    /// If it is on, ends while booting, or is not up within two minutes: with its console.
    pub fn power_on(&self) -> Result<String, Error> {
        {
            let mut running = self.running();
            if running.is_some() {
                return Err(Error::On {
                    name: self.name().to_owned(),
                });
            }
            self.network.remove(self.name())?;
            let cgroup = Cgroup::make(&self.testbed, self.name())?;
            *running = Some(self.body.launch(&self.network, &cgroup)?);
            *self.lock_cgroup() = Some(cgroup);
        }
        // Exits with an error when the answer is "degraded", which a test may want.
        let state = self.run(&["systemctl", "is-system-running", "--wait"])?;
        match state.stdout.trim() {
            up @ ("running" | "degraded") => Ok(up.to_owned()),
            other => Err(Error::Ended {
                name: self.name().to_owned(),
                log: format!("systemd calls itself {other:?}\n{}", self.body.console()),
            }),
        }
    }

    /// Takes the power away: the network is gone at once, so that no connection is closed in good
    /// order, then every process is killed with SIGKILL. Returns when none is left.
    pub fn kill(&self) -> Result<(), Error> {
        let mut running = self.running();
        let mut process = running.take().ok_or_else(|| self.off())?;
        self.network.unplug(self.name())?;
        self.with_cgroup(Cgroup::kill)?;
        self.reap(&mut process)
    }

    /// Shuts the machine down in good order and returns when it is off.
    pub fn shut_down(&self) -> Result<(), Error> {
        self.run(&["systemctl", "--no-block", "poweroff"])?
            .success()?;
        let process = self.running().take();
        match process {
            Some(mut process) => self.reap(&mut process),
            None => Ok(()),
        }
    }

    /// Cuts the machine off the network: packets to and from it are lost, nothing is refused.
    pub fn partition(&self) -> Result<(), Error> {
        self.network.unplug(self.name())
    }

    /// Joins the machine to the network again.
    pub fn heal(&self) -> Result<(), Error> {
        self.network.plug(self.name())
    }

    /// Stops every process of the machine where it is, as when a virtual machine is paused.
    pub fn freeze(&self) -> Result<(), Error> {
        self.with_cgroup(Cgroup::freeze)
    }

    /// Lets the machine go on.
    pub fn thaw(&self) -> Result<(), Error> {
        self.with_cgroup(Cgroup::thaw)
    }

    /// Returns a command that runs `words` inside the machine as root. Its standard streams, and how long
    /// it may take, are the caller's to say.
    ///
    /// # Errors
    /// If the machine is off.
    pub fn command(&self, words: &[&str]) -> Result<Command, Error> {
        let leader = self.running().as_ref().ok_or_else(|| self.off())?.leader;
        let mut command = Command::new("nsenter");
        enter(&mut command, leader, words);
        Ok(command)
    }

    /// Runs a program inside the machine to its end, whatever that is.
    ///
    /// # Errors
    /// If the machine is off, or the program takes longer than two minutes.
    pub fn run(&self, words: &[&str]) -> Result<Output, Error> {
        self.run_with_input(words, b"")
    }

    /// Runs a line of shell inside the machine to its end, whatever that is.
    pub fn shell(&self, line: &str) -> Result<Output, Error> {
        self.run(&["sh", "-c", line])
    }

    /// Runs a program inside the machine with `input` on its standard input.
    pub fn run_with_input(&self, words: &[&str], input: &[u8]) -> Result<Output, Error> {
        /// What `timeout` exits with when it had to end the program, and when it had to do so by SIGKILL.
        const OVERDUE: [i32; 2] = [124, 137];
        let leader = self.running().as_ref().ok_or_else(|| self.off())?.leader;
        let mut command = limited();
        command.arg("nsenter");
        enter(&mut command, leader, words);
        let shown = shown(words);
        let output = capture(&mut command, &shown, input)?;
        if output.elapsed.as_secs() >= COMMAND_LIMIT_S
            && output
                .status
                .code()
                .is_some_and(|code| OVERDUE.contains(&code))
        {
            let what = format!("the end of `{shown}` on {}", self.name());
            let last = format!("{}{}", output.stdout, output.stderr);
            return Err(Error::Late {
                what,
                limit_s: COMMAND_LIMIT_S,
                last,
            });
        }
        Ok(output)
    }

    /// Writes a file into the machine, on or off, all of it or nothing; makes the directories above it.
    pub fn install_file(&self, path: &str, bytes: &[u8], mode: u32) -> Result<(), Error> {
        /// `$1` is the path, `$2` the mode. The rename makes it whole for whoever reads it meanwhile.
        const INSTALL: &str = "mkdir -p \"$(dirname \"$1\")\" && cat > \"$1.installing\" \
                               && chmod \"$2\" \"$1.installing\" && mv \"$1.installing\" \"$1\"";
        if !self.is_on() {
            return self.body.write(path, bytes, mode);
        }
        let mode = format!("{mode:o}");
        self.run_with_input(&["sh", "-c", INSTALL, "sh", path, &mode], bytes)?
            .success()
            .map(drop)
    }

    /// Starts a unit and waits for its job's end.
    pub fn start_unit(&self, unit: &str) -> Result<(), Error> {
        self.run(&["systemctl", "start", unit])?.success().map(drop)
    }

    /// Stops a unit and waits for its job's end.
    pub fn stop_unit(&self, unit: &str) -> Result<(), Error> {
        self.run(&["systemctl", "stop", unit])?.success().map(drop)
    }

    /// Sends a signal ("KILL", "STOP", "CONT") to the main process of a unit.
    pub fn signal_unit(&self, unit: &str, signal: &str) -> Result<(), Error> {
        let signal = format!("--signal={signal}");
        self.run(&["systemctl", "kill", "--kill-whom=main", &signal, unit])?
            .success()
            .map(drop)
    }

    /// Returns what systemd says of the units named, which may be patterns (`web@*.service`); a pattern
    /// finds only what systemd has loaded.
    pub fn unit_states(&self, units: &[&str]) -> Result<BTreeMap<String, UnitState>, Error> {
        let mut words = vec!["systemctl", "show", PROPERTIES, "--"];
        words.extend(units);
        Ok(parse(&self.run(&words)?.success()?.stdout))
    }

    /// Returns the journal of a unit since boot, oldest line first.
    pub fn journal(&self, unit: &str) -> Result<String, Error> {
        // What has been said already is in it: journald may be behind.
        self.run(&["journalctl", "--sync"])?.success()?;
        let words = [
            "journalctl",
            "--no-pager",
            "--quiet",
            "--output=short-precise",
            "--unit",
            unit,
        ];
        Ok(self.run(&words)?.success()?.stdout)
    }

    /// Returns the oldest process of exactly this name, as the machine numbers it.
    pub fn pid_of(&self, process: &str) -> Result<Option<u32>, Error> {
        let found = self.run(&["pgrep", "--oldest", "--exact", process])?;
        Ok(found.stdout.trim().parse().ok())
    }

    /// Returns the PID that the host knows this machine's PID 1 by; `None` when off.
    #[must_use]
    pub fn leader(&self) -> Option<u32> {
        self.running().as_ref().map(|running| running.leader)
    }

    /// Returns the end of what the machine wrote to its console.
    #[must_use]
    pub fn console(&self) -> String {
        self.body.console()
    }

    /// Collects the child process of a machine whose cgroup was killed from outside.
    pub(crate) fn collect(&self) -> Result<(), Error> {
        match self.running().take() {
            Some(mut process) => self.reap(&mut process),
            None => Ok(()),
        }
    }

    fn reap(&self, process: &mut Running) -> Result<(), Error> {
        let failed = |source| Error::Run {
            command: format!("systemd-nspawn of {}", self.name()),
            source,
        };
        process.nspawn.wait().map(drop).map_err(failed)
    }

    fn off(&self) -> Error {
        Error::Off {
            machine: self.name().to_owned(),
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_cgroup(&self) -> MutexGuard<'_, Option<Cgroup>> {
        self.cgroup.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_cgroup(&self, act: impl FnOnce(&Cgroup) -> Result<(), Error>) -> Result<(), Error> {
        self.lock_cgroup()
            .as_ref()
            .map_or_else(|| Err(self.off()), act)
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Machine({} {} {})",
            self.name(),
            self.machine_id(),
            self.address
        )
    }
}

/// Completes an `nsenter` so that `words` run in every namespace of a machine, with a machine's environment.
fn enter(command: &mut Command, leader: u32, words: &[&str]) {
    command
        .args([
            "--target",
            &leader.to_string(),
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--",
        ])
        .args(words)
        .current_dir("/")
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("HOME", "/root")
        .env("LANG", "C.UTF-8");
}
