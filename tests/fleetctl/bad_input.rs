//! Bad names and bad files: each error names file, line and remedy, and nothing is created.

use std::process::Command;

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
    cluster.file(
        "typo.service",
        "[Service]\nExecStart=/bin/true\n\n[X-Fleet]\nMachineOff=db.service\nGlobal=perhaps\n",
    );
    cluster.file("junk.service", "[Service]\nthis is no option\n");
    cluster.file("empty.service", "");
    cluster.file("binary.service", b"[Service]\nExecStart=\xff\xfe\n");
    cluster.file(
        "large.service",
        format!("{FILE}#{}\n", "x".repeat(64 * 1024)),
    );
    assert_snapshot!(unchanged(&cluster, "fleetctl start good typo").await, @r#"
    [stderr]
    typo.service:5: unknown option "MachineOff" in [X-Fleet]; did you mean "MachineOf"?
    typo.service:6: Global "perhaps" is neither true nor false. Write true or false
    Error creating units: nothing was created (2 errors)
    [exit 1]
    "#);
    assert_snapshot!(unchanged(&cluster, "fleetctl submit junk empty good").await, @r#"
    [stderr]
    junk.service:2: "this is no option" is not an option: it has no "=". Write it as Name=value, or begin the line with # to make it a comment
    empty.service: unit file has no options. Add at least a section with one option, for example [Service] and ExecStart=
    Error creating units: nothing was created (2 errors)
    [exit 1]
    "#);
    assert_snapshot!(unchanged(&cluster, "fleetctl load binary").await, @r#"
    [stderr]
    binary.service:2: unit file is not valid UTF-8. Save the file as UTF-8 text
    Error creating units: nothing was created (1 error)
    [exit 1]
    "#);
    assert_snapshot!(unchanged(&cluster, "fleetctl submit large").await, @r#"
    [stderr]
    large.service: unit file is 65573 bytes long, and the limit is 65536 bytes (64 KiB). Move scripts and data out of the unit into files of their own
    Error creating units: nothing was created (1 error)
    [exit 1]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_read() {
    let cluster = cluster().await;
    // A link to itself cannot be opened, not even by root.
    std::os::unix::fs::symlink("loop.service", cluster.folder.join("loop.service")).unwrap();
    assert_snapshot!(unchanged(&cluster, "fleetctl submit loop").await, @r#"
    [stderr]
    loop.service: cannot be read: Too many levels of symbolic links (os error 40). Check that it is a file and that you may read it
    Error creating units: nothing was created (1 error)
    [exit 1]
    "#);
    // Nobody writes to it.
    let pipe = Command::new("mkfifo")
        .arg("pipe.service")
        .current_dir(&cluster.folder)
        .status();
    assert!(pipe.unwrap().success());
    assert_snapshot!(unchanged(&cluster, "fleetctl submit pipe").await, @r#"
    [stderr]
    pipe.service: cannot be read: it is a pipe, a socket or a device. Check that it is a file and that you may read it
    Error creating units: nothing was created (1 error)
    [exit 1]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_none() {
    let cluster = cluster().await;
    cluster.file("good.service", FILE);
    let seen = unchanged(&cluster, "fleetctl start good foo%.service @x").await;
    for verb in ["submit", "load"] {
        let line = format!("fleetctl {verb} good foo%.service @x");
        assert_eq!(unchanged(&cluster, &line).await, seen);
    }
    assert_snapshot!(seen, @r#"
    [stderr]
    foo%.service: invalid character '%' in unit name. A unit name is made of 0-9 A-Z a-z : - _ . \ @ and ends in its type, such as .service
    @x: unit name cannot start in "@". A unit name is made of 0-9 A-Z a-z : - _ . \ @ and ends in its type, such as .service
    Error creating units: nothing was created (2 errors)
    [exit 1]
    "#);
    let seen = unchanged(&cluster, "fleetctl stop foo%.service").await;
    for verb in ["unload", "destroy", "restart"] {
        let line = format!("fleetctl {verb} foo%.service");
        assert_eq!(unchanged(&cluster, &line).await, seen);
    }
    assert_snapshot!(seen, @r#"
    [stderr]
    foo%.service: invalid character '%' in unit name. A unit name is made of 0-9 A-Z a-z : - _ . \ @ and ends in its type, such as .service
    Nothing was done (1 error)
    [exit 1]
    "#);
    assert_snapshot!(unchanged(&cluster, "fleetctl cat foo%.service").await, @r#"
    [stderr]
    foo%.service: invalid character '%' in unit name. A unit name is made of 0-9 A-Z a-z : - _ . \ @ and ends in its type, such as .service
    Nothing was done (1 error)
    [exit 1]
    "#);
    cluster.file("notes", "of a meeting");
    assert_snapshot!(unchanged(&cluster, "fleetctl start notes").await, @r#"
    [stderr]
    Error creating units: unable to find Unit(notes.service) in Registry or on filesystem; there is a file notes, but its name does not end in a type of unit: .service, .socket, .timer, .path, .device, .mount or .automount
    [exit 1]
    "#);
    cluster.file("web.slice", FILE);
    assert_snapshot!(unchanged(&cluster, "fleetctl start web.slice").await, @r#"
    [stderr]
    Error creating units: unable to find Unit(web.slice.service) in Registry or on filesystem; there is a file web.slice, but "slice" is no type of unit that fleet runs: use service, socket, timer, path, device, mount or automount
    [exit 1]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn units_that_are_nowhere() {
    let cluster = cluster().await;
    cluster.file("good.service", FILE);
    assert_snapshot!(unchanged(&cluster, "fleetctl start nothing").await, @r#"
    [stderr]
    Error creating units: unable to find Unit(nothing.service) in Registry or on filesystem
    [exit 1]
    "#);
    assert_snapshot!(unchanged(&cluster, "fleetctl start good nothing app@1").await, @r#"
    [stderr]
    Error creating units: unable to find Unit(nothing.service) in Registry or on filesystem
    Error creating units: failed getting Unit(app@1.service) from template: unable to find template Unit(app@.service) in Registry or on filesystem
    Nothing was created.
    [exit 1]
    "#);
    assert_snapshot!(unchanged(&cluster, "fleetctl submit app@1").await, @r#"
    [stderr]
    Error creating units: failed getting Unit(app@1.service) from template: unable to find template Unit(app@.service) in Registry or on filesystem
    [exit 1]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_unit_from_two_files() {
    let cluster = cluster().await;
    for (folder, content) in [("a", FILE), ("b", "[Service]\nExecStart=/bin/other\n")] {
        std::fs::create_dir(cluster.folder.join(folder)).unwrap();
        crate::cluster::write(&cluster.folder.join(folder), "web.service", content);
    }
    assert_snapshot!(unchanged(&cluster, "fleetctl start a/web b/web").await, @r#"
    [stderr]
    web.service: given twice with different files, as a/web and b/web; give one of them
    Error creating units: nothing was created (1 error)
    [exit 1]
    "#);
    cluster.end().await;
}
