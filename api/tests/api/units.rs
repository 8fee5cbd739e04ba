//! `/units`: the ancestor's algorithm for PUT with its faults mended, and what units look like.

use insta::assert_snapshot;
use model::{Change, Quarantined, RecordKey, TargetState};

use crate::harness::{FILE, HERE, THERE, assigned, machine, name, reported, server};

const OPTIONS: &str = r#"[{"section":"Service","name":"ExecStart","value":"/bin/sleep 1"}]"#;
const OTHER_OPTIONS: &str = r#"[{"section":"Service","name":"ExecStart","value":"/bin/sleep 2"}]"#;

#[tokio::test]
async fn put_creates_replaces_and_changes_state() {
    let server = server().await;
    let with =
        |state: &str, options: &str| format!("{{\"desiredState\":{state},\"options\":{options}}}");
    for (step, body, status, target, sleep) in [
        (
            "create without a state",
            with("null", OPTIONS),
            201,
            TargetState::Inactive,
            "1",
        ),
        (
            "start",
            "{\"desiredState\":\"launched\"}".into(),
            204,
            TargetState::Launched,
            "1",
        ),
        (
            "the same again",
            with("\"launched\"", OPTIONS),
            204,
            TargetState::Launched,
            "1",
        ),
        (
            "stop",
            "{\"DesiredState\":\"loaded\"}".into(),
            204,
            TargetState::Loaded,
            "1",
        ),
        (
            "replace, no state",
            with("\"\"", OTHER_OPTIONS),
            201,
            TargetState::Inactive,
            "2",
        ),
        (
            "replace and start",
            with("\"launched\"", OPTIONS),
            201,
            TargetState::Launched,
            "1",
        ),
    ] {
        println!("{step}: {body}");
        let answer = server.put("a.service", &body).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (status, ""),
            "{step}: {answer:?}"
        );
        let records = server.store.records();
        let unit = &records.units[&name("a.service")];
        assert_eq!(unit.target, target, "{step}");
        let raw = records.files[&unit.file].raw().to_owned();
        assert_eq!(
            raw,
            format!("[Service]\nExecStart=/bin/sleep {sleep}\n"),
            "{step}"
        );
    }
}

#[tokio::test]
async fn put_refuses_what_the_ancestor_refused_and_what_it_should_have() {
    let server = server().await;
    server.submit("there.service", FILE).await;
    server.submit("t@.service", FILE).await;
    let bad = r#"[{"section":"X-Fleet","name":"Globel","value":"true"},{"section":"X-Fleet","name":"MachineMetadata","value":"junk"}]"#;
    for (unit, body, status, message) in [
        ("a.service", "", 400, "unable to decode body: EOF"),
        ("a.service", "[]", 400, "unable to decode body: "),
        (
            "a.service",
            "{\"name\":\"b.service\"}",
            400,
            "name in URL \"a.service\" differs from unit name in request body \"b.service\"",
        ),
        ("a.servICE", "{}", 400, "invalid unit type: \"servICE\""),
        (
            "a%25.service",
            "{}",
            400,
            "invalid character '%' in unit name",
        ),
        (
            "a.service",
            "null",
            409,
            "unit does not exist and options field empty",
        ),
        (
            "t@1.service",
            "{\"desiredState\":\"launched\"}",
            409,
            "unit does not exist and options field empty",
        ),
        (
            "a.service",
            "{\"options\":[]}",
            409,
            "unit does not exist and options field empty",
        ),
        (
            "there.service",
            "{}",
            409,
            "must provide DesiredState to update existing unit",
        ),
        (
            "there.service",
            "{\"desiredState\":\"junk\"}",
            400,
            "invalid desiredState: \"junk\" is not a state",
        ),
        (
            "a.service",
            &format!("{{\"desiredState\":\"junk\",\"options\":{OPTIONS}}}"),
            400,
            "invalid desiredState",
        ),
        (
            "a.service",
            &format!("{{\"options\":{bad}}}"),
            400,
            "unknown option \"Globel\"",
        ),
        (
            "a.service",
            &format!("{{\"options\":{bad}}}"),
            400,
            "MachineMetadata \"junk\"",
        ),
        (
            "there.service",
            &format!("{{\"desiredState\":\"loaded\",\"options\":{bad}}}"),
            400,
            "unknown option",
        ),
        (
            "a.slice",
            &format!("{{\"options\":{OPTIONS}}}"),
            400,
            "slice",
        ),
        (
            "t@.service",
            "{\"desiredState\":\"launched\"}",
            400,
            "cannot activate template \"t@.service\"",
        ),
        (
            "u@.service",
            &format!("{{\"desiredState\":\"loaded\",\"options\":{OPTIONS}}}"),
            400,
            "cannot activate template \"u@.service\"",
        ),
        (
            "a.service",
            r#"{"options":[{"section":"Service","name":"X","value":"a\nb"}]}"#,
            400,
            "cannot be written to a unit file",
        ),
    ] {
        println!("PUT {unit} {body}");
        let answer = server.put(unit, body).await;
        assert_eq!(answer.status, status, "{unit} {body}: {answer:?}");
        assert!(
            answer.error().contains(message),
            "{unit} {body}: {answer:?}"
        );
    }
    let names: Vec<_> = server
        .store
        .records()
        .units
        .into_keys()
        .map(|n| n.to_string())
        .collect();
    assert_eq!(
        names,
        ["t@.service", "there.service"],
        "nothing was created"
    );
}

