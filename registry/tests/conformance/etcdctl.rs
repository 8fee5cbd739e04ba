//! Go's `etcdctl` drives the embedded etcd over TCP, as a person would.

use std::process::{Output, Stdio};
use std::time::Duration;

use registry::embedded::Embedded;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// Where Debian's package etcd-client puts it.
const BINARY: &str = "/usr/bin/etcdctl";

/// How long one call may take; longer than what it is told to take.
const LIMIT: Duration = Duration::from_secs(30);

struct Etcdctl {
    endpoint: String,
}

impl Etcdctl {
    fn command(&self, arguments: &[&str]) -> Command {
        println!("etcdctl {}", arguments.join(" "));
        let mut command = Command::new(BINARY);
        command
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoint])
            // Its own are 2 and 5 s, which a busy machine may need.
            .args(["--dial-timeout=20s", "--command-timeout=20s"])
            .args(arguments);
        command.kill_on_drop(true).stdin(Stdio::null());
        command
    }

    async fn output(&self, arguments: &[&str]) -> Output {
        tokio::time::timeout(LIMIT, self.command(arguments).output())
            .await
            .unwrap()
            .unwrap()
    }

    /// What it prints; it must succeed.
    async fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments).await;
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {out} {err}");
        // `endpoint health` writes to stderr.
        format!("{out}{err}")
    }

    async fn run_with_input(&self, arguments: &[&str], input: &str) -> String {
        let mut command = self.command(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .await
            .unwrap();
        let output = tokio::time::timeout(LIMIT, child.wait_with_output())
            .await
            .unwrap()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}");
        text(&output.stdout)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn etcdctl_drives_the_embedded_etcd() {
    if !std::path::Path::new(BINARY).exists() {
        assert!(std::env::var_os("CI").is_none(), "{BINARY} is missing");
        println!("SKIP: {BINARY} is missing (apt-get install etcd-client)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(&folder.path().join("store.redb"))
        .await
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let etcdctl = Etcdctl {
        endpoint: listener.local_addr().unwrap().to_string(),
    };
    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let (embedded, stop) = (embedded.clone(), stop.clone());
        async move { embedded.serve(listener, stop).await }
    });
    keys(&etcdctl).await;
    transactions(&etcdctl).await;
    leases(&etcdctl).await;
    watches(&etcdctl).await;
    locks(&etcdctl).await;
    health(&etcdctl).await;
    stop.cancel();
    serving.await.unwrap().unwrap();
    embedded.shutdown().await;
}

async fn keys(etcdctl: &Etcdctl) {
    assert_eq!(etcdctl.run(&["put", "dir/a", "1"]).await, "OK\n");
    assert_eq!(etcdctl.run(&["put", "dir/b", "2"]).await, "OK\n");
    assert_eq!(
        etcdctl.run(&["get", "--prefix", "dir/"]).await,
        "dir/a\n1\ndir/b\n2\n"
    );
    assert_eq!(
        etcdctl.run(&["put", "--prev-kv", "dir/a", "3"]).await,
        "OK\ndir/a\n1\n"
    );
    let json = etcdctl.run(&["get", "dir/a", "-w", "json"]).await;
    assert!(
        json.contains(r#""create_revision":2,"mod_revision":4,"version":2"#),
        "{json}"
    );
    assert_eq!(
        etcdctl.run(&["get", "dir/a", "--rev", "2"]).await,
        "dir/a\n1\n"
    );
    assert_eq!(
        etcdctl.run(&["compaction", "4"]).await,
        "compacted revision 4\n"
    );
    let gone = etcdctl.output(&["get", "dir/a", "--rev", "2"]).await;
    assert!(!gone.status.success());
    assert!(text(&gone.stderr).contains("mvcc: required revision has been compacted"));
    assert_eq!(etcdctl.run(&["del", "--prefix", "dir/"]).await, "2\n");
}

async fn transactions(etcdctl: &Etcdctl) {
    let input = "version(\"txn\") = \"0\"\n\nput txn yes\nget txn\n\nput txn no\n\n";
    let first = etcdctl.run_with_input(&["txn"], input).await;
    assert_eq!(first, "SUCCESS\n\nOK\n\ntxn\nyes\n");
    assert_eq!(
        etcdctl.run_with_input(&["txn"], input).await,
        "FAILURE\n\nOK\n"
    );
    assert_eq!(etcdctl.run(&["get", "txn"]).await, "txn\nno\n");
}

async fn leases(etcdctl: &Etcdctl) {
    let granted = etcdctl.run(&["lease", "grant", "60"]).await;
    let lease = granted.split_whitespace().nth(1).unwrap().to_owned();
    etcdctl
        .run(&["put", "on-lease", "1", "--lease", &lease])
        .await;
    let status = etcdctl
        .run(&["lease", "timetolive", "--keys", &lease])
        .await;
    assert!(status.contains("granted with TTL(60s)"), "{status}");
    assert!(status.contains("attached keys([on-lease])"), "{status}");
    let kept = etcdctl
        .run(&["lease", "keep-alive", "--once", &lease])
        .await;
    assert!(kept.contains("keepalived with TTL(60)"), "{kept}");
    let listed = etcdctl.run(&["lease", "list"]).await;
    assert!(listed.contains(&lease), "{listed}");
    let revoked = etcdctl.run(&["lease", "revoke", &lease]).await;
    assert!(revoked.contains("revoked"), "{revoked}");
    assert_eq!(etcdctl.run(&["get", "on-lease"]).await, "");
    let expired = etcdctl.run(&["lease", "timetolive", &lease]).await;
    assert!(expired.contains("already expired"), "{expired}");
}

async fn watches(etcdctl: &Etcdctl) {
    let header = etcdctl.run(&["put", "watched", "1", "-w", "json"]).await;
    let revision: i64 = header
        .split("\"revision\":")
        .nth(1)
        .unwrap()
        .split(',')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let mut command = etcdctl.command(&[
        "watch",
        "--prev-kv",
        "watched",
        "--rev",
        &revision.to_string(),
    ]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    etcdctl.run(&["put", "watched", "2"]).await;
    etcdctl.run(&["del", "watched"]).await;
    let mut seen = Vec::new();
    while seen.len() < 12 {
        let line = tokio::time::timeout(LIMIT, lines.next_line());
        seen.push(line.await.expect("no more events").unwrap().unwrap());
    }
    let expected = "PUT|watched|1|PUT|watched|1|watched|2|DELETE|watched|2|watched";
    assert_eq!(seen.join("|"), expected);
    child.kill().await.unwrap();
}

/// Client-side recipes on leases, transactions and watches.
async fn locks(etcdctl: &Etcdctl) {
    assert_eq!(
        etcdctl.run(&["lock", "mutex", "echo", "locked"]).await,
        "locked\n"
    );
    assert_eq!(
        etcdctl.run(&["lock", "mutex", "echo", "again"]).await,
        "again\n"
    );
}

async fn health(etcdctl: &Etcdctl) {
    let health = etcdctl.run(&["endpoint", "health"]).await;
    assert!(health.contains("is healthy"), "{health}");
    let status = etcdctl.run(&["endpoint", "status"]).await;
    assert!(
        status.contains("3.4.0-fleet, ") && status.contains("true, false"),
        "{status}"
    );
    let members = etcdctl.run(&["member", "list"]).await;
    assert!(members.contains("started, fleet-embedded"), "{members}");
    assert!(
        members.contains(&format!("http://{}", etcdctl.endpoint)),
        "{members}"
    );
    let refused = etcdctl
        .output(&["member", "add", "x", "--peer-urls", "http://x:1"])
        .await;
    assert!(!refused.status.success());
    assert!(
        text(&refused.stderr).contains("single node"),
        "{}",
        text(&refused.stderr)
    );
}
