//! Runs every story in `tests/scenarios/` of the repository: commands, `----`, and the decisions that must come of
//! them, block by block. After each block the decisions are carried out, and asking again must give
//! none. Those in `cluster/` are run on real machines too (`tests/cluster/scenarios.rs`).
//!
//! `UPDATE_SCENARIOS=1` writes what came instead of comparing; read the difference before you
//! commit it.

use std::fs;
use std::path::Path;

use crate::oracle;
use crate::picture::{Picture, written};
use engine::schedule;

#[test]
fn every_scenario_ends_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scenarios");
    let on_machines = folder.join("cluster");
    let entries = [folder, on_machines].map(|folder| fs::read_dir(folder).unwrap());
    let files = entries
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = files.filter(|path| path.is_file()).collect();
    paths.sort();
    assert!(
        paths
            .iter()
            .any(|path| path.ends_with("cluster/spread.txt"))
    );
    let mut failures = String::new();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let came = run(&text, &path.display().to_string());
        println!("{}", path.file_name().unwrap().display());
        if came == text {
            continue;
        }
        if std::env::var_os("UPDATE_SCENARIOS").is_some() {
            fs::write(&path, came).unwrap();
        } else {
            failures.push_str(&format!("{}: this came instead:\n{came}\n", path.display()));
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// The story as it came out.
fn run(text: &str, path: &str) -> String {
    let mut picture = Picture::default();
    let mut came = Vec::new();
    for block in text.trim_end().split("\n\n") {
        let (commands, _) = block.split_once("----").unwrap_or((block, ""));
        picture.draw(commands);
        let before = picture.clone();
        let decisions = schedule(&picture.records);
        picture.apply(&decisions);
        came.push(format!(
            "{}\n----\n{}",
            commands.trim_end(),
            written(&decisions)
        ));
        oracle::check(&before.records, &decisions, &picture.records).unwrap_or_else(|broken| {
            panic!(
                "{path}: {broken}\nafter:\n{commands}\ndecided:\n{}",
                written(&decisions)
            )
        });
        let again = schedule(&picture.records);
        assert!(
            again.is_empty(),
            "{path}: decided again after:\n{commands}\n{}",
            written(&again)
        );
    }
    came.join("\n")
}
