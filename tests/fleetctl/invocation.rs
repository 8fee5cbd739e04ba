//! How fleetctl is called: spellings of flags and commands, the environment, and what cannot be understood.

use insta::assert_snapshot;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpListener;

use crate::cluster::cluster;

#[tokio::test(flavor = "multi_thread")]
async fn version_needs_no_cluster() {
    let cluster = cluster().await;
    for line in [
        "fleetctl version",
        "fleetctl --version",
        "fleetctl -v",
        "fleetctl -version",
        "fleetctl vers",
    ] {
        assert_eq!(
            cluster.run_at("nonsense", line).await,
            "[stdout]\nfleetctl version 2.0.0\n[exit 0]"
        );
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
        format!(
            "fleetctl list-machines --endpoint unix://{socket} --strict-host-key-checking=false"
        ),
        format!(
            "fleetctl list-machines --version --ssh-username core --endpoint=http://{}",
            cluster.address
        ),
        format!(
            "fleetctl --driver=API list-machines -endpoint http://{}/ -full=false",
            cluster.address
        ),
        format!(
            "fleetctl --full=false --endpoint unix://{socket} --fields machine,ip,metadata list-machines"
        ),
    ] {
        assert_eq!(
            cluster.run_at("unix:///none", &line).await,
            expected,
            "{line}"
        );
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn debug_says_what_is_asked() {
    let cluster = cluster().await;
    assert_snapshot!(cluster.run("fleetctl -debug list-units").await, @r#"
    [stdout]
    UNIT⇥MACHINE⇥ACTIVE⇥SUB
    [stderr]
    DEBUG unix://SOCKET: states and machines
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_understood() {
    let cluster = cluster().await;
    assert_snapshot!(cluster.run("fleetctl strat web").await, @r#"
    [stderr]
    Error: unknown command "strat" for "fleetctl"

    Did you mean this?
    ⇥status
    ⇥restart
    ⇥start
    Run 'fleetctl --help' for usage.
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl xyzzy").await, @r#"
    [stderr]
    Error: unknown command "xyzzy" for "fleetctl"
    Run 'fleetctl --help' for usage.
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl list-unit").await, @r#"
    [stderr]
    Error: unknown command "list-unit" for "fleetctl"

    Did you mean this?
    ⇥list-unit-files
    ⇥list-units
    Run 'fleetctl --help' for usage.
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl start --xyzzy=1 web").await, @r#"
    [stderr]
    Error: unknown flag: --xyzzy
    Run 'fleetctl --help' for usage.
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl start -x web").await, @r#"
    [stderr]
    Error: unknown shorthand flag: 'x' in -x
    Run 'fleetctl --help' for usage.
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl start --block-attempts=many web").await, @r#"
    [stderr]
    Error: invalid value 'many' for '--block-attempts <N>': expected a whole number
    Run 'fleetctl --help' for usage.
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl start --no-block=perhaps web").await, @r#"
    [stderr]
    Error: invalid value 'perhaps' for '--no-block[=<BOOL>]': expected true or false
    Run 'fleetctl --help' for usage.
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl list-units --fields").await, @r#"
    [stderr]
    Error: a value is required for '--fields <FIELDS>' but none was supplied
    Run 'fleetctl --help' for usage.
    [exit 1]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_are_none() {
    let cluster = cluster().await;
    assert_snapshot!(cluster.run_at("127.0.0.1:49153", "fleetctl list-units").await, @r#"
    [stderr]
    Unable to initialize client: URL scheme undefined
    "127.0.0.1:49153" is not an endpoint: write unix:///path/of/socket, http://host:port or https://host:port
    [exit 1]
    "#);
    assert_snapshot!(cluster.run_at("unix://var/run/fleet.sock", "fleetctl list-units").await, @r#"
    [stderr]
    Unable to initialize client: unable to connect to host "var" with scheme "unix"
    "unix://var/run/fleet.sock" is not an endpoint: write unix:///path/of/socket, http://host:port or https://host:port
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl --driver=etcd list-units").await, @r#"
    [stderr]
    Unable to initialize client: unrecognized driver "etcd"
    fleetctl talks to fleetd only: leave --driver and FLEETCTL_DRIVER out, and let --endpoint name a fleetd
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl --tunnel=me@ list-units").await, @r#"
    [stderr]
    Unable to initialize client: failed initializing SSH client: "me@" is no SSH host: it names no host
    Write host, host:port, user@host or user@[IPv6]:port.
    [exit 1]
    "#);
    assert_snapshot!(cluster.run_at("http://127.0.0.1:4001", "fleetctl list-units").await, @r#"
    [stderr]
    Error retrieving list of units from repository: cannot reach fleetd at http://127.0.0.1:4001: Connection refused (os error 111)
    Port 4001 is etcd's. fleetctl talks to fleetd: give --endpoint=unix:///var/run/fleet.sock on a machine of the cluster, or the address of a fleetd that listens on TCP.
    [exit 1]
    "#);
    cluster.end().await;
}

/// Answers everything so.
async fn answers(listener: TcpListener, answer: &'static str) {
    while let Ok((stream, _)) = listener.accept().await {
        let mut stream = BufStream::new(stream);
        let mut line = String::new();
        while stream.read_line(&mut line).await.unwrap() > 2 {
            line.clear();
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_speaks_http_and_is_no_fleetd() {
    let cluster = cluster().await;
    for (name, answer) in [
        (
            "etcd",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 19\r\n\r\n404 page not found\n",
        ),
        (
            "guarded",
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 51\r\n\r\n<html>No required SSL certificate was sent</html>\r\n",
        ),
        (
            "proxy",
            "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 12\r\n\r\nBad Gateway\n",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(answers(listener, answer));
        let endpoint = format!("http://{address}");
        let seen = cluster.run_at(&endpoint, "fleetctl list-units").await;
        assert_snapshot!(format!("foreign_{name}"), seen.replace(&address, "THERE"));
        println!("-- a fleetd besides");
        let both = format!("{endpoint},unix://{}", cluster.socket.display());
        let seen = cluster.run_at(&both, "fleetctl list-units").await;
        assert!(seen.ends_with("[exit 0]"), "{seen}");
        server.abort();
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_short_enough_in_fleet_1_0_still_is() {
    let cluster = cluster().await;
    for (short, command) in [
        ("c", "cat"),
        ("d", "destroy"),
        ("j", "journal"),
        ("list-m", "list-machines"),
        ("list-unit-", "list-unit-files"),
        ("lo", "load"),
        ("r", "restart"),
        ("sta", ""),
        ("star", "start"),
        ("stat", "status"),
        ("sto", "stop"),
        ("su", "submit"),
        ("u", "unload"),
        ("veri", "verify"),
        ("vers", "version"),
        ("do", "doctor"),
        ("e", "explain"),
    ] {
        let seen = cluster.run(&format!("fleetctl {short} --help")).await;
        let begins = match command {
            "" => format!("[stderr]\nError: unknown command \"{short}\" for \"fleetctl\"\n"),
            command => format!("[stdout]\nNAME:\n⇥fleetctl {command} - "),
        };
        assert!(seen.starts_with(&begins), "{short}: {seen}");
    }
    cluster.end().await;
}
