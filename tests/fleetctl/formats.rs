//! `-o` and `--fields`: docs/output.md has every field that read commands print, and they print every field it has.

use std::collections::{BTreeMap, BTreeSet};

use insta::assert_snapshot;
use model::{Change, Quarantined};
use serde_json::Value;

use crate::cluster::{Cluster, FILE, cluster};
use crate::help::commands;

const PAGE: &str = include_str!("../../docs/output.md");

/// Objects whose keys are users' own.
const FREE: [&str; 1] = ["metadata"];

/// A documented field: its type and where it is shown.
#[derive(Debug)]
struct Documented {
    kind: String,
    shown: String,
}

/// The fields of each command, by the headings of the page.
fn documented() -> BTreeMap<String, BTreeMap<String, Documented>> {
    let mut commands = BTreeMap::new();
    for section in PAGE.split("\n## ").skip(1) {
        let (name, body) = section.split_once('\n').unwrap();
        let mut fields = BTreeMap::new();
        for row in body.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            if let ["", field, kind, shown, _meaning, ""] = cells[..] {
                let field = field.trim_matches('`').to_owned();
                let (kind, shown) = (kind.to_owned(), shown.to_owned());
                assert!(
                    fields.insert(field, Documented { kind, shown }).is_none(),
                    "{row}"
                );
            }
        }
        if !fields.is_empty() {
            commands.insert(name.to_owned(), fields);
        }
    }
    commands
}

