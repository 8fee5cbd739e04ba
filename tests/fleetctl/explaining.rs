//! `explain`, `plan` and `start --dry-run`: what people are told of placement before and after.

use insta::assert_snapshot;

use crate::cluster::{Cluster, FILE, cluster};

/// A cluster where one unit is on the machine with the fast disk, and one waits for a tape.
async fn with_units() -> Cluster {
    let cluster = cluster().await;
    let with = |options: &str| format!("{FILE}[X-Fleet]\n{options}\n");
    cluster.file("web.service", with("MachineMetadata=disk=ssd"));
    cluster.file("free.service", FILE);
    cluster.file("tape.service", with("MachineMetadata=disk=tape region=eu"));
    cluster.file("near.service", with("MachineOf=web.service"));
    cluster.file("far.service", with("Conflicts=web.service"));
    cluster.file(
        "nowhere.service",
        with("MachineMetadata=disk=tape\nConflicts=web.service"),
    );
    cluster.run("fleetctl start web").await;
    cluster.run("fleetctl start nowhere --no-block").await;
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_why_there_and_why_not() {
    let cluster = with_units().await;
    assert_snapshot!(cluster.run("fleetctl explain web").await, @r#"
    [stdout]
    web.service is on aaaaaaaa: no other machine can take it
    RULE⇥⇥⇥⇥PASS⇥LEFT
    (machines)⇥⇥⇥2⇥2
    MachineMetadata=disk=ssd⇥1⇥1
    NEAREST⇥⇥FAILS⇥FIRST
    bbbbbbbb...⇥1⇥metadata disk=ssd is wanted, it has no such key
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl explain nowhere web.service gone").await, @r#"
    [stdout]
    nowhere.service waits: no machine can run it; MachineMetadata=disk=tape leaves none of 2 (decided, about to be written)
    RULE⇥⇥⇥⇥PASS⇥LEFT
    (machines)⇥⇥⇥2⇥2
    MachineMetadata=disk=tape⇥0⇥0
    Conflicts=⇥⇥⇥1⇥0
    NEAREST⇥⇥FAILS⇥FIRST
    bbbbbbbb...⇥1⇥metadata disk=tape is wanted, it has no such key
    aaaaaaaa...⇥2⇥metadata disk=tape is wanted, it has ssd

    web.service is on aaaaaaaa: no other machine can take it
    RULE⇥⇥⇥⇥PASS⇥LEFT
    (machines)⇥⇥⇥2⇥2
    MachineMetadata=disk=ssd⇥1⇥1
    NEAREST⇥⇥FAILS⇥FIRST
    bbbbbbbb...⇥1⇥metadata disk=ssd is wanted, it has no such key
    [stderr]
    Error explaining units: unit gone.service does not exist
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl explain gone -o yaml").await, @r#"
    [stdout]
    []
    [stderr]
    Error explaining units: unit gone.service does not exist
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl explain").await, @r#"
    [stderr]
    No units given
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_says_what_would_happen_and_nothing_does() {
    let cluster = with_units().await;
    let before = cluster.run("fleetctl list-unit-files").await;
    assert_snapshot!(cluster.run("fleetctl plan near.service far.service free.service").await, @r#"
    [stdout]
    UNIT⇥⇥NOW⇥THEN⇥⇥NOTE
    near.service⇥-⇥aaaaaaaa...⇥-
    far.service⇥-⇥bbbbbbbb...⇥-
    free.service⇥-⇥aaaaaaaa...⇥-
    [stderr]
    All would fit. Nothing was done.
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl start --dry-run near tape").await, @r#"
    [stdout]
    UNIT⇥⇥NOW⇥THEN⇥⇥NOTE
    near.service⇥-⇥aaaaaaaa...⇥-
    tape.service⇥-⇥waits⇥⇥no machine can run it
    [stderr]
    tape.service: aaaaaaaa... metadata disk=tape is wanted, it has ssd
    tape.service: bbbbbbbb... metadata disk=tape is wanted, it has no such key
    Not all would fit. Nothing was done.
    [exit 1]
    "#);
    cluster.file(
        "web.service",
        format!("{FILE}[X-Fleet]\nMachineID=bbbbbbbb\n"),
    );
    assert_snapshot!(cluster.run("fleetctl plan web.service").await, @r#"
    [stdout]
    UNIT⇥⇥NOW⇥⇥THEN⇥⇥NOTE
    web.service⇥aaaaaaaa...⇥aaaaaaaa...⇥by the cluster's file, which differs: --replace takes yours
    [stderr]
    All would fit. Nothing was done.
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl plan web.service far.service --replace").await, @r#"
    [stdout]
    UNIT⇥⇥NOW⇥⇥THEN⇥⇥NOTE
    web.service⇥aaaaaaaa...⇥waits⇥⇥no machine can run it
    far.service⇥-⇥⇥bbbbbbbb...⇥-
    [stderr]
    web.service: bbbbbbbb... conflicts with far.service, which is there
    web.service: aaaaaaaa... is not the machine bbbbbbbb that MachineID= asks for
    Not all would fit. Nothing was done.
    [exit 1]
    "#);
    cluster.file("bad.service", format!("{FILE}[X-Fleet]\nWeight=much\n"));
    assert_snapshot!(cluster.run("fleetctl plan bad.service").await, @r#"
    [stderr]
    bad.service:4: Weight "much" is not a whole number from 1 to 1000. Correct or remove it
    Error creating units: nothing was created (1 error)
    [exit 1]
    "#);
    assert_eq!(cluster.run("fleetctl list-unit-files").await, before);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn start_and_status_tell_it_too() {
    let cluster = with_units().await;
    assert_snapshot!(cluster.run("fleetctl start nowhere").await, @r#"
    [stderr]
    Error starting units: unit nowhere.service waits: no machine can run it
      MachineMetadata=disk=tape leaves 0 of 2 machines
      Conflicts= leaves 0 of 2 machines
      bbbbbbbb.../10.0.0.2: metadata disk=tape is wanted, it has no such key
      aaaaaaaa.../10.0.0.1: metadata disk=tape is wanted, it has ssd
    It stays submitted, and goes on as soon as a machine can run it. --block-attempts=N waits for that, --no-block does not wait at all.
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl status nowhere").await, @r#"
    [stderr]
    Unit nowhere.service does not appear to be loaded.
    It waits: no machine can run it
      MachineMetadata=disk=tape leaves 0 of 2 machines
      Conflicts= leaves 0 of 2 machines
      bbbbbbbb.../10.0.0.2: metadata disk=tape is wanted, it has no such key
      aaaaaaaa.../10.0.0.1: metadata disk=tape is wanted, it has ssd
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl status web -o yaml").await, @r#"
    [stdout]
    - active: active
      hash: e7616b1e6d21852176a8af5c96d560b66f68b405
      ip: "10.0.0.1"
      job:
        kind: start
        message: ""
        result: done
      load: loaded
      machine: aaaaaaaa000000000000000000000001
      since: null
      sub: running
      text: "* web.service\n     Active: active (running)\n"
      unit: web.service
      why: "is on aaaaaaaa: no other machine can take it"
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rebalance_says_what_would_move() {
    let cluster = cluster().await;
    assert_snapshot!(cluster.run("fleetctl rebalance --dry-run").await, @r#"
    [stderr]
    Every unit is where it would be placed now: nothing to move.
    [exit 0]
    "#);
    for unit in ["web@1.service", "web@2.service", "one.service"] {
        cluster.file(unit, FILE);
    }
    cluster.run("fleetctl start web@1 web@2 one").await;
    assert_snapshot!(cluster.run("fleetctl rebalance --dry-run").await, @r#"
    [stdout]
    ROUND⇥UNIT⇥⇥FROM⇥⇥TO⇥⇥BY⇥⇥GAIN
    1⇥web@1.service⇥aaaaaaaa...⇥bbbbbbbb...⇥siblings⇥1 > 0
    [stderr]
    1 unit would move. Nothing was done.
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl rebalance --dry-run --max-moves 1 -o json").await, @r#"
    [stdout]
    [
      {
        "by": "siblings",
        "error": null,
        "from": "aaaaaaaa000000000000000000000001",
        "gain": "1 > 0",
        "round": 1,
        "to": "bbbbbbbb000000000000000000000002",
        "unit": "web@1.service"
      }
    ]
    [exit 0]
    "#);
    cluster.end().await;
}
