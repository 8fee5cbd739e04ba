//! House rules that no linter can check. Each rule is a test with its reason; see CONTRIBUTING.md.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot read the repository has failed"
)]

use std::fs;
use std::path::{Path, PathBuf};

use unitfile::{UnitFile, UnitName, check_submission};

/// Longer files hold more than one concept. Exceptions shrink: an entry that is no longer needed fails the test.
const FILE_LINES_MAX: usize = 500;

/// Tests are lists of cases; splitting one list over two files helps nobody.
const TEST_FILE_LINES_MAX: usize = 550;

const FILE_LINES_EXCEPTIONS: &[&str] = &[];

/// Longer functions do more than one thing.
const FUNCTION_LINES_MAX: usize = 70;
const FUNCTION_LINES_EXCEPTIONS: &[&str] = &[];

/// Who may depend on whom inside the workspace (ARCHITECTURE.md, code map).
const ARROWS: &[(&str, &[&str])] = &[
    ("unitfile", &[]),
    ("model", &["unitfile"]),
    ("engine", &["model", "registry", "unitfile"]),
    ("agent", &["model", "registry", "unitfile"]),
    ("registry", &["model", "unitfile"]),
    ("api", &["model", "unitfile"]),
    ("ctl", &["api", "unitfile"]),
    ("sim", &["agent", "engine", "model", "registry", "unitfile"]),
    ("testbed", &["unitfile"]),
];

/// Words that only some files may name, and why.
const CONFINED: &[(&str, &[&str], &str)] = &[
    (
        "etcd_client",
        &["registry/", "sim/"],
        "etcd is named in one crate, and where its network is simulated",
    ),
    ("axum::", &["api/"], "HTTP is named in one crate"),
    ("hyper::", &["api/"], "HTTP is named in one crate"),
    (
        "zbus::",
        &["agent/src/systemd", "tests/chaos/recorder.rs"],
        "D-Bus is named in one place, and where systemd itself is asked what happened",
    ),
    (
        "#[serde(",
        &["registry/src/layout", "api/src/types", "ctl/src/output"],
        "only the registry's layout and the API's types have a serial form",
    ),
];

/// What a PURE file cannot do: it cannot wait, log, know the time, or depend on the order of a hash.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::time",
    "std::env",
    "std::thread",
    "std::process",
    "tokio::",
    "tracing::",
    "HashMap",
    "HashSet",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .to_string_lossy()
        .into_owned()
}

