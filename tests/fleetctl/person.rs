//! fleetctl for a person at a terminal: tables that fit, colours, progress, questions. None of it reaches a pipe.

use std::process::Command;

use insta::assert_snapshot;
use model::{Brake, BrakePhase, Change};

use crate::cluster::{Cluster, FILE, cluster, machine_id, machines_asleep};
use crate::terminal::Terminal;

/// Runs fleetctl at a terminal of this width.
fn at_terminal(
    cluster: &Cluster,
    columns: u16,
    variables: &[(&str, &str)],
    line: &str,
) -> Terminal {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetctl"));
    command
        .args(line.split(' ').skip(1))
        .env_clear()
        .env("TERM", "xterm")
        .env(
            "FLEETCTL_ENDPOINT",
            format!("unix://{}", cluster.socket.display()),
        )
        .envs(variables.iter().copied())
        .current_dir(&cluster.folder);
    Terminal::run(command, columns)
}

/// What has appeared by its end, with control characters shown.
async fn shown(terminal: Terminal) -> String {
    let (seen, status) = tokio::task::spawn_blocking(|| terminal.end())
        .await
        .unwrap();
    let seen = seen
        .replace("\r\n", "\n")
        .replace('\u{1b}', "␛")
        .replace('\r', "␍");
    format!("{seen}[exit {status}]")
}

