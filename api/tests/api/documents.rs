//! The API's descriptions of itself hold: every route is described, everything described is there, and answers have the
//! fields that are described and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{
    ActiveState, Brake, BrakePhase, Change, Hold, HoldReason, JobResult, Leader, Obstacle,
    Quarantined, StoreError, TargetState,
};
use serde_json::{Value, json};

use crate::advice::Advice;
use crate::harness::{
    Answer, FILE, HERE, Server, THERE, assigned, machine, machine_id, name, reported, server_with,
    settings,
};
use crate::memory::{Health, Mood};

const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

fn openapi() -> Value {
    serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap()
}

/// The paths the router has, read from its source: those under the prefix with `/fleet/v1` in front.
fn routes() -> BTreeSet<String> {
    let source = include_str!("../../src/server/mod.rs");
    let mut routes = BTreeSet::new();
    for line in source.lines().map(str::trim) {
        let line = line
            .strip_prefix("let mut router = Router::new()")
            .unwrap_or(line);
        let quoted = |line: &str| line.split('"').nth(1).unwrap().to_owned();
        if let Some(rest) = line.strip_prefix(".route(&at(") {
            let path = quoted(rest).replace("{name}", "{unitName}");
            routes.insert(format!("/fleet/v1{path}"));
        } else if let Some(rest) = line.strip_prefix(".route(\"") {
            routes.insert(quoted(&format!("\"{rest}")));
        }
    }
    // It only says that there is nothing here.
    assert!(routes.remove("/"), "{routes:?}");
    assert!(routes.len() > 12, "{routes:?}");
    routes
}

