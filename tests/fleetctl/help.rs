//! The help of fleetctl and of each command.

use insta::assert_snapshot;

use crate::cluster::machines_asleep;

#[tokio::test(flavor = "multi_thread")]
async fn help_of_all() {
    let cluster = machines_asleep().await;
    let help = cluster.run("fleetctl").await;
    for line in [
        "fleetctl help",
        "fleetctl --help",
        "fleetctl -h",
        "fleetctl -help",
    ] {
        assert_eq!(cluster.run(line).await, help, "{line}");
    }
    assert_snapshot!(help, @r#"
    [stdout]
    NAME:
      fleetctl - fleetctl is a command-line interface to fleet, the cluster-wide service manager

    USAGE:
      fleetctl [global options] <command> [command options] [arguments...]

    VERSION:
      2.0.0

    COMMANDS:
      cat              Output the contents of a submitted unit, byte for byte
      destroy          Destroy one or more units in the cluster
      list-machines    Enumerate the current hosts in the cluster
      list-unit-files  List the units that exist in the cluster
      list-units       List the current state of units in the cluster
      load             Schedule one or more units in the cluster, first submitting them if necessary
      restart          Instruct systemd to restart one or more units in the cluster
      start            Instruct systemd to start one or more units in the cluster, first submitting and
                       loading if necessary
      stop             Instruct systemd to stop one or more units in the cluster
      submit           Upload one or more units to the cluster without starting them
      unload           Unschedule one or more units in the cluster
      version          Print the version of fleetctl. It needs no cluster
      help             Print this message or the help of the given subcommand(s)

    GLOBAL OPTIONS:
          --endpoint <URL>             Where fleetd listens: unix:///path/of/socket or http://host:port,
                                       or several of them separated by commas, of which the first that
                                       answers is used [default: unix:///var/run/fleet.sock]
          --request-timeout <SECONDS>  Seconds to wait for the answer to one request [default: 10]
      -h, --help                       Print help, of a command if one is named
          --debug[=<BOOL>]             Say on stderr what is asked of which endpoint

    Global options can also be set by environment variables: upper-case, with FLEETCTL_ in front, as in
    FLEETCTL_ENDPOINT.
    Run "fleetctl help <command>" for details on a command.
    [exit 0]
    "#);
    cluster.end().await;
}

/// The help of a command without what all commands have, which is checked to be the same.
async fn own_help(command: &str) -> String {
    let cluster = machines_asleep().await;
    let whole = cluster.run(&format!("fleetctl {command} --help")).await;
    let by_help = cluster.run(&format!("fleetctl help {command}")).await;
    let other = cluster.run("fleetctl cat --help").await;
    cluster.end().await;
    assert_eq!(whole, by_help);
    let (own, shared) = whole.split_once("\n\nGLOBAL OPTIONS:\n").unwrap();
    assert_eq!(shared, other.split_once("\n\nGLOBAL OPTIONS:\n").unwrap().1);
    own.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_submit() {
    assert_snapshot!(own_help("submit").await, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_load() {
    assert_snapshot!(own_help("load").await, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_start() {
    assert_snapshot!(own_help("start").await, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_stop() {
    assert_snapshot!(own_help("stop").await, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_unload() {
    assert_snapshot!(own_help("unload").await, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_destroy() {
    assert_snapshot!(own_help("destroy").await, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_restart() {
    assert_snapshot!(own_help("restart").await, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_cat() {
    assert_snapshot!(own_help("cat").await, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_list_machines() {
    assert_snapshot!(own_help("list-machines").await, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_list_units() {
    assert_snapshot!(own_help("list-units").await, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_list_unit_files() {
    assert_snapshot!(own_help("list-unit-files").await, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_version() {
    assert_snapshot!(own_help("version").await, @"");
}
