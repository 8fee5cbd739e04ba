//! The scripts of `fleetctl completion` in the real shells, with names from a real API server; and the man pages.

use std::path::Path;
use std::process::Command;

use insta::assert_snapshot;

use crate::cluster::{Cluster, FILE, cluster};
use crate::help::commands;
use crate::terminal::Terminal;

/// The names are waited for as long as it takes: a person types on after two seconds, these lines do not.
const PATIENTLY: &str = "sed s/timeout=2/timeout=60/g";

/// Whether a program is here; says so if not.
fn is_here(program: &str) -> bool {
    let there = ["/usr/bin", "/bin"]
        .iter()
        .any(|folder| Path::new(folder).join(program).exists());
    if !there {
        println!("SKIPPED: there is no {program} here (make setup installs it)");
    }
    there
}

async fn with_units() -> Cluster {
    let cluster = cluster().await;
    cluster.file("web@.service", FILE);
    cluster.file("solo.service", "[Service]\nExecStart=/bin/solo\n");
    cluster.run("fleetctl start web@1 web@22 solo").await;
    cluster
}

/// A shell with fleetctl on its path, in an empty home.
fn shell(cluster: &Cluster, words: &[&str]) -> Command {
    let binary = Path::new(env!("CARGO_BIN_EXE_fleetctl"));
    let path = format!("{}:/usr/bin:/bin", binary.parent().unwrap().display());
    let endpoint = format!("unix://{}", cluster.socket.display());
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .env_clear()
        .env("PATH", path)
        .env("HOME", &cluster.folder)
        .env("TERM", "xterm")
        .env("LC_ALL", "C.UTF-8")
        .env("FLEETCTL_ENDPOINT", endpoint)
        .current_dir(&cluster.folder);
    command
}

