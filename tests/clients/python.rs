//! Python with the clients from PyPI, in a virtual environment below `target/`, made once.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A script may wait a minute for several things.
const SCRIPT_LIMIT: &str = "240";

/// Downloads included.
const PIP_LIMIT: &str = "300";

/// Attempts to download them.
const INSTALLS_MAX: u32 = 3;

/// An interpreter that has the clients.
pub(crate) struct Python {
    program: PathBuf,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

impl Python {
    /// Finds or makes it. None if this host cannot, which is a failure on CI.
    pub(crate) fn with_clients() -> Option<Python> {
        match Python::find_or_make() {
            Ok(python) => Some(python),
            Err(reason) if std::env::var_os("CI").is_some_and(|value| value == "true") => {
                panic!("{reason}")
            }
            Err(reason) => {
                eprintln!("SKIP: {reason}");
                None
            }
        }
    }

    fn find_or_make() -> Result<Python, String> {
        let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients-venv");
        let program = venv.join("bin/python");
        let wanted = folder().join("requirements.txt");
        let made = venv.join("requirements.txt");
        let text = std::fs::read(&wanted).unwrap();
        if std::fs::read(&made).is_ok_and(|made| made == text) && works(&program) {
            return Ok(Python { program });
        }
        println!("making {}", venv.display());
        let venv_text = venv.to_string_lossy();
        said(&["python3", "-m", "venv", "--clear", &venv_text]).map_err(|said| {
            format!("python3 makes no virtual environment (is python3-venv installed?): {said}")
        })?;
        let (program_text, wanted) = (program.to_string_lossy(), wanted.to_string_lossy());
        let install = [
            "timeout",
            PIP_LIMIT,
            &program_text,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
            "--retries",
            "10",
            "--requirement",
            &wanted,
        ];
        // What breaks off within a file pip itself does not try again.
        let mut left = INSTALLS_MAX;
        while let Err(said) = said(&install) {
            left -= 1;
            println!("pip cannot install the clients, {left} more attempts: {said}");
            if left == 0 {
                return Err(format!("pip cannot install the clients: {said}"));
            }
        }
        std::fs::write(&made, text).unwrap();
        Ok(Python { program })
    }

    /// Runs one of the scripts beside this file in the network of the machine with this PID 1; it must succeed.
    pub(crate) fn run(&self, leader: u32, script: &str, words: &[&str]) {
        let network = format!("--net=/proc/{leader}/ns/net");
        let (program, path) = (self.program.to_string_lossy(), folder().join(script));
        let path = path.to_string_lossy();
        let mut command = vec![
            "timeout",
            SCRIPT_LIMIT,
            "nsenter",
            &network,
            "--",
            &program,
            &path,
        ];
        command.extend(words);
        let output = output(&command).unwrap();
        print!("{}", String::from_utf8_lossy(&output.stdout));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{script}: {}\n{errors}",
            output.status
        );
    }
}

fn works(program: &Path) -> bool {
    let words = [
        &program.to_string_lossy(),
        "-c",
        "import fleet.v1, googleapiclient.discovery",
    ];
    said(&words).is_ok()
}

fn output(words: &[&str]) -> std::io::Result<Output> {
    Command::new(words[0])
        .args(&words[1..])
        .env_remove("http_proxy")
        .output()
}

fn said(words: &[&str]) -> Result<(), String> {
    let output = Command::new(words[0])
        .args(&words[1..])
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!(
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&said).trim()
    ))
}
