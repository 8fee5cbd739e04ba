//! `list-machines`, `list-units`, `list-unit-files`, `cat`: exactly the bytes that scripts parse.

use std::process::{Command, Stdio};

use insta::assert_snapshot;

use crate::cluster::{FILE, cluster, machine_id};
use model::{Brake, BrakePhase, Change};

#[tokio::test(flavor = "multi_thread")]
async fn empty_lists_have_a_legend_and_nothing_else() {
    let cluster = cluster().await;
    assert_snapshot!(cluster.run("fleetctl list-units").await, @r#"
    [stdout]
    UNIT⇥MACHINE⇥ACTIVE⇥SUB
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl list-unit-files --no-legend").await, @r#"
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machines() {
    let cluster = cluster().await;
    assert_snapshot!(cluster.run("fleetctl list-machines").await, @r#"
    [stdout]
    MACHINE⇥⇥IP⇥⇥METADATA
    aaaaaaaa...⇥10.0.0.1⇥disk=ssd,region=eu
    bbbbbbbb...⇥10.0.0.2⇥-
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl list-machines -l --no-legend").await, @r#"
    [stdout]
    aaaaaaaa000000000000000000000001⇥10.0.0.1⇥disk=ssd,region=eu
    bbbbbbbb000000000000000000000002⇥10.0.0.2⇥-
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl list-machines --l=true --fields ip,machine ignored").await, @r#"
    [stdout]
    IP⇥⇥MACHINE
    10.0.0.1⇥aaaaaaaa000000000000000000000001
    10.0.0.2⇥bbbbbbbb000000000000000000000002
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_that_were_lost_together_are_nothing_for_scripts() {
    let cluster = cluster().await;
    let machines = ["cccccccc", "dddddddd"].map(machine_id);
    let brake = Brake {
        phase: BrakePhase::Holding,
        cluster: 12,
        machines: machines.into(),
    };
    cluster.store.change([Change::Brake(Some(brake))]);
    assert_snapshot!(cluster.run("fleetctl list-machines --no-legend").await, @r#"
    [stdout]
    aaaaaaaa...⇥10.0.0.1⇥disk=ssd,region=eu
    bbbbbbbb...⇥10.0.0.2⇥-
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn units_and_unit_files() {
    let cluster = cluster().await;
    cluster.file(
        "web.service",
        "[Unit]\nDescription=The web\n[Service]\nExecStart=/bin/web\n",
    );
    cluster.file(
        "log.service",
        "[Service]\nExecStart=/bin/log\n[X-Fleet]\nGlobal=yes\n",
    );
    cluster.file("idle.service", FILE);
    cluster.run("fleetctl start web").await;
    cluster.run("fleetctl submit idle").await;
    assert_snapshot!(cluster.run("fleetctl list-units --full").await, @r#"
    [stdout]
    UNIT⇥⇥MACHINE⇥⇥⇥⇥⇥⇥ACTIVE⇥SUB
    web.service⇥aaaaaaaa000000000000000000000001/10.0.0.1⇥active⇥running
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl list-units --fields=unit,load,active,sub,machine --full=true -l=true").await, @r#"
    [stdout]
    UNIT⇥⇥LOAD⇥ACTIVE⇥SUB⇥MACHINE
    web.service⇥loaded⇥active⇥running⇥aaaaaaaa000000000000000000000001/10.0.0.1
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl list-units --fields=hash").await, @r#"
    [stdout]
    HASH
    492c75e
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl list-unit-files").await, @r#"
    [stdout]
    UNIT⇥⇥HASH⇥DSTATE⇥⇥STATE⇥⇥TARGET
    idle.service⇥1c6fb6f⇥inactive⇥inactive⇥-
    web.service⇥492c75e⇥launched⇥launched⇥aaaaaaaa.../10.0.0.1
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl list-unit-files -full -fields unit,hash,global,desc,tmachine").await, @r#"
    [stdout]
    UNIT⇥⇥HASH⇥⇥⇥⇥⇥⇥GLOBAL⇥DESC⇥TMACHINE
    idle.service⇥1c6fb6f3684bafb0c173d8b8b957ceff031180c1⇥false⇥-⇥-
    web.service⇥492c75e53bbf258f01f0122a0cbfb82876088fb9⇥false⇥The web⇥aaaaaaaa000000000000000000000001/10.0.0.1
    [stderr]
    WARNING: The "tmachine" field is deprecated. Use "target" instead
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_checked_before_the_cluster_is_asked() {
    let cluster = cluster().await;
    assert_snapshot!(cluster.run_at("unix:///none", "fleetctl list-units --fields=").await, @r#"
    [stderr]
    Must define output format
    [exit 1]
    "#);
    assert_snapshot!(cluster.run_at("unix:///none", "fleetctl list-machines --fields=machine,load").await, @r#"
    [stderr]
    Invalid key in output format: "load"
    Valid fields are: machine, ip, metadata, version
    [exit 1]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cat_gives_back_every_byte() {
    let cluster = cluster().await;
    let text = "# A comment.\r\n\r\n[Service]\r\nExecStart=/bin/echo \\\r\n  ü\t€  \r\n\r\n; the end, without a line feed";
    cluster.file("web.service", text);
    cluster.run("fleetctl submit web").await;
    let output = Command::new(env!("CARGO_BIN_EXE_fleetctl"))
        .args(["cat", "web"])
        .env(
            "FLEETCTL_ENDPOINT",
            format!("unix://{}", cluster.socket.display()),
        )
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
    assert_eq!((output.stderr.len(), output.status.code()), (0, Some(0)));
    assert_snapshot!(cluster.run("fleetctl cat nothing").await, @r#"
    [stderr]
    Unit nothing.service not found
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl cat web web").await, @r#"
    [stderr]
    One unit file must be provided
    [exit 1]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_is_no_error() {
    let cluster = cluster().await;
    let mut child = Command::new(env!("CARGO_BIN_EXE_fleetctl"))
        .arg("list-machines")
        .env(
            "FLEETCTL_ENDPOINT",
            format!("unix://{}", cluster.socket.display()),
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Closed before anything can have been written: the child has yet to be told of the machines.
    drop(child.stdout.take());
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap())
        .await
        .unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
    cluster.end().await;
}
