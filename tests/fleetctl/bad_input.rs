//! Bad names and bad files: each error names file, line and remedy, and nothing is created.

use insta::assert_snapshot;

use crate::cluster::{Cluster, FILE, cluster};

async fn unchanged(cluster: &Cluster, line: &str) -> String {
    let before = cluster.store.records();
    let seen = cluster.run(line).await;
    assert_eq!(cluster.store.records(), before, "something was created");
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_wrong() {
    let cluster = cluster().await;
    cluster.file("good.service", FILE);
    cluster.file("typo.service", "[Service]\nExecStart=/bin/true\n\n[X-Fleet]\nMachineOff=db.service\nGlobal=perhaps\n");
    cluster.file("junk.service", "[Service]\nthis is no option\n");
    cluster.file("empty.service", "");
    cluster.file("binary.service", b"[Service]\nExecStart=\xff\xfe\n");
    cluster.file("large.service", format!("{FILE}#{}\n", "x".repeat(64 * 1024)));
    assert_snapshot!(unchanged(&cluster, "fleetctl start good typo").await, @"");
    assert_snapshot!(unchanged(&cluster, "fleetctl submit junk empty good").await, @"");
    assert_snapshot!(unchanged(&cluster, "fleetctl load binary").await, @"");
    assert_snapshot!(unchanged(&cluster, "fleetctl submit large").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_read() {
    let cluster = cluster().await;
    // A link to itself cannot be opened, not even by root.
    std::os::unix::fs::symlink("loop.service", cluster.folder.join("loop.service")).unwrap();
    assert_snapshot!(unchanged(&cluster, "fleetctl submit loop").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_none() {
    let cluster = cluster().await;
    cluster.file("good.service", FILE);
    for verb in ["submit", "load", "start"] {
        assert_snapshot!(unchanged(&cluster, &format!("fleetctl {verb} good foo%.service @x")).await, @"");
    }
    for verb in ["stop", "unload", "destroy", "restart"] {
        assert_snapshot!(unchanged(&cluster, &format!("fleetctl {verb} foo%.service")).await, @"");
    }
    assert_snapshot!(unchanged(&cluster, "fleetctl cat foo%.service").await, @"");
    cluster.file("web.slice", FILE);
    assert_snapshot!(unchanged(&cluster, "fleetctl start web.slice").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn units_that_are_nowhere() {
    let cluster = cluster().await;
    cluster.file("good.service", FILE);
    assert_snapshot!(unchanged(&cluster, "fleetctl start nothing").await, @"");
    assert_snapshot!(unchanged(&cluster, "fleetctl start good nothing app@1").await, @"");
    assert_snapshot!(unchanged(&cluster, "fleetctl submit app@1").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_unit_from_two_files() {
    let cluster = cluster().await;
    for (folder, content) in [("a", FILE), ("b", "[Service]\nExecStart=/bin/other\n")] {
        std::fs::create_dir(cluster.folder.join(folder)).unwrap();
        crate::cluster::write(&cluster.folder.join(folder), "web.service", content);
    }
    assert_snapshot!(unchanged(&cluster, "fleetctl start a/web b/web").await, @"");
    cluster.end().await;
}
