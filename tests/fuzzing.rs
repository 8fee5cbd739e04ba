//! Each target of fuzz/ over its corpus and then on new inputs, for [`SECONDS_DEFAULT`] or `FUZZ_SECONDS`: `make fuzz` is longer.
//!
//! The targets are built with the stable compiler: what libFuzzer needs to see coverage are plain flags of code generation.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// New inputs in `make test`, for each target: the corpus has what longer runs found.
const SECONDS_DEFAULT: u64 = 5;

/// No parser takes long: an input that takes so many seconds is a finding.
const INPUT_SECONDS_MAX: u64 = 5;

/// What the new inputs of `make test` are drawn from, so that a change is judged by what it changes; longer runs draw anew each time.
const SEED: u64 = 1;

/// No parser needs much: more memory than this is a finding.
const MEMORY_MIB_MAX: u64 = 1024;

/// Longer inputs only repeat what shorter ones have.
const INPUT_BYTES_MAX: u64 = 4096;

/// But for what has a limit of its own, 64 KiB for a unit file: inputs of these targets get beyond it.
const LONG_INPUTS: [&str; 2] = ["request", "unit_file"];

/// Their limit: a file a little too long, also if it is a part of a body.
const LONG_INPUT_BYTES_MAX: u64 = 80 * 1024;

/// What `cargo fuzz build --sanitizer none` says to the compiler.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares";

#[test]
fn parsers_of_outside_data_hold_on_any_input() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    if !has_compiler() {
        let reason = "no C++ compiler, which libFuzzer needs: apt-get install g++";
        assert!(env::var("CI").is_err(), "{reason}");
        eprintln!("SKIP: {reason}");
        return;
    }
    let asked: Option<u64> = env::var("FUZZ_SECONDS")
        .ok()
        .map(|text| text.parse().unwrap());
    let (seconds, seed) = match asked {
        Some(seconds) => (seconds, None),
        None => (SECONDS_DEFAULT, Some(SEED)),
    };
    let programs = build(&folder);
    let mut failed = Vec::new();
    for name in targets(&folder) {
        if !run(&folder, &programs.join(&name), &name, seconds, seed) {
            failed.push(name);
        }
    }
    assert_eq!(failed, Vec::<String>::new(), "see fuzz/artifacts/");
}

fn has_compiler() -> bool {
    Command::new("c++").arg("--version").output().is_ok()
}

/// By their sources, so that one without a corpus is noticed.
fn targets(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder.join("fuzz_targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// With a target named, even if it is the host, build scripts and macros are left without coverage.
fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.unwrap().to_owned()
}

fn build(folder: &Path) -> PathBuf {
    println!("building the targets");
    let host = host();
    let into = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    let status = Command::new(env!("CARGO"))
        .current_dir(folder)
        .args(["build", "--quiet", "--release", "--locked"])
        .args(["--target", &host])
        .arg("--target-dir")
        .arg(&into)
        .env("RUSTFLAGS", FLAGS)
        .status()
        .unwrap();
    assert!(status.success(), "the targets do not build");
    into.join(host).join("release")
}

/// Runs one; true if it found nothing.
fn run(folder: &Path, program: &Path, name: &str, seconds: u64, seed: Option<u64>) -> bool {
    let corpus = folder.join("corpus").join(name);
    let inputs = std::fs::read_dir(&corpus)
        .unwrap_or_else(|error| panic!("{}: {error}", corpus.display()))
        .count();
    assert!(inputs > 0, "{name} has no corpus");
    let artifacts = folder.join("artifacts").join(name);
    std::fs::create_dir_all(&artifacts).unwrap();
    // What is found that is new; fuzz/README.md says how to keep it.
    let found = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("fuzz-found")
        .join(name);
    std::fs::create_dir_all(&found).unwrap();
    let bytes_max = match LONG_INPUTS.contains(&name) {
        true => LONG_INPUT_BYTES_MAX,
        false => INPUT_BYTES_MAX,
    };
    let mut command = Command::new(program);
    command.args([&found, &corpus]);
    for (option, value) in [
        ("max_total_time", seconds),
        ("timeout", INPUT_SECONDS_MAX),
        ("rss_limit_mb", MEMORY_MIB_MAX),
        ("max_len", bytes_max),
        ("print_final_stats", 1),
    ] {
        command.arg(format!("-{option}={value}"));
    }
    if let Some(seed) = seed {
        command.arg(format!("-seed={seed}"));
    }
    let dictionary = folder.join("fuzz_targets").join(format!("{name}.dict"));
    if dictionary.exists() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let executed = said
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    println!(
        "{name}: {inputs} inputs kept, {} tried: {}",
        executed.map_or("?", str::trim),
        output.status
    );
    if !output.status.success() {
        println!("{said}");
    }
    output.status.success()
}