#[tokio::test]
async fn put_needs_one_json_content_type() {
    let server = server().await;
    let body = format!("{{\"options\":{OPTIONS}}}");
    for (headers, status, message) in [
        (&[][..], 415, "expected 1 Content-Type, got 0"),
        (
            &[
                "Content-Type: application/json",
                "Content-Type: application/json",
            ],
            415,
            "expected 1 Content-Type, got 2",
        ),
        (
            &["Content-Type: text/json"],
            415,
            "only acceptable Content-Type is application/json",
        ),
        (
            &["content-type:  application/json ; charset=utf-8"],
            201,
            "",
        ),
    ] {
        let answer = server
            .request_with("PUT", "/fleet/v1/units/a.service", headers, &body)
            .await;
        assert_eq!(answer.status, status, "{headers:?}");
        if status != 201 {
            assert_eq!(answer.error(), message);
        }
    }
}

#[tokio::test]
async fn the_same_options_keep_the_bytes_that_were_submitted() {
    let server = server().await;
    server.submit("a.service", FILE).await;
    let canonical = r#"{"desiredState":"loaded","options":[
        {"section":"Unit","name":"Description","value":"A <sleep>"},
        {"section":"Service","name":"ExecStart","value":"/bin/sleep 100"}]}"#;
    assert_eq!(server.put("a.service", canonical).await.status, 204);
    let answer = server.get("/fleet/v1/units/a.service/file").await;
    assert_eq!(answer.body, FILE);
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
}

