//! Every command once more, in the files of `snapshots/`: what it says when all is well and when it is not, first to a program
//! that reads pipes, then to a person at a terminal.

use std::process::Command;

use insta::{Settings, assert_snapshot};
use model::StoreError;

use crate::cluster::{Cluster, FILE, cluster, machines_asleep};
use crate::help::commands;
use crate::memory::Mood;
use crate::terminal::Terminal;

/// What is typed after `fleetctl`, by command. The first line is one that succeeds, if the cluster of this test can.
const LINES: &[(&str, &[&str])] = &[
    (
        "cat",
        &[
            "cat web",
            "cat nothing",
            "cat",
            "cat web idle",
            "cat x*",
            "cat foo%",
        ],
    ),
    ("completion", &["completion", "completion tcsh"]),
    (
        "destroy",
        &[
            "destroy web",
            "destroy idle nothing",
            "destroy nothing",
            "destroy",
            "destroy foo%",
            "destroy x*",
            "destroy -y bro*",
            "destroy log",
        ],
    ),
    ("doctor", &["doctor", "doctor --fields=check,wrong"]),
    (
        "explain",
        &[
            "explain web",
            "explain log",
            "explain idle",
            "explain nothing",
            "explain",
            "explain foo%",
        ],
    ),
    (
        "fd-forward",
        &["fd-forward", "fd-forward none.sock", "fd-forward a b"],
    ),
    (
        "journal",
        &[
            "journal web",
            "journal -n 3 web broken",
            "journal nothing",
            "journal idle",
            "journal nowhere",
            "journal",
            "journal web --machine=zzzz",
            "journal --lines=many web",
            "journal x*",
            "journal foo%",
        ],
    ),
    (
        "list-machines",
        &[
            "list-machines",
            "list-machines --full --no-legend",
            "list-machines --fields=",
            "list-machines --fields=machine,load",
            "list-machines -o yaml",
            "list-machines --output=xml",
        ],
    ),
    (
        "list-unit-files",
        &[
            "list-unit-files",
            "list-unit-files --full --no-legend",
            "list-unit-files --fields=unit,global,tmachine,desc",
            "list-unit-files --fields=unit,xyzzy",
            "list-unit-files -o wide",
        ],
    ),
    (
        "list-units",
        &[
            "list-units",
            "list-units --full --no-legend",
            "list-units --fields=unit,load,hash",
            "list-units --fields=unit,xyzzy",
            "list-units -o wide",
        ],
    ),
    (
        "load",
        &[
            "load idle",
            "load web",
            "load log",
            "load new",
            "load --no-block idle",
            "load changed",
            "load --replace changed",
            "load nothing",
            "load wrong",
            "load",
            "load foo%",
            "load x*",
            "load unloadable",
            "load nowhere",
            "load --sign web",
        ],
    ),
    (
        "plan",
        &[
            "plan new",
            "plan idle web",
            "plan nothing",
            "plan wrong",
            "plan",
        ],
    ),
    (
        "quarantine",
        &[
            "quarantine",
            "quarantine list",
            "quarantine remove",
            "quarantine remove units/nothing.service",
            "quarantine forget",
        ],
    ),
    (
        "rebalance",
        &["rebalance --dry-run", "rebalance --max-moves=many"],
    ),
    (
        "restart",
        &[
            "restart web",
            "restart log",
            "restart broken",
            "restart idle",
            "restart nothing",
            "restart web nothing",
            "restart",
            "restart foo%",
            "restart x*",
        ],
    ),
    (
        "ssh",
        &[
            "ssh nothing true",
            "ssh",
            "ssh --machine=aaaa --unit=web",
            "ssh --machine=zzzz true",
            "ssh --unit=nothing true",
            "ssh --unit=log true",
            "ssh foo% true",
        ],
    ),
    (
        "start",
        &[
            "start idle",
            "start web log",
            "start new",
            "start shop@1 shop@2",
            "start --no-block idle log",
            "start changed",
            "start --replace changed",
            "start --replace changed",
            "start oneshot",
            "start broken",
            "start flapping --block-attempts=1",
            "start nowhere",
            "start nothing",
            "start other@1",
            "start shop@",
            "start wrong",
            "start",
            "start foo%",
            "start x*",
            "start --sign web",
        ],
    ),
    (
        "status",
        &[
            "status web",
            "status web broken",
            "status nothing",
            "status idle",
            "status nowhere",
            "status web --machine=zzzz",
            "status web -o yaml",
            "status x*",
            "status foo%",
            "status --no-block log -m aaaa",
            "status",
        ],
    ),
    (
        "stop",
        &[
            "stop web",
            "stop log",
            "stop web",
            "stop idle",
            "stop nothing",
            "stop --no-block web nothing",
            "stop",
            "stop foo%",
            "stop x*",
        ],
    ),
    (
        "submit",
        &[
            "submit new",
            "submit new",
            "submit --replace new",
            "submit changed",
            "submit --replace changed",
            "submit nothing",
            "submit other@1",
            "submit wrong",
            "submit wrong.target",
            "submit",
            "submit foo%",
            "submit x*",
            "submit --sign web",
        ],
    ),
    (
        "unload",
        &[
            "unload web",
            "unload idle",
            "unload log",
            "unload nothing",
            "unload --no-block broken nothing",
            "unload",
            "unload foo%",
            "unload x*",
        ],
    ),
    ("verify", &["verify", "verify web"]),
    (
        "version",
        &["version", "version -o json", "version --fields=x"],
    ),
];

