//! A terminal for fleetctl and for shells: a real pseudo-terminal of a given width, of which all that appears is kept.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// How long something may take to appear. Far longer than it does: it only ends a test that would hang.
const APPEARS_WITHIN: Duration = Duration::from_secs(60);

pub(crate) struct Terminal {
    master: File,
    shown: Receiver<Vec<u8>>,
    child: Child,
    seen: String,
}

impl Terminal {
    /// Runs `command` with all its inputs and outputs at a terminal of this width.
    pub(crate) fn run(mut command: Command, columns: u16) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize {
            ws_row: 40,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).unwrap();
        assert!(is_plain(&File::from(master.try_clone().unwrap())));
        let path = ptsname(&master, Vec::new()).unwrap();
        let open = || {
            let mut options = File::options();
            let slave = options.read(true).write(true).open(path.to_str().unwrap());
            Stdio::from(slave.unwrap())
        };
        println!("at a terminal: {command:?}");
        let child = command
            .stdin(open())
            .stdout(open())
            .stderr(open())
            .spawn()
            .unwrap();
        // It holds the terminal open, too.
        drop(command);
        let master = File::from(master);
        let mut reader = master.try_clone().unwrap();
        let (sender, shown) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The terminal gives an error once nobody has it open any more.
            while let Ok(bytes @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..bytes].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal {
            master,
            shown,
            child,
            seen: String::new(),
        }
    }

    /// Changes the size of the window.
    #[allow(dead_code, reason = "tests/tunnel has this file, too")]
    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        println!("window of {columns} columns and {rows} rows");
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&self.master, size).unwrap();
    }

    /// Interrupts the program, as Ctrl-C does.
    #[allow(dead_code, reason = "tests/tunnel has this file, too")]
    pub(crate) fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Sends the program a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        println!("signal {signal:?}");
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Whether it shows what is typed, and takes it line by line.
    #[allow(dead_code, reason = "tests/fleetctl has no program that changes it")]
    pub(crate) fn is_plain(&self) -> bool {
        is_plain(&self.master)
    }

    /// Waits for the end, and returns how it has left the terminal and the exit status.
    #[allow(dead_code, reason = "tests/fleetctl has no program that changes it")]
    pub(crate) fn left(mut self) -> (bool, i32) {
        let status = self.child.wait().unwrap();
        println!("{status}, the terminal is plain: {}", self.is_plain());
        (self.is_plain(), status.code().unwrap())
    }

    /// Types.
    pub(crate) fn send(&mut self, keys: &str) {
        println!("keys {keys:?}");
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Returns once `text` has appeared after what was waited for before: what has, that included.
    pub(crate) fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                let seen = std::mem::replace(&mut self.seen, rest);
                println!("seen {seen:?}");
                return seen;
            }
            match self.shown.recv_timeout(APPEARS_WITHIN) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{text:?} does not appear, but {:?}", self.seen),
            }
        }
    }

    /// Waits for the end, and returns what has appeared since and the exit status.
    pub(crate) fn end(mut self) -> (String, i32) {
        let status = self.child.wait().unwrap();
        while let Ok(bytes) = self.shown.recv_timeout(APPEARS_WITHIN) {
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        println!("seen {:?}, {status}", self.seen);
        (self.seen, status.code().unwrap())
    }
}

fn is_plain(terminal: &File) -> bool {
    let modes = tcgetattr(terminal).unwrap().local_modes;
    modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
}
