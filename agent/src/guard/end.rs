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
use super::{GuardError, GuardFiles, boot_ms, monotonic_us};

/// How often it is looked whether the units have stopped, in milliseconds.
const LOOK_MS: u64 = 100;

/// How long killing goes on, in milliseconds, each [`LOOK_MS`], as a unit may run further commands after its main process is dead. What outlives it hangs
/// in the kernel, and nobody can kill it.
const KILLING_MAX_MS: u64 = 30_000;

/// How long `systemctl` may take to answer, in milliseconds: on a busy machine it takes 100. Without an answer all that may run counts as
/// running.
const ANSWER_MAX_MS: u64 = 1_000;

/// A unit as systemd has it.
#[derive(PartialEq, Eq, Debug)]
struct Shown {
    name: String,
    /// It is inactive or failed, and no start of it is due that waits for another unit.
    is_stopped: bool,
    /// When it last stopped, in microseconds of the monotonic clock; 0 if it never ran.
    stopped_us: u64,
}

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
    let mut running = give_up(ways, files, say)?;
    if running.is_empty() {
        return Ok(());
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

/// Remembers what runs as given up, and returns it. If systemd does not say what runs, all may: what had stopped by itself is told
/// from that by when it did, as soon as systemd answers again. It runs [`end`] once more then.
fn give_up(ways: &Ways, files: &GuardFiles, say: &dyn Fn(&str)) -> Result<Vec<String>, GuardError> {
    let units = files.exclusive()?;
    if units.is_empty() {
        return Ok(units);
    }
    let now_us = monotonic_us();
    let mut running = Vec::new();
    let mut outcomes = Vec::new();
    match ways.show(&units, ANSWER_MAX_MS) {
        Ok(shown) => {
            for unit in shown {
                let unseen_us = files.given_up_unseen_us(&unit.name);
                let ended_before = unseen_us.map(|unseen_us| unit.stopped_us <= unseen_us);
                outcomes.push(match (unit.is_stopped, ended_before) {
                    (true, Some(true)) => files.forget_given_up(&unit.name),
                    (false, _) | (true, Some(false)) => files.give_up(&unit.name),
                    (true, None) => Ok(()),
                });
                if !unit.is_stopped {
                    running.push(unit.name);
                }
            }
        }
        Err(error) => {
            say(&error.to_string());
            let unseen = units.iter().map(|unit| files.give_up_unseen(unit, now_us));
            outcomes.extend(unseen);
            running = units;
        }
    }
    for error in outcomes.into_iter().filter_map(Result::err) {
        say(&format!(
            "it cannot be remembered what is given up: {error}"
        ));
    }
    Ok(running)
}

impl Ways {
    /// Kills these, again and again, until none of them runs.
    fn kill(&self, mut running: Vec<String>, say: &dyn Fn(&str)) -> Result<(), GuardError> {
        if running.is_empty() {
            return Ok(());
        }
        say(&format!("killing {}", running.join(" ")));
        let since = boot_ms();
        loop {
            self.kill_by_cgroup(&running, say);
            let mut kill = vec!["kill", "--kill-whom=all", "--signal=SIGKILL"];
            kill.extend(running.iter().map(String::as_str));
            if let Err(error) = self.systemctl(&kill, ANSWER_MAX_MS) {
                // A unit that has just stopped has nothing to be killed.
                say(&error.to_string());
            }
            running = self.of_these(running, ANSWER_MAX_MS, say);
            if running.is_empty() {
                return Ok(());
            }
            if boot_ms() - since > self.killing_max_ms {
                let units = running.join(" ");
                return Err(GuardError::StillRunning { units });
            }
            pause()?;
        }
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

    /// Those of the units that have not stopped; all of them if systemd does not say.
    fn of_these(&self, units: Vec<String>, answer_ms: u64, say: &dyn Fn(&str)) -> Vec<String> {
        if units.is_empty() {
            return units;
        }
        match self.show(&units, answer_ms) {
            Ok(shown) => {
                let left = shown.into_iter().filter(|unit| !unit.is_stopped);
                left.map(|unit| unit.name).collect()
            }
            Err(error) => {
                say(&error.to_string());
                units
            }
        }
    }

    fn show(&self, units: &[String], answer_ms: u64) -> Result<Vec<Shown>, GuardError> {
        let properties = "--property=Id,ActiveState,Job,InactiveEnterTimestampMonotonic";
        let mut show = vec!["show", properties];
        show.extend(units.iter().map(String::as_str));
        self.systemctl(&show, answer_ms).map(|text| parse(&text))
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
fn parse(text: &str) -> Vec<Shown> {
    let mut found = Vec::new();
    for block in text.split("\n\n") {
        let value = |key: &str| {
            let mut lines = block.lines();
            lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        };
        let stopped_us = value("InactiveEnterTimestampMonotonic");
        if let (Some(unit), Some(state)) = (value("Id"), value("ActiveState")) {
            found.push(Shown {
                name: unit.to_owned(),
                is_stopped: matches!(state, "inactive" | "failed")
                    && !value("Job").is_some_and(is_job),
                // Not known counts as now: given up.
                stopped_us: stopped_us.map_or(u64::MAX, |text| text.parse().unwrap_or(u64::MAX)),
            });
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
    use std::path::Path;

    use super::*;

    #[test]
    fn what_has_not_stopped_is_read_from_systemctl() {
        let text = "Id=a.service\nActiveState=active\n\nId=b.service\nActiveState=inactive\n\n\
                    Id=c.service\nActiveState=deactivating\n\nId=d.service\nActiveState=failed\nJob=0\n\n\
                    Id=e.service\nActiveState=inactive\nJob=217\n\nId=f.service\nActiveState=inactive\nJob=\n";
        let left = |text: &str| {
            let left = parse(text).into_iter().filter(|unit| !unit.is_stopped);
            left.map(|unit| unit.name).collect::<Vec<_>>()
        };
        assert_eq!(left(text), ["a.service", "c.service", "e.service"]);
        assert!(left("").is_empty());
    }

    fn guard_files(place: &Path, units: &[&str]) -> GuardFiles {
        let files = GuardFiles {
            directory: place.join("guard"),
            link_directory: place.join("links"),
            program: "/fleetd".into(),
            manager: crate::guard::Manager::System,
        };
        fs::create_dir_all(place.join("links")).unwrap();
        files.prepare().unwrap();
        for unit in units {
            files.bind(&unit.parse().unwrap()).unwrap();
        }
        files
    }

    fn ways(place: &Path, systemctl: &str) -> Ways {
        Ways {
            systemctl: ["sh", "-c", systemctl, "sh"].map(str::to_owned).into(),
            cgroups: Ok(Cgroups::below(place)),
            killing_max_ms: 0,
        }
    }

    #[test]
    fn what_had_stopped_by_itself_before_is_not_given_up_once_systemd_answers_again() {
        let place = tempfile::tempdir().unwrap();
        let units = [
            "done.service",
            "killed.service",
            "never.service",
            "runs.service",
        ];
        let files = guard_files(place.path(), &units);
        let say = |text: &str| println!("{text}");
        let before_us = monotonic_us();
        let silent = end_by(&ways(place.path(), "exit 1"), &files, &say);
        assert!(matches!(silent, Err(GuardError::StillRunning { .. })));
        let given_up = || units.map(|unit| files.is_given_up(&unit.parse().unwrap()));
        assert_eq!(given_up(), [true; 4], "as nobody knows");

        // Nobody answers the second time either: what was noted first stays.
        let again = end_by(&ways(place.path(), "exit 1"), &files, &say);
        assert!(again.is_err());
        let block = |unit: &str, state: &str, stopped_us: u64| {
            format!(
                "Id={unit}\nActiveState={state}\nInactiveEnterTimestampMonotonic={stopped_us}\n\n"
            )
        };
        let answer = [
            block("done.service", "inactive", before_us),
            block("killed.service", "failed", monotonic_us() + 1),
            block("never.service", "inactive", 0),
            block("runs.service", "active", before_us),
        ];
        fs::write(place.path().join("answer"), answer.concat()).unwrap();
        let tells = format!("cat {}", place.path().join("answer").display());
        let told = end_by(&ways(place.path(), &tells), &files, &say);
        assert!(
            matches!(told, Err(GuardError::StillRunning { .. })),
            "one runs"
        );
        assert_eq!(given_up(), [false, true, false, true]);
        assert_eq!(
            files.given_up_unseen_us("killed.service"),
            None,
            "that is known now"
        );
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
            let files = guard_files(place.path(), &["till.service"]);
            let mut processes = [process(), process()];
            for (cgroup, process) in ["", "/below"].iter().zip(&processes) {
                let cgroup = at(&format!("system.slice/till.service{cgroup}"));
                fs::create_dir_all(&cgroup).unwrap();
                fs::write(cgroup.join("cgroup.procs"), format!("{}\n", process.id())).unwrap();
            }
            let ways = ways(place.path(), systemctl);
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