/// Commands that ask fleetd for nothing.
const ALONE: [&str; 4] = ["completion", "fd-forward", "verify", "version"];

/// Units in every condition there is, and files beside them.
async fn with_units() -> Cluster {
    let cluster = cluster().await;
    for name in [
        "web",
        "idle",
        "new",
        "broken",
        "flapping",
        "oneshot",
        "nowhere",
        "unloadable",
    ] {
        cluster.file(&format!("{name}.service"), FILE);
    }
    cluster.file(
        "log.service",
        "[Unit]\nDescription=All logs\n[Service]\nExecStart=/bin/log\n[X-Fleet]\nGlobal=yes\n",
    );
    cluster.file("shop@.service", FILE);
    cluster.file("changed.service", FILE);
    cluster.file(
        "wrong.service",
        "[Service]\nExecStart=/bin/true\n[X-Fleet]\nGlobl=yes\n",
    );
    cluster.file("wrong.target", "[Unit]\nDescription=Not ours\n");
    for line in [
        "submit idle shop@",
        "start web changed log",
        "start broken",
        "start --no-block nowhere",
    ] {
        cluster.run(&format!("fleetctl {line}")).await;
    }
    cluster.until_reported("log.service", 2).await;
    cluster.until_held("nowhere.service").await;
    cluster.file("changed.service", "[Service]\nExecStart=/bin/sleep 200\n");
    cluster
}

/// Runs the lines of one command, then the first of them without a store and without fleetd.
async fn told(
    lines: &[&str],
    alone: bool,
    run: impl AsyncFn(&Cluster, &str, &str) -> String,
) -> String {
    let cluster = with_units().await;
    let socket = format!("unix://{}", cluster.socket.display());
    let mut text = String::new();
    for line in lines {
        let seen = run(&cluster, &socket, line).await;
        text.push_str(&format!("$ fleetctl {line}\n{seen}\n\n"));
    }
    if let (Some(line), false) = (lines.first(), alone) {
        cluster.store.mood(Mood::Fails(StoreError::Unreachable(
            "etcd is gone".to_owned(),
        )));
        let seen = run(&cluster, &socket, line).await;
        text.push_str(&format!("(without a store)\n$ fleetctl {line}\n{seen}\n\n"));
        let seen = run(&cluster, "unix:///none.sock", line).await;
        text.push_str(&format!("(without fleetd)\n$ fleetctl {line}\n{seen}\n\n"));
    }
    cluster.end().await;
    text
}

/// Compares with the file that has the command's name.
fn compare(name: &str, text: &str) {
    let mut settings = Settings::clone_current();
    settings.set_snapshot_suffix(name);
    settings.set_omit_expression(true);
    settings.bind(|| assert_snapshot!(text));
}

fn is_alone(command: &str) -> bool {
    ALONE.contains(&command)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_is_here() {
    let cluster = machines_asleep().await;
    let named = commands(&cluster).await;
    let here: Vec<_> = LINES
        .iter()
        .map(|(command, _)| (*command).to_owned())
        .collect();
    assert_eq!(named, here, "add lines for a new command, by name");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_a_program() {
    for (command, lines) in LINES {
        let run = async |cluster: &Cluster, endpoint: &str, line: &str| {
            cluster.run_at(endpoint, &format!("fleetctl {line}")).await
        };
        compare(
            &format!("{command}-piped"),
            &told(lines, is_alone(command), run).await,
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn to_a_person() {
    for (command, lines) in LINES {
        let name = format!("{command}-terminal");
        let run = async |cluster: &Cluster, endpoint: &str, line: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_fleetctl"));
            command
                .args(line.split(' '))
                .env_clear()
                .env("TERM", "xterm");
            command
                .env("FLEETCTL_ENDPOINT", endpoint)
                .current_dir(&cluster.folder);
            let terminal = Terminal::run(command, 100);
            let (seen, status) = tokio::task::spawn_blocking(|| terminal.end())
                .await
                .unwrap();
            format!("{}[exit {status}]", readable(&seen))
        };
        compare(&name, &told(lines, is_alone(command), run).await);
    }
}

/// Without the lines of progress, of which there are as many as a wait has seconds; control characters shown.
fn readable(seen: &str) -> String {
    let mut pieces = seen.split("\r\u{1b}[K");
    let first = pieces.next().unwrap_or_default().to_owned();
    let rest = pieces.filter(|piece| piece.contains('\n'));
    let kept: String = std::iter::once(first)
        .chain(rest.map(str::to_owned))
        .collect();
    kept.replace("\r\n", "\n")
        .replace('\u{1b}', "␛")
        .replace('\t', "⇥")
}
