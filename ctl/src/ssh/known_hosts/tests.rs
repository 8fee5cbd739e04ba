//! What is read in known_hosts; the hashed lines and the keys are ssh-keygen's.

use super::*;

const ONE: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO6UTvOMm6lQ46VXx05sn87+4dU0PcL72xXw84fpRFmy";
const TWO: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFnwsllE/ldusHqFaLknmg20ekbcyQRCTGo2OyWJkyr6";
const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBKiUWxmHgk7O8mzpV5RK+PLod52wiztiHnf1g+JzBpso7zvyLu4Hevs3PXJVZfRJYMoe2x8PG+kR1BQtu6P5VZ8=";

/// `10.0.0.1`, hashed by `ssh-keygen -H`.
const HASHED: &str = "|1|Er3yy2KT8JK+Z4AnR8HpfEw2s78=|mmAj4G/zhR2N9Z9V3KJ7XqWrPOo=";
/// `[10.0.0.1]:2222`, likewise.
const HASHED_PORT: &str = "|1|izowp9BDz021GEWkI0AiyGFW1IU=|cH1vHZx65sdjUqMJ3HSpeLeWit0=";

/// `bastion.example`, likewise.
const HASHED_NAME: &str = "|1|OsqzuONl1qaBtfI4be0PhWsqNiE=|T5eqmAriDVdP7f5F6xEF7RT0tvg=";

const CHANGED: Verdict = Verdict::Changed { line: 1 };

fn key(text: &str) -> PublicKey {
    // With a comment, as keys often have: it is not part of the key.
    PublicKey::from_openssh(&format!("{text} somebody@somewhere")).unwrap()
}

fn of(text: &str, host: &str, port: u16) -> Verdict {
    judge(text, &names(host, None, port), &key(ONE))
}

#[test]
fn a_key_is_known_by_address_name_port_and_pattern() {
    let known = |names: &str, host: &str, port| {
        assert_eq!(
            of(&format!("{names} {ONE}\n"), host, port),
            Verdict::Known,
            "{names}"
        );
    };
    known("10.0.0.1", "10.0.0.1", 22);
    known("a,10.0.0.1,b", "10.0.0.1", 22);
    known("[10.0.0.1]:2222", "10.0.0.1", 2222);
    known("::1", "::1", 22);
    known("[::1]", "::1", 22);
    known("[::1]:2222", "::1", 2222);
    known("Bastion.Example", "bastion.example", 22);
    known("*.example,!bad.example", "good.example", 22);
    known("10.0.?.1", "10.0.0.1", 22);
    known("[*.example]:*", "a.example", 2222);
    known(HASHED, "10.0.0.1", 22);
    known(HASHED_PORT, "10.0.0.1", 2222);
}

#[test]
fn a_key_of_another_host_or_port_says_nothing() {
    let unknown = |names: &str, host: &str, port| {
        assert_eq!(
            of(&format!("{names} {ONE}\n"), host, port),
            Verdict::Unknown,
            "{names}"
        );
    };
    unknown("10.0.0.1", "10.0.0.2", 22);
    unknown("10.0.0.1", "10.0.0.1", 2222);
    unknown("[10.0.0.1]:2222", "10.0.0.1", 22);
    unknown("*.example,!bad.example", "bad.example", 22);
    unknown(HASHED, "10.0.0.2", 22);
    unknown(HASHED_PORT, "10.0.0.1", 22);
    unknown("# 10.0.0.1", "10.0.0.1", 22);
    unknown("@cert-authority 10.0.0.1", "10.0.0.1", 22);
}

#[test]
fn one_of_several_keys_is_enough() {
    let two_then_one = format!("h {TWO}\nh {ECDSA}\nh {ONE}\n");
    assert_eq!(of(&two_then_one, "h", 22), Verdict::Known);
    assert_eq!(of(&format!("h {TWO}\nh {ECDSA}\n"), "h", 22), CHANGED);
    assert_eq!(of(&format!("h {ECDSA}\n"), "h", 22), CHANGED);
}

#[test]
fn a_changed_key_is_found_at_its_line() {
    let text = format!("# mine\n\nother {ONE}\n{HASHED} {TWO}\n");
    assert_eq!(of(&text, "10.0.0.1", 22), Verdict::Changed { line: 4 });
}

#[test]
fn a_revoked_key_stays_revoked() {
    let text = format!("h {ONE}\n@revoked * {ONE}\n");
    assert_eq!(of(&text, "h", 22), Verdict::Revoked { line: 2 });
    // That another key is revoked says nothing of this one, and does not make the host known.
    let text = format!("@revoked h {TWO}\n");
    assert_eq!(of(&text, "h", 22), Verdict::Unknown);
    assert_eq!(algorithms(&text, &names("h", None, 22)), []);
}

#[test]
fn tabs_comments_and_bad_lines_are_no_obstacle() {
    let text = format!(
        "h\nh ssh-ed25519 nonsense\n@odd h {TWO}\nh\t{}  a comment\r\n",
        ONE.replace(' ', "\t")
    );
    assert_eq!(of(&text, "h", 22), Verdict::Known);
    assert_eq!(unreadable(&text), [1, 2, 3]);
    // OpenSSH hashes names in small letters.
    assert_eq!(
        of(&format!("{HASHED_NAME} {ONE}"), "Bastion.Example", 22),
        Verdict::Known
    );
}

#[test]
fn a_host_goes_by_its_address_first() {
    assert_eq!(names("b", Some("10.0.0.1"), 22), ["10.0.0.1", "b"]);
    assert_eq!(
        names("b", Some("10.0.0.1"), 23),
        ["[10.0.0.1]:23", "[b]:23"]
    );
    assert_eq!(names("::1", Some("::1"), 22), ["[::1]", "::1"]);
}

#[test]
fn the_kinds_of_known_keys_are_asked_for() {
    let text = format!("h {ECDSA}\nother {ONE}\n");
    let found = algorithms(&text, &names("h", None, 22));
    assert_eq!(
        found.iter().map(Algorithm::as_str).collect::<Vec<_>>(),
        ["ecdsa-sha2-nistp256"]
    );
}