/// Every field below `value`, with the types it was seen with.
fn fields(path: &str, value: &Value, into: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    };
    if !path.is_empty() && !path.ends_with("[]") {
        into.entry(path.to_owned()).or_default().insert(kind);
    }
    match value {
        Value::Object(object) if !FREE.contains(&path) => {
            for (key, value) in object {
                let inner = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                fields(&inner, value, into);
            }
        }
        Value::Array(list) => {
            for value in list {
                fields(&format!("{path}[]"), value, into);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {}
    }
}

/// A cluster in which every field has something to say somewhere, and nothing elsewhere.
async fn rich() -> Cluster {
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
    cluster.file("nowhere.service", FILE);
    cluster.file("unloadable.service", FILE);
    cluster.run("fleetctl start web").await;
    cluster.run("fleetctl start log").await;
    cluster.run("fleetctl submit idle").await;
    cluster.run("fleetctl start nowhere").await;
    cluster.run("fleetctl start unloadable").await;
    cluster.until_reported("log.service", 2).await;
    cluster
}

/// How each command is called to show all it has.
fn line(command: &str) -> String {
    match command {
        "cat" => "fleetctl cat *".to_owned(),
        "explain" => "fleetctl explain web log picky".to_owned(),
        "plan" => "fleetctl plan web.service tape.service --replace".to_owned(),
        "rebalance" => "fleetctl rebalance --dry-run".to_owned(),
        "status" => "fleetctl status log web -m aaaa".to_owned(),
        other => format!("fleetctl {other}"),
    }
}

async fn document(cluster: &Cluster, line: &str) -> Value {
    let seen = cluster.run(&format!("{line} -o json")).await;
    let text = seen.strip_prefix("[stdout]\n").unwrap();
    let (text, _) = text.rsplit_once("[exit ").unwrap();
    serde_json::from_str(text).unwrap()
}

/// A record that cannot be understood.
fn damage(cluster: &Cluster) {
    let problem = Quarantined {
        key: "/_coreos.com/fleet/holds/x".to_owned(),
        reason: "not JSON".to_owned(),
    };
    cluster.store.change([Change::Quarantined {
        record: None,
        problem,
    }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_read_command_is_documented_and_every_documented_one_is_there() {
    let cluster = cluster().await;
    let mut readers = BTreeSet::new();
    for command in commands(&cluster).await {
        let help = cluster.run(&format!("fleetctl help {command}")).await;
        if help.contains("--output=FORMAT") {
            readers.insert(command);
        }
    }
    let documented: BTreeSet<_> = documented().into_keys().collect();
    assert_eq!(readers, documented);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_have_the_documented_fields_and_no_others() {
    let cluster = rich().await;
    cluster.file(
        "picky.service",
        format!("{FILE}[X-Fleet]\nMachineMetadata=region=us\n"),
    );
    cluster.file(
        "pair.service",
        format!("{FILE}[X-Fleet]\nMachineOf=web.service\n"),
    );
    cluster.run("fleetctl start picky pair").await;
    for unit in ["one.service", "two.service", "three.service"] {
        cluster.file(unit, FILE);
    }
    // All on one machine, by the machines of this test.
    cluster.run("fleetctl start one two three").await;
    cluster.file(
        "web.service",
        format!("{FILE}[X-Fleet]\nMachineID=bbbbbbbb\n"),
    );
    cluster.file(
        "tape.service",
        format!("{FILE}[X-Fleet]\nMachineMetadata=disk=tape\n"),
    );
    for (command, documented) in documented() {
        if command == "quarantine" {
            damage(&cluster);
        }
        let value = document(&cluster, &line(&command)).await;
        let mut seen = BTreeMap::new();
        match &value {
            Value::Array(rows) => rows.iter().for_each(|row| fields("", row, &mut seen)),
            other => fields("", other, &mut seen),
        }
        let names: Vec<_> = seen.keys().collect();
        let expected: Vec<_> = documented
            .iter()
            .filter(|(_, field)| field.shown != "named")
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, expected, "{command}");
        for (name, kinds) in &seen {
            let kind = &documented[name].kind;
            for seen in kinds {
                assert!(
                    kind.contains(seen),
                    "{command}: {name} is {seen}, not {kind}"
                );
            }
        }
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_the_documented_ones() {
    let cluster = rich().await;
    for (command, documented) in documented() {
        if command == "quarantine" {
            damage(&cluster);
        }
        let columns = async |flags: &str| {
            let seen = cluster.run(&format!("fleetctl {command} {flags}")).await;
            let (_, text) = seen.split_once("[stdout]\n").unwrap();
            let legend = text.lines().next().unwrap().to_lowercase();
            let names = legend.split('⇥').filter(|name| !name.is_empty());
            names.map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let shown = |places: &[&str]| {
            let fields = documented
                .iter()
                .filter(|(_, field)| places.contains(&field.shown.as_str()));
            fields
                .map(|(name, _)| name.clone())
                .collect::<BTreeSet<_>>()
        };
        let all = shown(&["table", "wide", "document", "named"]);
        if !all.iter().any(|name| documented[name].shown == "table") {
            continue;
        }
        assert_eq!(columns("").await, shown(&["table"]), "{command}");
        assert_eq!(
            columns("-o wide").await,
            shown(&["table", "wide"]),
            "{command}"
        );
        let named = all.iter().cloned().collect::<Vec<_>>().join(",");
        assert_eq!(columns(&format!("--fields={named}")).await, all);
        let refused = cluster.run(&format!("fleetctl {command} --fields=x")).await;
        let (_, valid) = refused.split_once("Valid fields are: ").unwrap();
        let valid = valid.lines().next().unwrap().split(", ");
        assert_eq!(valid.map(str::to_owned).collect::<BTreeSet<_>>(), all);
        // What a document has can be chosen, too.
        let one = all.first().unwrap();
        let chosen = document(&cluster, &format!("fleetctl {command} --fields={one}")).await;
        let row = chosen[0].as_object().unwrap();
        assert_eq!(row.keys().collect::<Vec<_>>(), [one], "{command}");
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_as_json_as_yaml_and_empty() {
    let cluster = rich().await;
    assert_snapshot!(cluster.run("fleetctl list-machines -o json").await, @r#"
    [stdout]
    [
      {
        "ip": "10.0.0.1",
        "machine": "aaaaaaaa000000000000000000000001",
        "metadata": {
          "disk": "ssd",
          "region": "eu"
        },
        "version": "2.0.0"
      },
      {
        "ip": "10.0.0.2",
        "machine": "bbbbbbbb000000000000000000000002",
        "metadata": {},
        "version": "2.0.0"
      }
    ]
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl list-unit-files -o yaml --fields=unit,target,launched,hold").await, @r#"
    [stdout]
    - hold: null
      launched: null
      target: null
      unit: idle.service
    - hold: null
      launched: 2
      target: null
      unit: log.service
    - hold:
        machines: 2
        obstacles:
          - machine: aaaaaaaa000000000000000000000001
            reason: "metadata region=us is wanted, it has eu"
          - machine: bbbbbbbb000000000000000000000002
            reason: "metadata region=us is wanted, it has no such key"
        reason: "no machine can run it"
      launched: null
      target: null
      unit: nowhere.service
    - hold: null
      launched: null
      target: aaaaaaaa000000000000000000000001
      unit: unloadable.service
    - hold: null
      launched: null
      target: aaaaaaaa000000000000000000000001
      unit: web.service
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl cat web -o yaml").await, @r#"
    [stdout]
    - content: "[Unit]\nDescription=The web\n[Service]\nExecStart=/bin/web\n"
      hash: "492c75e53bbf258f01f0122a0cbfb82876088fb9"
      options:
        - name: Description
          section: Unit
          value: "The web"
        - name: ExecStart
          section: Service
          value: "/bin/web"
      unit: web.service
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl list-unit-files -o wide").await, @r#"
    [stdout]
    UNIT⇥⇥⇥HASH⇥DSTATE⇥⇥STATE⇥⇥TARGET⇥⇥⇥GLOBAL⇥LAUNCHED⇥DESC⇥HOLD
    idle.service⇥⇥1c6fb6f⇥inactive⇥inactive⇥-⇥⇥⇥false⇥-⇥⇥-⇥-
    log.service⇥⇥419708c⇥launched⇥-⇥⇥global⇥⇥⇥true⇥2⇥⇥-⇥-
    nowhere.service⇥⇥1c6fb6f⇥launched⇥inactive⇥-⇥⇥⇥false⇥-⇥⇥-⇥no machine can run it
    unloadable.service⇥1c6fb6f⇥launched⇥launched⇥aaaaaaaa.../10.0.0.1⇥false⇥-⇥⇥-⇥-
    web.service⇥⇥492c75e⇥launched⇥launched⇥aaaaaaaa.../10.0.0.1⇥false⇥-⇥⇥The web⇥-
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl version -o json").await, @r#"
    [stdout]
    {
      "version": "2.0.0"
    }
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl list-units --output=xml").await, @r#"
    [stderr]
    Error: invalid value 'xml' for '--output <FORMAT>'
      [possible values: table, wide, json, yaml]
    Run 'fleetctl --help' for usage.
    [exit 1]
    "#);
    cluster.run("fleetctl destroy * -y").await;
    assert_snapshot!(cluster.run("fleetctl list-units -o json").await, @r#"
    [stdout]
    []
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl list-units -o yaml").await, @r#"
    [stdout]
    []
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn yaml_is_what_json_is_to_a_reader_of_both() {
    let check = "import json, sys, yaml\nsys.exit(yaml.safe_load(open(sys.argv[1])) != json.load(open(sys.argv[2])))";
    let python = |arguments: &[&str]| {
        let mut command = std::process::Command::new("python3");
        command.args(arguments).output().unwrap().status.success()
    };
    if !python(&["-c", "import yaml"]) {
        println!("SKIPPED: python3 has no yaml here (apt-get install python3-yaml)");
        return;
    }
    let cluster = rich().await;
    let odd = "[Unit]\nDescription=: - ? # 'a' \"b\" \\ yes 1e3 ~ ü\n[Service]\nExecStart=/bin/echo \\\n  \ttab\n\n# the end\n";
    cluster.file("odd.service", odd);
    cluster.run("fleetctl submit odd").await;
    for line in [
        "fleetctl cat *",
        "fleetctl list-unit-files",
        "fleetctl list-units",
        "fleetctl status web",
    ] {
        for form in ["yaml", "json"] {
            let seen = cluster
                .run(&format!("{line} -o {form}"))
                .await
                .replace('⇥', "\t");
            let text = seen.strip_prefix("[stdout]\n").unwrap();
            let (text, _) = text.rsplit_once("[exit 0]").unwrap();
            cluster.file(&format!("answer.{form}"), text);
        }
        let path = |form: &str| cluster.folder.join(format!("answer.{form}"));
        let (yaml, json) = (path("yaml"), path("json"));
        let same = python(&["-c", check, yaml.to_str().unwrap(), json.to_str().unwrap()]);
        assert!(same, "{line}");
    }
    cluster.end().await;
}
