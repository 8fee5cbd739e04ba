//! PURE. The command lines of systemd's tools that `status` and `journal` stand for, as fleet 1.0 ran them, and what there is to
//! read in their answers.

use api::types::UnitName;

/// `systemctl status` of a unit that does not run: LSB's "program is not running".
pub(crate) const EXIT_NOT_RUNNING: u8 = 3;

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tool {
    /// The program and its arguments.
    pub(crate) words: Vec<String>,
}

/// Whether the tool is run as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rights {
    /// As the user who is logged in.
    Own,
    /// Through `sudo`.
    Sudo,
}

/// Whether the journal is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Following {
    /// What there is.
    No,
    /// What comes, too, without end.
    Yes,
}

/// `systemctl status`
pub(crate) fn status(unit: &UnitName) -> Tool {
    Tool::of(&["systemctl", "status", "-l", unit.as_str()])
}

/// `journalctl`
pub(crate) fn journal(
    unit: &UnitName,
    lines: usize,
    mode: &str,
    following: Following,
    rights: Rights,
) -> Tool {
    let lines = lines.to_string();
    let mut words = match rights {
        Rights::Own => Vec::new(),
        Rights::Sudo => vec!["sudo"],
    };
    words.extend(["journalctl", "--unit", unit.as_str(), "--no-pager"]);
    words.extend(["-n", &lines, "--output", mode]);
    if following == Following::Yes {
        words.push("-f");
    }
    Tool::of(&words)
}

impl Tool {
    fn of(words: &[&str]) -> Tool {
        Tool {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
        }
    }

    /// The tool as one line for a shell: the arguments in double quotes.
    pub(crate) fn shell_line(&self) -> String {
        let mut line = String::new();
        for word in &self.words {
            if line.is_empty() {
                line.push_str(word);
                continue;
            }
            line.push_str(" \"");
            for character in word.chars() {
                if matches!(character, '"' | '\\' | '$' | '`') {
                    line.push('\\');
                }
                line.push(character);
            }
            line.push('"');
        }
        line
    }
}

/// The status with which `systemctl status` exits when it says `text`: units that neither run nor reload are not running.
pub(crate) fn status_exit(text: &str) -> u8 {
    let active = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("Active: "));
    let state = active.and_then(|rest| rest.split_whitespace().next());
    match state {
        None | Some("active" | "reloading" | "refreshing") => 0,
        Some(_) => EXIT_NOT_RUNNING,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_run_as_fleet_1_0_ran_them() {
        let unit = UnitName::parse("a\\x2db@1.service").unwrap();
        assert_eq!(
            status(&unit).shell_line(),
            r#"systemctl "status" "-l" "a\\x2db@1.service""#
        );
        let unit = UnitName::parse("hello.service").unwrap();
        let tool = journal(&unit, 10, "short", Following::Yes, Rights::Sudo);
        assert_eq!(
            tool.words.join(" "),
            "sudo journalctl --unit hello.service --no-pager -n 10 --output short -f"
        );
        let tool = journal(&unit, 3, "ca\"t$", Following::No, Rights::Own);
        assert_eq!(
            tool.shell_line(),
            r#"journalctl "--unit" "hello.service" "--no-pager" "-n" "3" "--output" "ca\"t\$""#
        );
    }

    #[test]
    fn the_exit_status_is_systemctls() {
        let of = |active: &str| {
            status_exit(&format!(
                "● web.service - The web\n     Loaded: loaded\n     Active: {active}\n   Main PID: 1\n"
            ))
        };
        assert_eq!(of("active (running) since Mon"), 0);
        assert_eq!(of("reloading (reload)"), 0);
        assert_eq!(of("inactive (dead)"), 3);
        assert_eq!(of("failed (Result: exit-code) since Mon"), 3);
        assert_eq!(of("activating (start-pre)"), 3);
        assert_eq!(status_exit("nothing"), 0);
    }
}
