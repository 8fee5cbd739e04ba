//! The machine's copy of its schedule, and a file in the store that is damaged.

use std::path::Path;
use std::time::Duration;

use agent::ScheduleCopy;
use model::TargetState::Launched;
use tokio::time::{Instant, sleep};

use crate::bed::{Bed, file, name, server};

/// Waits until the copy has these units.
pub(crate) async fn until_copied(folder: &Path, units: &[&str]) {
    let since = Instant::now();
    loop {
        let listed = std::fs::read_dir(folder.join("units"));
        let mut found: Vec<String> = listed
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        if found == units {
            return;
        }
        assert!(since.elapsed() < Duration::from_secs(60), "{found:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_damaged_file_keeps_no_other_unit_out_of_the_copy() {
    let folder = tempfile::tempdir().unwrap();
    let bed = Bed::new().await;
    let (bad, web) = (name("bad.service"), name("web.service"));
    let damaged = file("[Service]\nExecStart=/bin/sleep 1\n");
    bed.assign(&bad, &damaged, Launched, 5).await;
    bed.assign(&web, &server(), Launched, 6).await;
    bed.damage_file(&damaged).await;
    let agent = bed.agent_with_copy(ScheduleCopy::in_directory(folder.path()));
    until_copied(folder.path(), &["bad.service", "web.service"]).await;
    let files = || {
        std::fs::read_dir(folder.path().join("files"))
            .unwrap()
            .count()
    };
    assert_eq!(files(), 1, "the file that is whole");

    println!("the schedule goes on changing");
    bed.unassign(&web).await;
    until_copied(folder.path(), &["bad.service"]).await;
    assert_eq!(files(), 0);
    agent.end().await;
}
