//! The help of fleetctl and of each command, in the files of `snapshots/`.

use insta::{Settings, assert_snapshot};

use crate::cluster::{Cluster, machines_asleep};

/// Every command that help names.
pub(crate) async fn commands(cluster: &Cluster) -> Vec<String> {
    let help = cluster.run("fleetctl help").await;
    let (_, listed) = help.split_once("\nCOMMANDS:\n").unwrap();
    let (listed, _) = listed.split_once("\n\n").unwrap();
    let name = |line: &str| line.strip_prefix('⇥')?.split(' ').next().map(str::to_owned);
    let names = listed.lines().filter_map(name);
    names
        .filter(|name| !name.is_empty() && name != "help")
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_all() {
    let cluster = machines_asleep().await;
    let help = cluster.run("fleetctl").await;
    for line in [
        "fleetctl help",
        "fleetctl --help",
        "fleetctl -h",
        "fleetctl -help",
        "fleetctl --h",
    ] {
        assert_eq!(cluster.run(line).await, help, "{line}");
    }
    assert_snapshot!(help);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_each_command() {
    let cluster = machines_asleep().await;
    for command in commands(&cluster).await {
        let help = cluster.run(&format!("fleetctl help {command}")).await;
        for flag in ["--help", "-h", "-help"] {
            let line = format!("fleetctl {command} {flag}");
            assert_eq!(cluster.run(&line).await, help, "{line}");
        }
        // What all commands share is in the help of fleetctl itself.
        let (own, shared) = help.split_once("\nGLOBAL OPTIONS:\n").unwrap();
        assert!(shared.contains("--endpoint=URL"), "{shared}");
        assert!(shared.ends_with("[exit 0]"), "{shared}");
        let mut settings = Settings::clone_current();
        settings.set_snapshot_suffix(&command);
        settings.bind(|| assert_snapshot!(own));
    }
    cluster.end().await;
}