async fn with_units() -> Cluster {
    let cluster = cluster().await;
    cluster.file(
        "web.service",
        "[Unit]\nDescription=Says hello over and over again, for ever and ever\n[Service]\nExecStart=/bin/web\n",
    );
    cluster.file("broken.service", FILE);
    cluster.run("fleetctl start web").await;
    cluster.run("fleetctl start broken").await;
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_coloured_unless_that_is_not_wanted() {
    let cluster = with_units().await;
    let coloured = shown(at_terminal(&cluster, 80, &[], "fleetctl list-units")).await;
    assert_snapshot!(coloured, @r#"
    UNIT            MACHINE               ACTIVE  SUB
    broken.service  aaaaaaaa.../10.0.0.1  ␛[1;31mfailed␛[0m  ␛[1;31mfailed␛[0m
    web.service     aaaaaaaa.../10.0.0.1  ␛[32mactive␛[0m  ␛[32mrunning␛[0m
    [exit 0]
    "#);
    let plain = coloured
        .replace("␛[32m", "")
        .replace("␛[1;31m", "")
        .replace("␛[0m", "");
    for variables in [[("NO_COLOR", "1")], [("TERM", "dumb")]] {
        let seen = shown(at_terminal(&cluster, 80, &variables, "fleetctl list-units")).await;
        assert_eq!(seen, plain, "{variables:?}");
    }
    let piped = cluster.run("fleetctl list-units").await;
    assert!(!piped.contains('\u{1b}') && piped.contains('⇥'), "{piped}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_fit_the_terminal() {
    let cluster = with_units().await;
    let line = "fleetctl list-unit-files --fields=unit,desc,state --no-legend";
    let no_colour = [("NO_COLOR", "1")];
    assert_snapshot!(shown(at_terminal(&cluster, 50, &no_colour, line)).await, @r#"
    broken.service  -                       launched
    web.service     Says hello over and     launched
                    over again, for ever
                    and ever
    [exit 0]
    "#);
    assert_snapshot!(shown(at_terminal(&cluster, 100, &no_colour, line)).await, @r#"
    broken.service  -                                                  launched
    web.service     Says hello over and over again, for ever and ever  launched
    [exit 0]
    "#);
    let help = shown(at_terminal(&cluster, 60, &[], "fleetctl help stop")).await;
    assert_snapshot!(help.split("GLOBAL").next().unwrap(), @r#"
    NAME:
    	fleetctl stop - Instruct systemd to stop one or more
    	units in the cluster

    USAGE:
    	fleetctl stop [options] UNIT...

    DESCRIPTION:
    	Returns when systemd says that they are stopped.
    	They stay on their machines; "fleetctl start" starts
    	them there again.

    ARGUMENTS:
    	UNIT...  Units; a quoted pattern such as 'web@*'
    	         stands for all in the cluster that it
    	         matches

    OPTIONS:
    	    --block-attempts=N  Wait for at most N times 2
    	                        seconds; 0 waits until it is
    	                        clear how it ends [default:
    	                        0]
    	    --no-block          Do not wait: return as soon
    	                        as the cluster has accepted
    	                        the request
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_wait_shows_a_line_that_is_wiped_at_its_end() {
    let cluster = machines_asleep().await;
    cluster.file("web.service", FILE);
    let mut terminal = at_terminal(&cluster, 60, &[], "fleetctl start web");
    let mut terminal = tokio::task::spawn_blocking(move || {
        terminal.until("Unit web.service inactive\r\n");
        terminal.until("\r\u{1b}[KWaiting for unit, ");
        // Rewritten on the spot, and never longer than the terminal is wide.
        terminal.until(" s. web.service: no engine has placed it\r\u{1b}[KWaiting for ");
        terminal
    })
    .await
    .unwrap();
    let machines = cluster.wake_machines();
    terminal = tokio::task::spawn_blocking(move || {
        terminal.until("\r\u{1b}[KUnit web.service launched on aaaaaaaa.../10.0.0.1\r\n");
        terminal
    })
    .await
    .unwrap();
    assert_eq!(shown(terminal).await, "[exit 0]");
    cluster.end().await;
    machines.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_interrupted_says_what_becomes_of_the_request() {
    let cluster = machines_asleep().await;
    cluster.file("web.service", FILE);
    let mut terminal = at_terminal(&cluster, 80, &[], "fleetctl start web");
    let terminal = tokio::task::spawn_blocking(move || {
        terminal.until("\r\u{1b}[KWaiting for unit, ");
        terminal.interrupt();
        terminal
    })
    .await
    .unwrap();
    let seen = shown(terminal).await;
    let (_, said) = seen.rsplit_once("␍␛[K").unwrap();
    assert_snapshot!(said, @r#"
    Error starting units: interrupted while waiting
    The request was accepted and will be carried out.
    [exit 130]
    "#);
    assert_snapshot!(cluster.run("fleetctl list-unit-files --no-legend").await, @r#"
    [stdout]
    web.service⇥1c6fb6f⇥launched⇥inactive⇥-
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn destroying_what_a_pattern_matches_is_asked_for() {
    let cluster = with_units().await;
    for (keys, says) in [
        (
            "\n",
            "Error destroying units: not confirmed; nothing was destroyed\n[exit 1]",
        ),
        ("y\n", "Destroyed web.service\n[exit 0]"),
    ] {
        let mut terminal = at_terminal(&cluster, 80, &[], "fleetctl destroy web*");
        let terminal = tokio::task::spawn_blocking(move || {
            terminal.until("This destroys 1 unit:\r\n  web.service\r\nDestroy it? [y/N] ");
            terminal.send(keys);
            terminal
        })
        .await
        .unwrap();
        let seen = shown(terminal).await;
        assert!(seen.ends_with(says), "{seen}");
    }
    assert_snapshot!(cluster.run("fleetctl destroy bro*").await, @r#"
    [stderr]
    This destroys 1 unit:
      broken.service
    Error destroying units: there is no terminal to ask at; nothing was destroyed
    Give -y to destroy what patterns match without asking.
    [exit 1]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_that_were_lost_together_are_told_of_beside_the_list() {
    let cluster = cluster().await;
    let brake = Brake {
        phase: BrakePhase::Holding,
        cluster: 12,
        machines: ["cccccccc", "dddddddd"].map(machine_id).into(),
    };
    cluster.store.change([Change::Brake(Some(brake))]);
    let seen = shown(at_terminal(
        &cluster,
        120,
        &[],
        "fleetctl list-machines --no-legend",
    ))
    .await;
    let note = "2 lost machines of 12 keep their units: so many lost at once look like a network that is cut (cccccccc, dddddddd)\n";
    assert!(seen.contains(note), "{seen}");
    assert!(seen.contains("10.0.0.2"), "{seen}");
    cluster.end().await;
}