/// Every Rust source of the project, in a stable order.
fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut pending = vec![root().to_path_buf()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    pending.push(path);
                }
            } else if name.ends_with(".rs") {
                files.push((relative(&path), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort();
    assert!(files.len() > 20, "the sources were not found");
    files
}

fn assert_none(rule: &str, offenders: &[String]) {
    assert!(
        offenders.is_empty(),
        "{rule}:\n  {}",
        offenders.join("\n  ")
    );
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let offenders: Vec<String> = sources()
        .into_iter()
        .filter(|(path, text)| !text.starts_with("//! ") && !path.starts_with("fuzz/"))
        .map(|(path, _)| path)
        .collect();
    assert_none(
        "a file opens with //! and what it decides or does",
        &offenders,
    );
}

fn is_pure(text: &str) -> bool {
    text.lines()
        .take_while(|line| line.starts_with("//!"))
        .any(|line| line.contains("PURE"))
}

/// The part of a file that is compiled into the product.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

#[test]
fn pure_files_are_pure() {
    let mut offenders = Vec::new();
    let mut pure = 0;
    for (path, text) in sources() {
        if !is_pure(&text) || path.starts_with("tests/") {
            continue;
        }
        pure += 1;
        for (number, line) in without_tests(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or(line);
            // Durations and addresses are values; only clocks and sockets are effects.
            let value = code.contains("std::time::Duration")
                || code.contains("std::net::SocketAddr")
                || code.contains("std::net::IpAddr");
            if !value && IMPURE.iter().any(|word| code.contains(word)) {
                offenders.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(
        pure >= 5,
        "only {pure} files are marked PURE: the marks were lost"
    );
    assert_none("a file marked PURE only computes", &offenders);
}

#[test]
fn dependency_arrows_hold() {
    let members: Vec<&str> = ARROWS.iter().map(|(member, _)| *member).collect();
    let mut offenders = Vec::new();
    for (member, allowed) in ARROWS {
        let manifest = fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap();
        let normal = manifest.split("[dependencies]").nth(1).unwrap_or("");
        let normal = normal.split("\n[").next().unwrap_or("");
        for line in normal.lines() {
            let name = line.split(['.', ' ', '=']).next().unwrap_or("");
            if members.contains(&name) && !allowed.contains(&name) {
                offenders.push(format!("{member} depends on {name}"));
            }
        }
    }
    assert_none("ARCHITECTURE.md's arrows hold", &offenders);
}

#[test]
fn every_crate_is_built_and_tested_by_default() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let list = |key: &str| {
        let line = manifest.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_once('=').unwrap().1.trim().to_owned()
    };
    assert_eq!(list("members"), list("default-members"));
}

#[test]
fn each_outside_thing_is_named_in_one_place() {
    let mut offenders = Vec::new();
    for (path, text) in sources() {
        if path.contains("tests/") || path.starts_with("testbed/") || path.starts_with("benches/") {
            continue;
        }
        for (word, homes, why) in CONFINED {
            let used = without_tests(&text)
                .lines()
                .any(|line| line.split("//").next().unwrap_or(line).contains(word));
            if used && !homes.iter().any(|home| path.starts_with(home)) {
                offenders.push(format!("{path} names {word}: {why}"));
            }
        }
    }
    assert_none("outside things are confined", &offenders);
}

#[test]
fn files_stay_readable_in_one_sitting() {
    let mut offenders = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().count();
        let excepted = FILE_LINES_EXCEPTIONS.contains(&path.as_str());
        let limit = if path.contains("tests/") {
            TEST_FILE_LINES_MAX
        } else {
            FILE_LINES_MAX
        };
        if lines > limit && !excepted {
            offenders.push(format!("{path}: {lines} lines"));
        }
        if lines <= limit && excepted {
            offenders.push(format!("{path} no longer needs its exception"));
        }
    }
    assert_none("a file holds one concept", &offenders);
}

/// The length in lines of each function, found by rustfmt's indentation.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let head = code
            .trim_start_matches("pub ")
            .trim_start_matches("pub(crate) ")
            .trim_start_matches("async ");
        // What a trait asks for has no body.
        let Some(rest) = head.strip_prefix("fn ").filter(|rest| !rest.ends_with(';')) else {
            continue;
        };
        let name = rest.split(['(', '<']).next().unwrap_or(rest).to_owned();
        let close = format!("{}}}", " ".repeat(line.len() - code.len()));
        let end = lines.iter().skip(start + 1).position(|line| *line == close);
        if let Some(length) = end {
            found.push((name, length));
        }
    }
    found
}

#[test]
fn functions_do_one_thing() {
    let mut offenders = Vec::new();
    for (path, text) in sources() {
        // A test may be one long table or story: it is read from top to bottom.
        if path.contains("tests/") {
            continue;
        }
        for (name, lines) in functions(without_tests(&text)) {
            let place = format!("{path}: {name}");
            let excepted = FUNCTION_LINES_EXCEPTIONS.contains(&place.as_str());
            if lines > FUNCTION_LINES_MAX && !excepted {
                offenders.push(format!("{place}: {lines} lines"));
            }
        }
    }
    assert_none("a function does one thing", &offenders);
}

#[test]
fn no_test_is_ignored() {
    let mark = ["#[", "ignore"].concat();
    let offenders: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| text.contains(&mark))
        .map(|(path, _)| path)
        .collect();
    assert_none("a test that is not run is not a test", &offenders);
}

#[test]
fn every_example_could_be_submitted() {
    let mut seen = 0;
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let file_name = path.file_name().unwrap().to_string_lossy().into_owned();
        if file_name.ends_with(".md") {
            continue;
        }
        let name = UnitName::parse(&file_name).unwrap();
        let file = UnitFile::from_bytes(&fs::read(&path).unwrap())
            .unwrap_or_else(|errors| panic!("{file_name}: {errors}"));
        check_submission(&name, &file).unwrap_or_else(|errors| panic!("{file_name}: {errors}"));
        assert!(
            file.description().is_some(),
            "{file_name} has no Description="
        );
        seen += 1;
    }
    assert!(seen >= 6, "only {seen} examples were found");
}