#[tokio::test]
async fn delete_and_put_at_once_ends_in_the_new_content() {
    let server = server().await;
    server.submit("a.service", FILE).await;
    let answer = server
        .request("DELETE", "/fleet/v1/units/a.service", "")
        .await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    assert!(!answer.headers.contains_key("content-type"));
    assert_eq!(
        server
            .put("a.service", &format!("{{\"options\":{OPTIONS}}}"))
            .await
            .status,
        201
    );
    let answer = server.get("/fleet/v1/units/a.service/file").await;
    assert_eq!(answer.body, "[Service]\nExecStart=/bin/sleep 1\n");
    assert_eq!(
        server
            .request("DELETE", "/v1-alpha/units/a.service", "null")
            .await
            .status,
        204
    );
    assert_eq!(
        server
            .request("DELETE", "/v1-alpha/units/a.service", "null")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn a_damaged_unit_is_named_and_can_be_destroyed() {
    let server = server().await;
    let problem = Quarantined {
        key: "/fleet/units/a.service".into(),
        reason: "not JSON".into(),
    };
    let record = Some(RecordKey::Unit(name("a.service")));
    server
        .store
        .change([Change::Quarantined { record, problem }]);
    assert_eq!(server.get("/fleet/v1/units").await.body, "{}");
    let answer = server.get("/fleet/v1/units/a.service").await;
    assert_eq!(answer.status, 500);
    assert!(answer.error().contains("damaged"), "{answer:?}");
    let answer = server
        .put("a.service", &format!("{{\"options\":{OPTIONS}}}"))
        .await;
    assert_eq!(answer.status, 500);
    assert_eq!(
        server
            .request("DELETE", "/fleet/v1/units/a.service", "")
            .await
            .status,
        204
    );
    assert_eq!(server.get("/fleet/v1/units/a.service").await.status, 404);
}

#[tokio::test]
async fn units_look_as_the_ancestors() {
    let server = server().await;
    server.submit("b.service", FILE).await;
    server.submit("a.service", "[Service]\nExecStart=\n").await;
    server
        .submit(
            "g.service",
            "[Service]\nExecStart=/x\n[X-Fleet]\nGlobal=true\n",
        )
        .await;
    server.store.change([machine(HERE, "10.0.0.1", &[])]);
    for unit in ["b.service", "g.service"] {
        assert_eq!(
            server
                .put(unit, "{\"desiredState\":\"launched\"}")
                .await
                .status,
            204
        );
        server.store.change([
            assigned(unit, HERE, TargetState::Launched),
            reported(unit, HERE, TargetState::Launched, "running"),
        ]);
    }
    assert_snapshot!(server.get("/fleet/v1/units").await.body, @r#"{"units":[{"currentState":"inactive","desiredState":"inactive","name":"a.service","options":[{"name":"ExecStart","section":"Service"}]},{"currentState":"launched","desiredState":"launched","machineID":"aaaaaaaa000000000000000000000001","name":"b.service","options":[{"name":"Description","section":"Unit","value":"A \u003csleep\u003e"},{"name":"ExecStart","section":"Service","value":"/bin/sleep 100"}]},{"currentState":"inactive","desiredState":"launched","name":"g.service","options":[{"name":"ExecStart","section":"Service","value":"/x"},{"name":"Global","section":"X-Fleet","value":"true"}]}]}"#);
    assert_snapshot!(server.get("/fleet/v1/units/b.service").await.body, @r#"{"currentState":"launched","desiredState":"launched","machineID":"aaaaaaaa000000000000000000000001","name":"b.service","options":[{"name":"Description","section":"Unit","value":"A \u003csleep\u003e"},{"name":"ExecStart","section":"Service","value":"/bin/sleep 100"}]}"#);
    assert_snapshot!(server.get("/fleet/v1/units/g.service").await.body, @r#"{"desiredState":"launched","name":"g.service","options":[{"name":"ExecStart","section":"Service","value":"/x"},{"name":"Global","section":"X-Fleet","value":"true"}]}"#);
}

#[tokio::test]
async fn current_state_is_what_the_assigned_machine_reports() {
    let server = server().await;
    server.submit("a.service", FILE).await;
    let seen = async || {
        let unit = server.get("/fleet/v1/units/a.service").await.json();
        let text = |key: &str| unit[key].as_str().unwrap_or("-").to_owned();
        (text("currentState"), text("machineID"))
    };
    assert_eq!(seen().await, ("inactive".into(), "-".into()));
    println!("assigned, nothing reported yet");
    server
        .store
        .change([machine(HERE, "", &[]), machine(THERE, "", &[])]);
    server
        .store
        .change([assigned("a.service", HERE, TargetState::Launched)]);
    assert_eq!(seen().await, ("inactive".into(), HERE.into()));
    println!("another machine reports it");
    server.store.change([reported(
        "a.service",
        THERE,
        TargetState::Launched,
        "running",
    )]);
    assert_eq!(seen().await, ("inactive".into(), HERE.into()));
    println!("the assigned machine reports it");
    server
        .store
        .change([reported("a.service", HERE, TargetState::Loaded, "dead")]);
    assert_eq!(seen().await, ("loaded".into(), HERE.into()));
    println!("the assigned machine is gone, its report is not yet");
    server.store.change([crate::harness::machine_gone(HERE)]);
    assert_eq!(seen().await, ("inactive".into(), HERE.into()));
}
