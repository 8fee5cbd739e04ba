//! Ends this machine's exclusive units: asks systemd to stop them, and has it kill those that are left when it is time.
//!
//! By `systemctl`, which reaches systemd without D-Bus: the bus may be what is broken. What is asked for once stays asked for, also
//! if we die: systemd goes on stopping.

use std::process::{Command, Stdio};

use model::Deadline;

use super::wait::sleep_until;
use super::{GuardError, GuardFiles, boot_ms};

/// How often it is looked whether the units have stopped, in milliseconds.
const LOOK_MS: u64 = 100;

/// How long killing goes on, in milliseconds, each [`LOOK_MS`], as a unit may run further commands after its main process is dead. What outlives it hangs
/// in the kernel, and nobody can kill it.
const KILLING_MAX_MS: u64 = 30_000;

/// Stops the exclusive units that run, remembers each as given up, and returns when none runs. Those whose time is up are killed.
/// `say` is told what is done.
///
/// # Errors
/// If systemd does not do what it is asked, or units do not even die.
pub fn end(files: &GuardFiles, say: &dyn Fn(&str)) -> Result<(), GuardError> {
    let units = files.exclusive()?;
    let mut running = of_these(files, &units)?;
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
    let mut stop = vec!["stop", "--no-block"];
    stop.extend(running.iter().map(String::as_str));
    // If systemd does not take it on, they are killed all the same, and then go as it stops what is bound to us.
    if let Err(error) = systemctl(files, &stop) {
        say(&error.to_string());
    }
    // No deadline is as good as one that has passed.
    let time = files.deadline().unwrap_or(Deadline::PASSED);
    while !running.is_empty() && boot_ms() < time.kill_boot_ms {
        pause()?;
        running = of_these(files, &running)?;
    }
    if running.is_empty() {
        return Ok(());
    }
    say(&format!("killing {}", running.join(" ")));
    let since = boot_ms();
    while !running.is_empty() {
        if boot_ms() - since > KILLING_MAX_MS {
            let units = running.join(" ");
            return Err(GuardError::StillRunning { units });
        }
        let mut kill = vec!["kill", "--kill-whom=all", "--signal=SIGKILL"];
        kill.extend(running.iter().map(String::as_str));
        if let Err(error) = systemctl(files, &kill) {
            // A unit that has just stopped has nothing to be killed.
            say(&error.to_string());
        }
        running = of_these(files, &running)?;
        pause()?;
    }
    Ok(())
}

fn pause() -> Result<(), GuardError> {
    sleep_until(boot_ms() + LOOK_MS).map_err(GuardError::Timer)
}

/// Those of the units that are neither inactive nor failed, or whose start is due and waits for another unit.
fn of_these(files: &GuardFiles, units: &[String]) -> Result<Vec<String>, GuardError> {
    if units.is_empty() {
        return Ok(Vec::new());
    }
    let mut show = vec!["show", "--property=Id,ActiveState,Job"];
    show.extend(units.iter().map(String::as_str));
    Ok(not_stopped(&systemctl(files, &show)?))
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

fn systemctl(files: &GuardFiles, words: &[&str]) -> Result<String, GuardError> {
    let failed = |message: String| GuardError::Command {
        command: format!("systemctl {}", words.join(" ")),
        message,
    };
    let output = Command::new("systemctl")
        .arg(files.manager.option())
        .arg("--no-pager")
        .args(words)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(failed(format!("{}: {}", output.status, text.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_stopped_is_read_from_systemctl() {
        let text = "Id=a.service\nActiveState=active\n\nId=b.service\nActiveState=inactive\n\n\
                    Id=c.service\nActiveState=deactivating\n\nId=d.service\nActiveState=failed\nJob=0\n\n\
                    Id=e.service\nActiveState=inactive\nJob=217\n\nId=f.service\nActiveState=inactive\nJob=\n";
        assert_eq!(not_stopped(text), ["a.service", "c.service", "e.service"]);
        assert!(not_stopped("").is_empty());
    }
}
