//! Any text as what `ssh -G` prints of any host: the first value of a key counts and unknown keys do not, what was written goes before what
//! is configured, and a host that is read can be written and read again.
#![no_main]

#[allow(dead_code, reason = "fleetctl asks more of the machine")]
#[path = "../../ctl/src/account.rs"]
mod account;

#[allow(dead_code, reason = "fleetctl does more with it")]
#[path = "../../ctl/src/ssh"]
mod ssh {
    #[path = "config_path.rs"]
    mod config_path;
    #[path = "hop.rs"]
    mod hop;
    #[path = "spec.rs"]
    mod spec;

    use std::path::{Path, PathBuf};

    use config_path::Surroundings;
    use spec::HostSpec;

    /// A machine that knows one other user and one variable.
    #[derive(Debug)]
    struct Here;

    impl Surroundings for Here {
        fn home_of(&self, user: &str) -> Option<PathBuf> {
            (user == "you").then(|| "/home/you".into())
        }
        fn variable(&self, name: &str) -> Option<String> {
            (name == "KEYS").then(|| "/keys/%h".to_owned())
        }
        fn user(&self) -> Option<String> {
            Some("me".to_owned())
        }
        fn user_id(&self) -> u32 {
            1000
        }
        fn host_name(&self) -> String {
            "desk.example".to_owned()
        }
    }

    /// What is read of a host: user, host, port, all of it for comparison, and how many hosts to jump from.
    pub(super) type Read = (String, String, u16, String, usize);

    /// The parts of a host as it is written.
    pub(super) fn written(spec: &str) -> Option<(Option<String>, String, Option<u16>)> {
        let HostSpec { user, host, port } = spec.parse().ok()?;
        Some((user, host, port))
    }

    /// Reads what is configured of a host, if both can be read.
    pub(super) fn read(spec: &str, text: &str) -> Option<Read> {
        let spec: HostSpec = spec.parse().ok()?;
        let asked = hop::Asked {
            spec: &spec,
            username: None,
            home: Some(Path::new("/h")),
            agent_socket: None,
            here: &Here,
        };
        let (hop, jumps) = hop::read(&asked, text).ok()?;
        let whole = format!("{hop:?} {jumps:?} {}", hop.shown());
        Some((hop.user, hop.host, hop.port, whole, jumps.len()))
    }
}

use libfuzzer_sys::fuzz_target;

/// The first value of a key, found in another way.
fn first<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
}

fuzz_target!(|input: &str| {
    let Some((spec, text)) = input.split_once('\n') else {
        return;
    };
    // Part of the last value while nothing follows, part of the line's end if something does.
    if text.ends_with('\r') {
        return;
    }
    let Some(read) = ssh::read(spec, text) else {
        return;
    };
    let (user, host, port, whole, jumps) = &read;
    let (written_user, written_host, written_port) = ssh::written(spec).expect("it was read");
    // What was written goes first, but for the name, which may be an alias.
    let configured = first(text, "user").unwrap_or("core").to_owned();
    assert_eq!(*user, written_user.unwrap_or(configured));
    assert_eq!(host, first(text, "hostname").unwrap_or(&written_host));
    let configured = first(text, "port").and_then(|port| port.parse().ok());
    assert_eq!(*port, written_port.or(configured).unwrap_or(22));
    match first(text, "proxyjump").map(str::trim) {
        None | Some("none" | "") => assert_eq!(*jumps, 0),
        Some(list) => assert_eq!(*jumps, list.split(',').count()),
    }
    assert!(whole.contains(host.as_str()) || !host.is_ascii() || host.contains(['"', '\\']));
    // Keys that nobody knows change nothing, wherever they stand.
    let more = format!("xyzzy hostname\n#user root\n{text}\nhostname2 x\nports 9\n");
    assert_eq!(ssh::read(spec, &more).as_ref(), Some(&read));
    // A second value of a key does not count.
    let again = ["user", "hostname", "port", "hostkeyalias", "proxyjump", "identitiesonly", "identityagent"];
    let seconds = again.iter().filter(|key| first(text, key).is_some());
    let seconds: String = seconds.map(|key| format!("{key} %\n")).collect();
    assert_eq!(ssh::read(spec, &format!("{text}\n{seconds}")), Some(read));
});
