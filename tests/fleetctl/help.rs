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
      completion       Print the script that completes fleetctl's command line in a shell
      destroy          Destroy one or more units in the cluster
      journal          Outputs the journal of units in the cluster
      list-machines    Enumerate the current hosts in the cluster
      list-unit-files  List the units that exist in the cluster
      list-units       List the current state of units in the cluster
      load             Schedule one or more units in the cluster, first submitting them if necessary
      restart          Instruct systemd to restart one or more units in the cluster
      start            Instruct systemd to start one or more units in the cluster, first submitting and
                       loading if necessary
      status           Output the status of one or more units in the cluster
      stop             Instruct systemd to stop one or more units in the cluster
      submit           Upload one or more units to the cluster without starting them
      unload           Unschedule one or more units in the cluster
      verify           DEPRECATED - No longer works: signed units are no more
      version          Print the version of fleetctl. It needs no cluster
      help             Print this message or the help of the given subcommand(s)

    GLOBAL OPTIONS:
          --endpoint <URL>             Where fleetd listens: unix:///path/of/socket or http://host:port,
                                       or several of them separated by commas, of which the first that
                                       answers is used [default: unix:///var/run/fleet.sock]
          --request-timeout <SECONDS>  Seconds to wait for the answer to one request [default: 10]
          --debug[=<BOOL>]             Say on stderr what is asked of which endpoint
      -h, --help                       Print help, of a command if one is named

    Global options can also be set by environment variables: upper-case, with FLEETCTL_ in front, as in
    FLEETCTL_ENDPOINT.
    Run "fleetctl help <command>" for details on a command.
    [exit 0]
    "#);
    cluster.end().await;
}

