//! How fleetctl is called: spellings of flags and commands, the environment, and what cannot be understood.

use insta::assert_snapshot;

use crate::cluster::cluster;

#[tokio::test(flavor = "multi_thread")]
async fn version_needs_no_cluster() {
    let cluster = cluster().await;
    for line in ["fleetctl version", "fleetctl --version", "fleetctl -v", "fleetctl -version", "fleetctl vers"] {
        assert_eq!(cluster.run_at("nonsense", line).await, "[stdout]\nfleetctl version 2.0.0\n[exit 0]");
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn global_flags_before_and_after_the_command_in_all_spellings() {
    let cluster = cluster().await;
    let socket = cluster.socket.display().to_string();
    let expected = cluster.run("fleetctl list-machines").await;
    assert!(expected.ends_with("[exit 0]"), "{expected}");
    for line in [
        format!("fleetctl --endpoint unix://{socket} list-machines"),
        format!("fleetctl --endpoint=unix://{socket} list-machines"),
        format!("fleetctl -endpoint=unix://{socket} list-m"),
        format!("fleetctl list-machines --endpoint unix://{socket} --strict-host-key-checking=false"),
        format!("fleetctl list-machines --version --ssh-username core --endpoint=http://{}", cluster.address),
        format!("fleetctl --driver=API list-machines -endpoint http://{}/ -full=false", cluster.address),
    ] {
        assert_eq!(cluster.run_at("unix:///none", &line).await, expected, "{line}");
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn debug_says_what_is_asked() {
    let cluster = cluster().await;
    assert_snapshot!(cluster.run("fleetctl -debug list-units").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_understood() {
    let cluster = cluster().await;
    assert_snapshot!(cluster.run("fleetctl strat web").await, @"");
    assert_snapshot!(cluster.run("fleetctl xyzzy").await, @"");
    assert_snapshot!(cluster.run("fleetctl list-unit").await, @"");
    assert_snapshot!(cluster.run("fleetctl start --xyzzy=1 web").await, @"");
    assert_snapshot!(cluster.run("fleetctl start -x web").await, @"");
    assert_snapshot!(cluster.run("fleetctl start --block-attempts=many web").await, @"");
    assert_snapshot!(cluster.run("fleetctl start --no-block=perhaps web").await, @"");
    assert_snapshot!(cluster.run("fleetctl list-units --fields").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_are_none() {
    let cluster = cluster().await;
    assert_snapshot!(cluster.run_at("127.0.0.1:49153", "fleetctl list-units").await, @"");
    assert_snapshot!(cluster.run_at("unix://var/run/fleet.sock", "fleetctl list-units").await, @"");
    assert_snapshot!(cluster.run("fleetctl --driver=etcd list-units").await, @"");
    assert_snapshot!(cluster.run("fleetctl --tunnel=host list-units").await, @"");
    assert_snapshot!(cluster.run_at("http://127.0.0.1:4001", "fleetctl list-units").await, @"");
    cluster.end().await;
}