#[tokio::test]
async fn every_route_is_described_and_every_method_is_there() {
    let document = openapi();
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.keys().cloned().collect::<BTreeSet<_>>(), routes());
    let server = rich().await;
    for (path, operations) in paths {
        let path = path.replace("{unitName}", "absent.service");
        for method in METHODS {
            if method == "get" && path.ends_with("/events") {
                continue;
            }
            let answer = server.request(&method.to_uppercase(), &path, "").await;
            println!("{method} {path}: {}", answer.status);
            let refused = answer.status == 405
                || answer
                    .body
                    .contains("only HTTP GET supported against this resource");
            assert_eq!(refused, operations.get(method).is_none(), "{method} {path}");
            assert!(
                answer.status != 404 || answer.error() != "",
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn the_documents_are_served_as_they_are_checked_in() {
    let server = rich().await;
    assert_eq!(server.get("/openapi.json").await.json(), openapi());
    let discovery = server.get("/fleet/v1/discovery").await;
    assert_eq!(discovery.body, server.get("/v1-alpha/discovery").await.body);
    let answer = server.request("POST", "/fleet/v1/discovery", "").await;
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (400, "only HTTP GET supported against this resource")
    );
}

#[tokio::test]
async fn the_discovery_document_says_the_same() {
    let server = rich().await;
    let discovery = server.get("/fleet/v1/discovery").await.json();
    assert_eq!(discovery["rootUrl"], "$ENDPOINT/");
    assert_eq!(discovery["servicePath"], "fleet/v1/");
    let openapi = openapi();
    let schemas = |name: &str| match name {
        "UnitStatePage" => "StatePage".to_owned(),
        "MachineMetadataOp" => "MachinePatch".to_owned(),
        name => name.to_owned(),
    };
    for (name, schema) in discovery["schemas"].as_object().unwrap() {
        if schema["type"] == "array" {
            continue;
        }
        let ours = &openapi["components"]["schemas"][schemas(name)]["properties"];
        assert_eq!(fields(&schema["properties"]), fields(ours), "{name}");
    }
    let mut methods = Vec::new();
    for (resource, of) in discovery["resources"].as_object().unwrap() {
        for (method, described) in of["methods"].as_object().unwrap() {
            methods.push(format!("{resource}.{method}"));
            let path = format!("/fleet/v1/{}", described["path"].as_str().unwrap());
            let verb = described["httpMethod"].as_str().unwrap().to_lowercase();
            let ours = &openapi["paths"][&path];
            assert!(ours[&verb].is_object(), "{verb} {path}");
            for (parameter, place) in described["parameters"].as_object().into_iter().flatten() {
                let known = [&ours["parameters"], &ours[&verb]["parameters"]];
                let known = known.into_iter().filter_map(Value::as_array).flatten();
                assert!(
                    known.clone().any(
                        |known| known["name"] == *parameter && known["in"] == place["location"]
                    ),
                    "{verb} {path}: {parameter}"
                );
            }
        }
    }
    methods.sort();
    assert_eq!(
        methods.join(" "),
        "Machines.List Machines.Patch UnitState.Get UnitState.List Units.Delete Units.Get Units.List Units.Set"
    );
}

fn fields(properties: &Value) -> BTreeSet<String> {
    properties.as_object().unwrap().keys().cloned().collect()
}

/// Holds values against the schemas and notes which fields were seen.
struct Checker {
    schemas: Value,
    seen: BTreeMap<String, BTreeSet<String>>,
}

impl Checker {
    fn check(&mut self, schema: &Value, value: &Value, at: &str) {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap();
            let schema = self.schemas[name].clone();
            assert!(schema.is_object(), "{at}: no schema {name}");
            if let Some(object) = value.as_object() {
                let seen = self.seen.entry(name.to_owned()).or_default();
                seen.extend(object.keys().cloned());
            }
            return self.check(&schema, value, at);
        }
        match schema["type"].as_str().unwrap() {
            "string" => {
                let text = value.as_str().unwrap_or_else(|| panic!("{at}: {value}"));
                if let Some(allowed) = schema["enum"].as_array() {
                    assert!(allowed.iter().any(|one| one == text), "{at}: {text}");
                }
            }
            "integer" => assert!(value.is_u64(), "{at}: {value}"),
            "boolean" => assert!(value.is_boolean(), "{at}: {value}"),
            "array" => {
                let items = value.as_array().unwrap_or_else(|| panic!("{at}: {value}"));
                for item in items {
                    self.check(&schema["items"], item, &format!("{at}[]"));
                }
            }
            "object" => {
                let object = value.as_object().unwrap_or_else(|| panic!("{at}: {value}"));
                for required in schema["required"].as_array().into_iter().flatten() {
                    let required = required.as_str().unwrap();
                    assert!(object.contains_key(required), "{at}: {required} is missing");
                }
                for (key, value) in object {
                    let at = format!("{at}.{key}");
                    match &schema["properties"][key] {
                        Value::Null if schema["additionalProperties"].is_object() => {
                            self.check(&schema["additionalProperties"], value, &at);
                        }
                        Value::Null => panic!("{at} is not described"),
                        property => self.check(property, value, &at),
                    }
                }
            }
            other => panic!("{at}: {other}"),
        }
    }

    fn answer(&mut self, schema: &str, answer: &Answer) {
        println!("{schema}: {}", answer.body);
        let reference = json!({"$ref": format!("#/components/schemas/{schema}")});
        self.check(&reference, &answer.json(), schema);
    }
}

/// A cluster in which every field of every answer has something to say, on pages of two.
async fn rich() -> Server {
    let server = server_with(api::server::Settings {
        token_limit: 2.try_into().unwrap(),
        placement: Some(Arc::new(Advice)),
        ..settings()
    })
    .await;
    for unit in ["a.service", "b.service", "c.service"] {
        server.submit(unit, FILE).await;
    }
    let global = format!("{FILE}[X-Fleet]\nGlobal=true\n");
    server.submit("everywhere.service", &global).await;
    let hold = Hold {
        reason: HoldReason::NothingFits,
        obstacles: vec![(machine_id(HERE), Obstacle::Cordoned)],
        machines: 1,
    };
    let mut failed = reported("b.service", HERE, TargetState::Launched, "dead");
    if let Change::Status(_, _, Some(status)) = &mut failed {
        status.active = ActiveState::from_word("failed");
        let job = status.job.as_mut().unwrap();
        job.result = JobResult::from_word("failed");
        job.message = "exit-code: status 203/EXEC".to_owned();
    }
    server.store.change([
        machine(HERE, "10.0.0.1", &[("zone", "a")]),
        machine(THERE, "10.0.0.2", &[]),
        machine("cccccccc000000000000000000000003", "", &[]),
        assigned("a.service", HERE, TargetState::Launched),
        assigned("everywhere.service", THERE, TargetState::Launched),
        reported("a.service", HERE, TargetState::Launched, "running"),
        reported("a.service", THERE, TargetState::Launched, "running"),
        reported("everywhere.service", HERE, TargetState::Launched, "running"),
        failed,
        Change::Hold(name("c.service"), Some(hold)),
        Change::Leader(Some(Leader {
            machine: machine_id(HERE),
        })),
        Change::Brake(Some(Brake {
            phase: BrakePhase::Moving,
            cluster: 12,
            machines: [machine_id("dddddddd")].into(),
        })),
        Change::Quarantined {
            record: None,
            problem: Quarantined {
                key: "/_coreos.com/fleet/units/x".to_owned(),
                reason: "not JSON".to_owned(),
            },
        },
    ]);
    server
}

#[tokio::test]
async fn answers_have_the_fields_that_are_described_and_all_of_them_occur() {
    let server = rich().await;
    let mut checker = Checker {
        schemas: openapi()["components"]["schemas"].clone(),
        seen: BTreeMap::new(),
    };
    for (schema, path) in [
        ("UnitPage", "units"),
        ("Unit", "units/a.service"),
        ("Unit", "units/everywhere.service"),
        ("Explanation", "units/a.service/explanation"),
        ("Explanation", "units/everywhere.service/explanation"),
        ("Explanation", "units/c.service/explanation"),
        ("StatePage", "state"),
        ("UnitState", "state/a.service"),
        ("MachinePage", "machines"),
        ("Overview", "overview"),
        ("Diagnosis", "diagnosis"),
        ("Quarantine", "quarantine"),
        ("Version", "version"),
        ("Failure", "units/absent.service"),
    ] {
        let answer = server.get(&format!("/fleet/v1/{path}")).await;
        checker.answer(schema, &answer);
    }
    println!(
        "one machine says that its clock is 300 s ahead, 5 ms more or less; the others do not say"
    );
    server.store.health_is(Health::Ailing);
    let ailing = server.get("/fleet/v1/diagnosis").await;
    checker.answer("Diagnosis", &ailing);
    let diagnosis = ailing.json();
    let machines = diagnosis["machines"].as_array().unwrap();
    let ahead: Vec<&Value> = machines.iter().map(|it| &it["aheadMs"]).collect();
    assert_eq!(*ahead[0], 299_990, "{diagnosis}");
    assert!(ahead[1..].iter().all(|it| it.is_null()), "{diagnosis}");
    println!("of a machine that the brake is about it is not said that it is behind");
    let behind = |diagnosis: &Value| diagnosis["behind"].to_string().contains(THERE);
    assert!(behind(&diagnosis), "{diagnosis}");
    let brake = Brake {
        phase: BrakePhase::Holding,
        cluster: 12,
        machines: [machine_id(THERE)].into(),
    };
    server.store.change([Change::Brake(Some(brake))]);
    let braked = server.get("/fleet/v1/diagnosis").await.json();
    assert!(!behind(&braked), "{braked}");
    assert_eq!(braked["brake"]["machines"], json!([THERE]));
    assert_eq!(braked["brake"]["phase"], "holding");
    println!("what is said of a store that does not answer");
    server
        .store
        .mood(Mood::Fails(StoreError::Unreachable("gone".to_owned())));
    checker.answer("Diagnosis", &server.get("/fleet/v1/diagnosis").await);
    server.store.mood(Mood::Well);
    println!("what is sent, and what comes back");
    let put = json!({"name": "d.service", "desiredState": "launched",
        "options": [{"section": "Service", "name": "ExecStart", "value": "/bin/true"}]});
    let patch =
        json!([{"op": "add", "path": format!("/{HERE}/metadata/disk"), "value": {"value": "ssd"}}]);
    let batch = json!({"requests": [
        {"name": "e.service", "action": "start", "content": FILE},
        {"name": "e.service", "action": "submit", "content": "[Service]\nExecStart=/bin/other\n", "replace": true},
        {"name": "f@1.service", "action": "load", "template": FILE},
        {"name": "absent.service", "action": "stop"}]});
    // Only what is on a machine can be asked to move.
    let start = json!({"requests": [{"name": "a.service", "action": "start"}]}).to_string();
    server.request("POST", "/fleet/v1/batch", &start).await;
    let rebalance = json!({"maxMoves": 10, "dryRun": false});
    let paths = openapi()["paths"].clone();
    let body_of = |path: &str, method: &str| {
        paths[path][method]["requestBody"]["content"]["application/json"]["schema"].clone()
    };
    for (method, path, described, body) in [
        (
            "put",
            "/fleet/v1/units/d.service",
            "/fleet/v1/units/{unitName}",
            &put,
        ),
        ("patch", "/fleet/v1/machines", "/fleet/v1/machines", &patch),
        ("post", "/fleet/v1/batch", "/fleet/v1/batch", &batch),
        ("post", "/fleet/v1/plan", "/fleet/v1/plan", &batch),
        (
            "post",
            "/fleet/v1/rebalance",
            "/fleet/v1/rebalance",
            &rebalance,
        ),
    ] {
        checker.check(&body_of(described, method), body, described);
        let answer = server
            .request(&method.to_uppercase(), path, &body.to_string())
            .await;
        let known = &paths[described][method]["responses"];
        assert!(known[answer.status.to_string()].is_object(), "{answer:?}");
        if answer.status == 200 {
            let schema = &known["200"]["content"]["application/json"]["schema"]["$ref"];
            let schema = schema.as_str().unwrap().rsplit('/').next().unwrap();
            checker.answer(schema, &answer);
        }
    }
    let invalid = json!({"requests": [{"name": "no name", "action": "stop"}]});
    let answer = server
        .request("POST", "/fleet/v1/batch", &invalid.to_string())
        .await;
    assert_eq!(answer.status, 400);
    checker.answer("BatchAnswer", &answer);

    let mut unseen = Vec::new();
    for (name, schema) in checker.schemas.as_object().unwrap() {
        let seen = checker.seen.get(name).cloned().unwrap_or_default();
        let missing = fields(&schema["properties"]);
        unseen.extend(
            missing
                .difference(&seen)
                .map(|field| format!("{name}.{field}")),
        );
    }
    assert_eq!(unseen, Vec::<String>::new(), "described, and never there");
}