/// The help of a command up to the flags that all commands have.
async fn own_help(command: &str) -> String {
    let cluster = machines_asleep().await;
    let whole = cluster.run(&format!("fleetctl {command} --help")).await;
    let by_help = cluster.run(&format!("fleetctl help {command}")).await;
    cluster.end().await;
    assert_eq!(whole, by_help);
    assert!(whole.ends_with("[exit 0]"));
    let (own, shared) = whole.split_once("\n\nGLOBAL OPTIONS:\n").unwrap();
    for flag in [
        "--endpoint <URL>",
        "--request-timeout <SECONDS>",
        "--debug",
        "-h, --help",
    ] {
        assert!(shared.contains(flag), "{flag} is missing");
    }
    own.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_submit() {
    assert_snapshot!(own_help("submit").await, @r#"
    [stdout]
    Upload one or more units to the cluster without starting them.

    Each UNIT is a file or the name of one: "hello" is ./hello.service. A template (hello@.service) is
    submitted like any other unit, and "hello@1" is made from it, or from ./hello@.service.

    Usage: fleetctl submit [OPTIONS] [UNIT]...

    Arguments:
      [UNIT]...
              Units, or paths of unit files; a quoted pattern such as 'web@*' stands for units in the
              cluster

    Options:
          --replace[=<BOOL>]
              Take the local file if the cluster's differs
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_load() {
    assert_snapshot!(own_help("load").await, @r#"
    [stdout]
    Schedule one or more units in the cluster, first submitting them if necessary.

    Returns when the machines have the units loaded. A running unit is stopped.

    Usage: fleetctl load [OPTIONS] [UNIT]...

    Arguments:
      [UNIT]...
              Units, or paths of unit files; a quoted pattern such as 'web@*' stands for units in the
              cluster

    Options:
          --replace[=<BOOL>]
              Take the local file if the cluster's differs

          --no-block[=<BOOL>]
              Do not wait: return as soon as the cluster has accepted the request

          --block-attempts <N>
              Wait for at most N times 2 seconds; 0 waits until it is clear how it ends
              
              [default: 0]
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_start() {
    assert_snapshot!(own_help("start").await, @r#"
    [stdout]
    Instruct systemd to start one or more units in the cluster, first submitting and loading if
    necessary.

    Returns when systemd says that the units are started. Fails as soon as one fails, and says where and
    why; also if no machine can run one, and says of each machine why not. A unit that has failed before
    is started again.

    Usage: fleetctl start [OPTIONS] [UNIT]...

    Arguments:
      [UNIT]...
              Units, or paths of unit files; a quoted pattern such as 'web@*' stands for units in the
              cluster

    Options:
          --replace[=<BOOL>]
              Take the local file if the cluster's differs

          --no-block[=<BOOL>]
              Do not wait: return as soon as the cluster has accepted the request

          --block-attempts <N>
              Wait for at most N times 2 seconds; 0 waits until it is clear how it ends
              
              [default: 0]
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_stop() {
    assert_snapshot!(own_help("stop").await, @r#"
    [stdout]
    Instruct systemd to stop one or more units in the cluster.

    Returns when systemd says that they are stopped. They stay on their machines; "fleetctl start"
    starts them there again.

    Usage: fleetctl stop [OPTIONS] [UNIT]...

    Arguments:
      [UNIT]...
              Units; a quoted pattern such as 'web@*' stands for all in the cluster that it matches

    Options:
          --no-block[=<BOOL>]
              Do not wait: return as soon as the cluster has accepted the request

          --block-attempts <N>
              Wait for at most N times 2 seconds; 0 waits until it is clear how it ends
              
              [default: 0]
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_unload() {
    assert_snapshot!(own_help("unload").await, @r#"
    [stdout]
    Unschedule one or more units in the cluster.

    Returns when they are stopped and no machine has them any more. The cluster keeps their files.

    Usage: fleetctl unload [OPTIONS] [UNIT]...

    Arguments:
      [UNIT]...
              Units; a quoted pattern such as 'web@*' stands for all in the cluster that it matches

    Options:
          --no-block[=<BOOL>]
              Do not wait: return as soon as the cluster has accepted the request

          --block-attempts <N>
              Wait for at most N times 2 seconds; 0 waits until it is clear how it ends
              
              [default: 0]
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_destroy() {
    assert_snapshot!(own_help("destroy").await, @r#"
    [stdout]
    Destroy one or more units in the cluster.

    Returns when they are stopped, no machine has them any more, and the cluster has forgotten their
    files. Units that a pattern matches are listed, and destroyed only after a yes.

    Usage: fleetctl destroy [OPTIONS] [UNIT]...

    Arguments:
      [UNIT]...
              Units; a quoted pattern such as 'web@*' stands for all in the cluster that it matches

    Options:
      -y, --yes
              Destroy what a pattern matches without asking

          --no-block[=<BOOL>]
              Do not wait: return as soon as the cluster has accepted the request

          --block-attempts <N>
              Wait for at most N times 2 seconds; 0 waits until it is clear how it ends
              
              [default: 0]
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_restart() {
    assert_snapshot!(own_help("restart").await, @r#"
    [stdout]
    Instruct systemd to restart one or more units in the cluster.

    Returns when systemd says that the units are started again. They stay on their machines. A unit that
    is loaded but does not run is started.

    Usage: fleetctl restart [OPTIONS] [UNIT]...

    Arguments:
      [UNIT]...
              Units; a quoted pattern such as 'web@*' stands for all in the cluster that it matches

    Options:
          --no-block[=<BOOL>]
              Do not wait: return as soon as the cluster has accepted the request

          --block-attempts <N>
              Wait for at most N times 2 seconds; 0 waits until it is clear how it ends
              
              [default: 0]
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_cat() {
    assert_snapshot!(own_help("cat").await, @r#"
    [stdout]
    Output the contents of a submitted unit, byte for byte.

    If a pattern matches several units, each file has its name above it.

    Usage: fleetctl cat [OPTIONS] [UNIT]...

    Arguments:
      [UNIT]...
              One unit, or one quoted pattern such as 'web@*'

    Options:
      -o, --output <FORMAT>
              How to answer: as a table, with all its columns, or as a document for programs

              Possible values:
              - table: Lines for people, in columns that scripts can split
              - wide:  The same with every column there is
              - json:  One JSON document
              - yaml:  The same document as YAML
              
              [default: table]
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_list_machines() {
    assert_snapshot!(own_help("list-machines").await, @r#"
    [stdout]
    Enumerate the current hosts in the cluster

    Usage: fleetctl list-machines [OPTIONS]

    Options:
      -l, --full[=<BOOL>]
              Do not shorten ids and hashes

          --no-legend[=<BOOL>]
              Do not print the line of column names

      -o, --output <FORMAT>
              How to answer: as a table, with all its columns, or as a document for programs

              Possible values:
              - table: Lines for people, in columns that scripts can split
              - wide:  The same with every column there is
              - json:  One JSON document
              - yaml:  The same document as YAML
              
              [default: table]

          --fields <FIELDS>
              Columns, separated by commas, out of: machine, ip, metadata, version [default:
              machine,ip,metadata]
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_list_units() {
    assert_snapshot!(own_help("list-units").await, @r#"
    [stdout]
    List the current state of units in the cluster.

    One line for each unit on each machine; a unit that is on no machine is only in list-unit-files.

    Usage: fleetctl list-units [OPTIONS]

    Options:
      -l, --full[=<BOOL>]
              Do not shorten ids and hashes

          --no-legend[=<BOOL>]
              Do not print the line of column names

      -o, --output <FORMAT>
              How to answer: as a table, with all its columns, or as a document for programs

              Possible values:
              - table: Lines for people, in columns that scripts can split
              - wide:  The same with every column there is
              - json:  One JSON document
              - yaml:  The same document as YAML
              
              [default: table]

          --fields <FIELDS>
              Columns, separated by commas, out of: unit, machine, ip, load, active, sub, hash, since,
              job [default: unit,machine,active,sub]
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_list_unit_files() {
    assert_snapshot!(own_help("list-unit-files").await, @r#"
    [stdout]
    List the units that exist in the cluster

    Usage: fleetctl list-unit-files [OPTIONS]

    Options:
      -l, --full[=<BOOL>]
              Do not shorten ids and hashes

          --no-legend[=<BOOL>]
              Do not print the line of column names

      -o, --output <FORMAT>
              How to answer: as a table, with all its columns, or as a document for programs

              Possible values:
              - table: Lines for people, in columns that scripts can split
              - wide:  The same with every column there is
              - json:  One JSON document
              - yaml:  The same document as YAML
              
              [default: table]

          --fields <FIELDS>
              Columns, separated by commas, out of: unit, hash, dstate, state, target, ip, global,
              launched, hold, desc [default: unit,hash,dstate,state,target]
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_version() {
    assert_snapshot!(own_help("version").await, @r#"
    [stdout]
    Print the version of fleetctl. It needs no cluster

    Usage: fleetctl version [OPTIONS]

    Options:
      -o, --output <FORMAT>
              How to answer: as a table, with all its columns, or as a document for programs

              Possible values:
              - table: Lines for people, in columns that scripts can split
              - wide:  The same with every column there is
              - json:  One JSON document
              - yaml:  The same document as YAML
              
              [default: table]
    "#);
}
