//! Any text as known_hosts, for any host: no line of another host is believed, and where a pattern covers a host is what a matcher
//! by dynamic programming says.
#![no_main]

#[allow(dead_code, reason = "fleetctl reads more of it")]
#[path = "../../ctl/src/ssh"]
mod ssh {
    #[path = "known_hosts.rs"]
    pub(super) mod known_hosts;
    #[path = "spec.rs"]
    pub(super) mod spec;

    use russh::keys::PublicKey;

    /// Judges this key of a host with one name.
    pub(super) fn judge(text: &str, name: &str, key: &PublicKey) -> (bool, bool, Option<usize>) {
        use known_hosts::Verdict;
        match known_hosts::judge(text, &[name.to_owned()], key) {
            Verdict::Known => (true, false, None),
            Verdict::Unknown => (false, false, None),
            Verdict::Changed { line } => (false, false, Some(line)),
            Verdict::Revoked { line } => (false, true, Some(line)),
        }
    }

    /// How many kinds of keys are known of a host, and the lines that are not understood.
    pub(super) fn kinds(text: &str, name: &str) -> (usize, Vec<usize>) {
        let kinds = known_hosts::algorithms(text, &[name.to_owned()]);
        (kinds.len(), known_hosts::unreadable(text))
    }
}

use libfuzzer_sys::fuzz_target;
use russh::keys::PublicKey;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO6UTvOMm6lQ46VXx05sn87+4dU0PcL72xXw84fpRFmy";

fuzz_target!(|input: &str| {
    let Some((name, text)) = input.split_once('\n') else {
        return;
    };
    if name.is_empty() || name.len() > 128 || text.len() > 16 * 1024 {
        return;
    }
    let key = PublicKey::from_openssh(KEY).expect("a key");
    let (known, revoked, line) = ssh::judge(text, name, &key);
    let (kinds, unreadable) = ssh::kinds(text, name);
    let lines = text.lines().count();
    assert!(line.is_none_or(|line| (1..=lines).contains(&line) && !unreadable.contains(&line)));
    assert!(unreadable.len() <= lines);
    // Who is known or has changed has a key of some kind.
    assert!(kinds > 0 || !known && (line.is_none() || revoked));
    // A comment and a blank line change nothing but numbers.
    let moved = ssh::judge(&format!("# {KEY}\n\n{text}"), name, &key);
    assert_eq!(moved, (known, revoked, line.map(|line| line + 2)));
    // Another line for the host can make it known, and can never take a revocation back.
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.';
    if name.chars().all(plain) {
        let more = ssh::judge(&format!("{text}\n{name} {KEY}\n"), name, &key);
        assert_eq!((more.0, more.1), (!revoked, revoked));
    }
    // The first line as a pattern.
    let pattern = text.lines().next().unwrap_or_default();
    let odd = |c: char| c.is_whitespace() || ",!|#@\"".contains(c) || !c.is_ascii();
    if !pattern.is_empty() && !pattern.contains(odd) && name.is_ascii() {
        let found = ssh::judge(&format!("{pattern} {KEY}"), name, &key).0;
        assert_eq!(found, covers(pattern, name), "{pattern:?} on {name:?}");
    }
});

/// `reachable[i]`: the pattern read so far covers the first `i` characters of the name.
fn covers(pattern: &str, name: &str) -> bool {
    let small = |text: &str| text.to_ascii_lowercase().into_bytes();
    let (pattern, name) = (small(pattern), small(name));
    let mut reachable = vec![false; name.len() + 1];
    reachable[0] = true;
    for element in pattern {
        let before = reachable.clone();
        for end in 0..reachable.len() {
            reachable[end] = match element {
                b'*' => before[..=end].contains(&true),
                b'?' => end > 0 && before[end - 1],
                literal => end > 0 && before[end - 1] && name[end - 1] == literal,
            };
        }
    }
    reachable[name.len()]
}
