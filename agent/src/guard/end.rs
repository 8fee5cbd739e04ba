//! Ends this machine's exclusive units: asks systemd to stop them, and has it kill those that are left when it is time.
//!
//! By `systemctl`, which reaches systemd without D-Bus: the bus may be what is broken. What is asked for once stays asked for, also
//! if we die: systemd goes on stopping. systemd itself may be what is broken: no call takes longer than it may, and what is to be killed is
//! killed by its cgroup first.

use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use model::Deadline;

use super::cgroup::Cgroups;
use super::wait::sleep_until;
use super::{GuardError, GuardFiles, boot_ms};

/// How often it is looked whether the units have stopped, in milliseconds.
const LOOK_MS: u64 = 100;

/// How long killing goes on, in milliseconds, each [`LOOK_MS`], as a unit may run further commands after its main process is dead. What outlives it hangs
/// in the kernel, and nobody can kill it.
const KILLING_MAX_MS: u64 = 30_000;

/// How long `systemctl` may take to answer, in milliseconds: on a busy machine it takes 100. Without an answer all that may run counts as
/// running.
const ANSWER_MAX_MS: u64 = 1_000;

/// How the guard reaches systemd and the kernel.
struct Ways {
    /// `systemctl`, and what it is told first.
    systemctl: Vec<String>,
    cgroups: io::Result<Cgroups>,
    /// See [`KILLING_MAX_MS`].
    killing_max_ms: u64,
}

/// Stops the exclusive units that run, remembers each as given up, and returns when none runs. Those whose time is up are killed.
/// `say` is told what is done.
///
/// # Errors
/// If systemd does not do what it is asked, or units do not even die.
pub fn end(files: &GuardFiles, say: &dyn Fn(&str)) -> Result<(), GuardError> {
    let systemctl = ["systemctl", files.manager.option(), "--no-pager"];
    let ways = Ways {
        systemctl: systemctl.map(str::to_owned).into(),
        cgroups: Cgroups::ours(),
        killing_max_ms: KILLING_MAX_MS,
    };
    end_by(&ways, files, say)
}

fn end_by(ways: &Ways, files: &GuardFiles, say: &dyn Fn(&str)) -> Result<(), GuardError> {
    let units = files.exclusive()?;
    let mut running = ways.of_these(units, ANSWER_MAX_MS, say);
    if running.is_empty() {
        return Ok(());
    }
    for unit in &running {
        if let Err(error) = files.give_up(unit) {
            say(&format!(
                "{unit}: it cannot be remembered that it is given up: {error}"
            ));
        }
    }
    say(&format!(
        "this machine's lease is not confirmed: stopping {}",
        running.join(" ")
    ));
    // No deadline is as good as one that has passed.
    let time = files.deadline().unwrap_or(Deadline::PASSED);
    let answer_ms = || ANSWER_MAX_MS.min(time.kill_boot_ms.saturating_sub(boot_ms()).max(LOOK_MS));
    let mut stop = vec!["stop", "--no-block"];
    stop.extend(running.iter().map(String::as_str));
    // If systemd does not take it on, they are killed all the same, and then go as it stops what is bound to us.
    if let Err(error) = ways.systemctl(&stop, answer_ms()) {
        say(&error.to_string());
    }
    while !running.is_empty() && boot_ms() < time.kill_boot_ms {
        pause()?;
        running = ways.of_these(running, answer_ms(), say);
    }
    ways.kill(running, say)
}

impl Ways {
    /// Kills these, again and again, until none of them runs.
    fn kill(&self, mut running: Vec<String>, say: &dyn Fn(&str)) -> Result<(), GuardError> {
        if running.is_empty() {
            return Ok(());
        }
        say(&format!("killing {}", running.join(" ")));
        let since = boot_ms();
        while !running.is_empty() {
            if boot_ms() - since > self.killing_max_ms {
                let units = running.join(" ");
                return Err(GuardError::StillRunning { units });
            }
            self.kill_by_cgroup(&running, say);
            let mut kill = vec!["kill", "--kill-whom=all", "--signal=SIGKILL"];
            kill.extend(running.iter().map(String::as_str));
            if let Err(error) = self.systemctl(&kill, ANSWER_MAX_MS) {
                // A unit that has just stopped has nothing to be killed.
                say(&error.to_string());
            }
            running = self.of_these(running, ANSWER_MAX_MS, say);
            pause()?;
        }
        Ok(())
    }

    fn kill_by_cgroup(&self, units: &[String], say: &dyn Fn(&str)) {
        match &self.cgroups {
            Ok(cgroups) => {
                for unit in units {
                    if let Err(error) = cgroups.kill(unit) {
                        say(&format!("{unit}: its cgroup cannot be killed: {error}"));
                    }
                }
            }
            Err(error) => say(&format!("cgroups cannot be found: {error}")),
        }
    }