/// Types each line at the shell's prompt and returns what it printed then.
async fn typed(command: Command, prompt: &'static str, setup: &str, lines: &[&str]) -> Vec<String> {
    let setup = setup.to_owned();
    let lines: Vec<_> = lines.iter().map(|line| (*line).to_owned()).collect();
    let work = move || {
        let mut terminal = Terminal::run(command, 200);
        // The first prompt is the shell's own: the marker is printed, not typed.
        terminal.send(&format!("{setup}\n"));
        terminal.until(prompt);
        let mut printed = Vec::new();
        for line in lines {
            terminal.send(&format!("{line}\n"));
            printed.push(terminal.until(prompt));
        }
        terminal.send("exit\n");
        terminal.end();
        printed
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn bash_completes_commands_flags_units_machines_and_files() {
    if !is_here("bash") {
        return;
    }
    let cluster = with_units().await;
    let command = shell(
        &cluster,
        &["setsid", "-w", "-c", "bash", "--norc", "--noprofile", "-i"],
    );
    // What is typed does not contain the marker as it is printed.
    let setup = format!("source <(fleetctl completion bash | {PATIENTLY}); PS1='RE''ADY> '");
    let lines = [
        "fleetctl ca\tsol\t",
        "fleetctl cat web@2\t | cat; echo cat fleetctl cat web@\t",
        "fleetctl cat web@2\t",
        "fleetctl list-units --no-l\t --fie\tunit",
        "fleetctl journal web@1 --machine aaa\t -n 1",
        "fleetctl submit so\t",
        "fleetctl completion f\t | head -n 1 | wc -l",
    ];
    let printed = typed(command, "READY> ", &setup, &lines).await;
    for (line, printed) in lines.iter().zip(&printed) {
        println!("{line:?}\n{printed}");
    }
    assert!(
        printed[0].contains("ExecStart=/bin/solo\r\n"),
        "{}",
        printed[0]
    );
    assert!(
        printed[2].contains("ExecStart=/bin/sleep 100\r\n"),
        "{}",
        printed[2]
    );
    assert!(
        printed[3].contains("solo.service\r\nweb@1.service\r\n"),
        "{}",
        printed[3]
    );
    assert!(
        printed[4].contains("one of 1 lines of web@1.service"),
        "{}",
        printed[4]
    );
    assert!(printed[5].contains("submit solo.service"), "{}", printed[5]);
    assert!(
        printed[6].contains("completion fish  | head"),
        "{}",
        printed[6]
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zsh_completes_commands_units_and_machines() {
    if !is_here("zsh") {
        return;
    }
    let cluster = with_units().await;
    let command = shell(&cluster, &["setsid", "-w", "-c", "zsh", "-f", "-i"]);
    let setup = format!(
        "autoload -Uz compinit; compinit -u -d $HOME/dump; unsetopt zle_bracketed_paste; unset zle_bracketed_paste; source <(fleetctl completion zsh | {PATIENTLY}); PS1='RE''ADY> '"
    );
    let lines = [
        "fleetctl cat sol\t",
        "fleetctl cat web@2\t",
        "fleetctl journal web@1 --machine aaa\t -n 1",
        "fleetctl submit so\t",
    ];
    let printed = typed(command, "READY> ", &setup, &lines).await;
    assert!(
        printed[0].contains("ExecStart=/bin/solo\r\n"),
        "{}",
        printed[0]
    );
    assert!(
        printed[1].contains("ExecStart=/bin/sleep 100\r\n"),
        "{}",
        printed[1]
    );
    assert!(
        printed[2].contains("one of 1 lines of web@1.service"),
        "{}",
        printed[2]
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fish_completes_commands_units_and_machines() {
    if !is_here("fish") {
        return;
    }
    let cluster = with_units().await;
    let script = format!("fleetctl completion fish | {PATIENTLY} | source
        for line in 'fleetctl lis' 'fleetctl cat ' 'fleetctl start web@2' 'fleetctl status --machine ' 'fleetctl verify '
            echo \"> $line\"
            complete -C $line
        end");
    let mut command = shell(&cluster, &["fish", "--no-config", "-c", &script]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8_lossy(&output.stdout).replace('\t', "⇥");
    assert_snapshot!(text, @r#"
    > fleetctl lis
    list-machines⇥Enumerate the current hosts in the cluster
    list-units⇥List the current state of units in the cluster
    list-unit-files⇥List the units that exist in the cluster
    > fleetctl cat 
    solo.service
    web@1.service
    web@22.service
    > fleetctl start web@2
    web@22.service
    > fleetctl status --machine 
    aaaaaaaa000000000000000000000001
    bbbbbbbb000000000000000000000002
    > fleetctl verify 
    solo.service
    web@.service
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_has_a_man_page_that_man_can_show() {
    let cluster = cluster().await;
    assert_snapshot!(cluster.run("fleetctl man pages").await, @r#"
    [exit 0]
    "#);
    let folder = cluster.folder.join("pages");
    let mut pages: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    let mut expected = vec!["fleetctl.1".to_owned()];
    expected.extend(
        commands(&cluster)
            .await
            .iter()
            .map(|command| format!("fleetctl-{command}.1")),
    );
    expected.sort();
    assert_eq!(pages, expected);
    if is_here("groff") {
        for page in &pages {
            let mut groff = Command::new("groff");
            groff
                .args(["-man", "-Tascii", "-ww", "-z"])
                .arg(folder.join(page));
            let output = groff.output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{page}");
            assert!(output.status.success(), "{page}");
        }
        let mut groff = Command::new("groff");
        groff
            .args(["-man", "-Tascii", "-P-cbou", "-rLL=100n"])
            .arg(folder.join("fleetctl-submit.1"));
        let shown = String::from_utf8(groff.output().unwrap().stdout).unwrap();
        assert_snapshot!(shown, @r#"
        FLEETCTL-SUBMIT(1)                     General Commands Manual                    FLEETCTL-SUBMIT(1)



        NAME
               fleetctl-submit - Upload one or more units to the cluster without starting them

        SYNOPSIS
               fleetctl   submit   [--endpoint]   [--replace]   [--request-timeout]   [--debug]  [-h|--help]
               [--ca-file]   [--cert-file]   [--key-file]   [--tunnel]   [--ssh-username]    [--ssh-timeout]
               [--known-hosts-file] [--strict-host-key-checking] [UNIT]

        DESCRIPTION
               Upload one or more units to the cluster without starting them.

               Each  UNIT  is a file or the name of one: "hello" is ./hello.service. A template (hello@.ser-
               vice) is submitted like any other unit, and "hello@1" is made from it, or from  ./hello@.ser-
               vice.

        OPTIONS
               --endpoint <URL>
                      Where  fleetd  listens: unix:///path/of/socket, http://host:port or https://host:port,
                      or several of them separated by commas, of which the first that answers is  used  [de-
                      fault: unix:///var/run/fleet.sock]

               --replace[=<BOOL>]
                      Take the local file if the cluster's differs

               --request-timeout <SECONDS>
                      Seconds to wait for the answer to one request [default: 10]

               --debug[=<BOOL>]
                      Say on stderr what is asked of which endpoint

               -h, --help
                      Print help, of a command if one is named

               --ca-file <FILE>
                      Authorities  that may have signed the certificate of an https:// endpoint, in PEM [de-
                      fault: the system's]

               --cert-file <FILE>
                      Certificate to show to an https:// endpoint, in PEM

               --key-file <FILE>
                      Key of that certificate, in PEM

               --tunnel <HOST>
                      Reach  the  cluster  through  this  SSH  host:  [user@]host[:port],  or  an  alias  of
                      ~/.ssh/config

               --ssh-username <USER>
                      User to log in as by SSH [default: what ~/.ssh/config says, else core]

               --ssh-timeout <SECONDS>
                      Seconds  to  wait  for  an SSH connection, and until one is given up that is lost [de-
                      fault: 10]

               --known-hosts-file <FILE>
                      Where the keys of SSH hosts are kept [default: ~/.fleetctl/known_hosts]

               --strict-host-key-checking[=<BOOL>]
                      Check the keys of SSH hosts [default: true]

               [UNIT] Units, or paths of unit files; a quoted pattern such as 'web@*' stands  for  units  in
                      the cluster



        fleet                                        fleet 2.0.0                          FLEETCTL-SUBMIT(1)
        "#);
    }
    assert_snapshot!(cluster.run("fleetctl man /dev/null/pages").await, @r#"
    [stderr]
    cannot write /dev/null/pages: Not a directory (os error 20)
    [exit 1]
    "#);
    cluster.end().await;
}