    /// Those of the units that are neither inactive nor failed, or whose start is due and waits for another unit; all of them if systemd
    /// does not say.
    fn of_these(&self, units: Vec<String>, answer_ms: u64, say: &dyn Fn(&str)) -> Vec<String> {
        if units.is_empty() {
            return units;
        }
        let mut show = vec!["show", "--property=Id,ActiveState,Job"];
        show.extend(units.iter().map(String::as_str));
        match self.systemctl(&show, answer_ms) {
            Ok(text) => not_stopped(&text),
            Err(error) => {
                say(&error.to_string());
                units
            }
        }
    }

    /// What `systemctl` says to this, within this time.
    fn systemctl(&self, words: &[&str], answer_ms: u64) -> Result<String, GuardError> {
        let failed = |message: String| GuardError::Command {
            command: format!("systemctl {}", words.join(" ")),
            message,
        };
        let (program, first) = (self.systemctl.split_first())
            .ok_or_else(|| failed("no program is named".to_owned()))?;
        let mut child = Command::new(program)
            .args(first)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let said = listen(&mut child).recv_timeout(Duration::from_millis(answer_ms));
        if said.is_err() {
            child.kill().map_err(|error| failed(error.to_string()))?;
        }
        let status = child.wait().map_err(|error| failed(error.to_string()))?;
        let Ok(said) = said else {
            return Err(failed(format!("no answer within {answer_ms} ms")));
        };
        let (text, complaint) = said.map_err(|error| failed(error.to_string()))?;
        if !status.success() {
            return Err(failed(format!("{status}: {}", complaint.trim())));
        }
        Ok(text)
    }
}

/// What a program says and what it complains of.
type Said = io::Result<(String, String)>;

/// Reads in a thread of its own, which ends when the program has closed both.
fn listen(child: &mut Child) -> mpsc::Receiver<Said> {
    let (said, heard) = mpsc::channel();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::spawn(move || {
        let all = read(stdout).and_then(|text| Ok((text, read(stderr)?)));
        // Nobody listens any more if it took too long.
        drop(said.send(all));
    });
    heard
}

fn read(stream: Option<impl Read>) -> io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn pause() -> Result<(), GuardError> {
    sleep_until(boot_ms() + LOOK_MS).map_err(GuardError::Timer)
}

/// Reads `systemctl show`: one block of lines a unit.
fn not_stopped(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for block in text.split("\n\n") {
        let value = |key: &str| {
            let mut lines = block.lines();
            lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        };
        if let (Some(unit), Some(state)) = (value("Id"), value("ActiveState"))
            && (!matches!(state, "inactive" | "failed") || value("Job").is_some_and(is_job))
        {
            found.push(unit.to_owned());
        }
    }
    found
}

/// Whether this is the number of a job; none is left out, empty or 0.
fn is_job(number: &str) -> bool {
    !matches!(number, "" | "0")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_has_not_stopped_is_read_from_systemctl() {
        let text = "Id=a.service\nActiveState=active\n\nId=b.service\nActiveState=inactive\n\n\
                    Id=c.service\nActiveState=deactivating\n\nId=d.service\nActiveState=failed\nJob=0\n\n\
                    Id=e.service\nActiveState=inactive\nJob=217\n\nId=f.service\nActiveState=inactive\nJob=\n";
        assert_eq!(not_stopped(text), ["a.service", "c.service", "e.service"]);
        assert!(not_stopped("").is_empty());
    }

    /// A process of a unit, for which nobody else cares.
    fn process() -> Child {
        Command::new("sleep").arg("1000").spawn().unwrap()
    }

    #[test]
    fn what_is_exclusive_dies_on_time_also_if_systemd_does_not_answer() {
        for (case, systemctl) in [
            ("systemd hangs", "exec sleep 1000"),
            ("systemd answers with errors", "exit 1"),
        ] {
            println!("{case}");
            let place = tempfile::tempdir().unwrap();
            let at = |path: &str| place.path().join(path);
            let files = GuardFiles {
                directory: at("guard"),
                link_directory: at("links"),
                program: "/fleetd".into(),
                manager: crate::guard::Manager::System,
            };
            fs::create_dir_all(at("links")).unwrap();
            files.prepare().unwrap();
            files.bind(&"till.service".parse().unwrap()).unwrap();
            let mut processes = [process(), process()];
            for (cgroup, process) in ["", "/below"].iter().zip(&processes) {
                let cgroup = at(&format!("system.slice/till.service{cgroup}"));
                fs::create_dir_all(&cgroup).unwrap();
                fs::write(cgroup.join("cgroup.procs"), format!("{}\n", process.id())).unwrap();
            }
            let ways = Ways {
                systemctl: ["sh", "-c", systemctl, "sh"].map(str::to_owned).into(),
                cgroups: Ok(Cgroups::below(place.path())),
                killing_max_ms: 0,
            };
            let ended = end_by(&ways, &files, &|text| println!("{text}"));
            for process in &mut processes {
                let status = process.wait().unwrap();
                assert_eq!(
                    std::os::unix::process::ExitStatusExt::signal(&status),
                    Some(9)
                );
            }
            assert!(
                matches!(ended, Err(GuardError::StillRunning { .. })),
                "nobody said that it stopped"
            );
            assert!(files.is_given_up(&"till.service".parse().unwrap()));
        }
    }
}
