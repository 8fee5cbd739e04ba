//! `/state` and `/machines`, paging, and metadata changes.

use std::num::NonZeroU16;

use api::server::Settings;
use insta::assert_snapshot;
use model::TargetState;

use crate::harness::{
    FILE, HERE, THERE, machine, machine_gone, reported, server, server_with, settings,
};

#[tokio::test]
async fn states_are_filtered_and_only_of_machines_that_are_there() {
    let server = server().await;
    server.store.change([
        machine(HERE, "", &[]),
        machine(THERE, "", &[]),
        reported("b.service", THERE, TargetState::Launched, "running"),
        reported("a.service", THERE, TargetState::Loaded, "dead"),
        reported("a.service", HERE, TargetState::Launched, "running"),
    ]);
    assert_snapshot!(server.get("/fleet/v1/state").await.body, @r#"{"states":[{"hash":"f392349514e58de034c952564ce97774d191284b","machineID":"aaaaaaaa000000000000000000000001","name":"a.service","systemdActiveState":"active","systemdLoadState":"loaded","systemdSubState":"running"},{"hash":"f392349514e58de034c952564ce97774d191284b","machineID":"bbbbbbbb000000000000000000000002","name":"a.service","systemdActiveState":"inactive","systemdLoadState":"loaded","systemdSubState":"dead"},{"hash":"f392349514e58de034c952564ce97774d191284b","machineID":"bbbbbbbb000000000000000000000002","name":"b.service","systemdActiveState":"active","systemdLoadState":"loaded","systemdSubState":"running"}]}"#);
    assert_snapshot!(server.get("/fleet/v1/state/a.service").await.body, @r#"{"hash":"f392349514e58de034c952564ce97774d191284b","machineID":"aaaaaaaa000000000000000000000001","name":"a.service","systemdActiveState":"active","systemdLoadState":"loaded","systemdSubState":"running"}"#);
    let rows = async |query: &str| {
        let answer = server.get(&format!("/fleet/v1/state{query}")).await.json();
        let rows = answer["states"].as_array().cloned().unwrap_or_default();
        let show = |row: &serde_json::Value| {
            format!(
                "{} {}",
                row["name"].as_str().unwrap(),
                &row["machineID"].as_str().unwrap()[..1]
            )
        };
        rows.iter().map(show).collect::<Vec<_>>().join(", ")
    };
    for (query, expected) in [
        ("", "a.service a, a.service b, b.service b"),
        ("?unitName=a.service", "a.service a, a.service b"),
        (
            "?unitName=a.service&unitName=b.service",
            "a.service a, a.service b",
        ),
        (&format!("?machineID={THERE}"), "a.service b, b.service b"),
        (
            &format!("?machineID={THERE}&unitName=b.service&alt=json"),
            "b.service b",
        ),
        (
            "?machineID=&unitName=",
            "a.service a, a.service b, b.service b",
        ),
        ("?unitName=*", ""),
    ] {
        assert_eq!(rows(query).await, expected, "{query}");
    }
    println!("a machine is lost");
    server.store.change([machine_gone(THERE)]);
    assert_eq!(rows("").await, "a.service a");
    assert_eq!(server.get("/fleet/v1/state/b.service").await.status, 404);
}

#[tokio::test]
async fn machines_look_as_the_ancestors() {
    let server = server().await;
    server.store.change([
        machine("YYY", "1.2.3.4", &[("ping", "pong")]),
        machine("XXX", "", &[]),
    ]);
    assert_snapshot!(server.get("/fleet/v1/machines").await.body, @r#"{"machines":[{"id":"XXX"},{"id":"YYY","metadata":{"ping":"pong"},"primaryIP":"1.2.3.4"}]}"#);
}

#[tokio::test]
async fn metadata_is_changed_by_patch() {
    let server = server().await;
    server
        .store
        .change([machine(HERE, "", &[("own", "1"), ("zone", "a")])]);
    let patch = format!(
        r#"[{{"op":"add","path":"/{HERE}/metadata/disk","Value":{{"Value":"ssd"}}}},
            {{"op":"replace","path":"/{HERE}/metadata/zone","value":{{"value":"b"}}}},
            {{"op":"remove","path":"/{HERE}/metadata/own"}},
            {{"op":"add","path":"/absent/metadata/x.y_z-1","value":{{"value":"1"}}}}]"#
    );
    let answer = server
        .request_with("PATCH", "/fleet/v1/machines", &[], &patch)
        .await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_snapshot!(server.get("/fleet/v1/machines").await.body, @r#"{"machines":[{"id":"aaaaaaaa000000000000000000000001","metadata":{"disk":"ssd","zone":"b"}}]}"#);
    assert_eq!(
        server
            .request("PATCH", "/fleet/v1/machines", "[]")
            .await
            .status,
        204
    );

    let before = server.store.records();
    for (patch, message) in [
        ("", "unable to decode body: EOF"),
        ("{}", "unable to decode body: "),
        (
            r#"[{"op":"add","path":"/a/metadata/b","value":"plain"}]"#,
            "unable to decode body: ",
        ),
        (
            r#"[{"op":"test","path":"/a/metadata/b"}]"#,
            "invalid op: expect add, remove, or replace",
        ),
        (
            r#"[{"op":"remove","path":"/a/b/metadata/c"}]"#,
            "machine metadata path invalid",
        ),
        (
            r#"[{"op":"remove","path":"/a/metadata/"}]"#,
            "machine metadata path invalid",
        ),
        (
            r#"[{"op":"remove","path":"/a/metadata/b c"}]"#,
            "machine metadata path invalid",
        ),
        (
            r#"[{"op":"remove","path":"a/metadata/b"}]"#,
            "machine metadata path invalid",
        ),
        (
            r#"[{"op":"add","path":"/a/metadata/b"}]"#,
            "invalid value: add and replace require a value",
        ),
        (
            r#"[{"op":"remove","path":"/a/metadata/b"},{"op":"replace","path":"/a/metadata/b","value":null}]"#,
            "invalid value: add and replace require a value",
        ),
    ] {
        let answer = server.request("PATCH", "/fleet/v1/machines", patch).await;
        assert_eq!(answer.status, 400, "{patch}");
        assert!(answer.error().contains(message), "{patch}: {answer:?}");
    }
    assert_eq!(
        server.store.records(),
        before,
        "nothing was changed by what was refused"
    );
}

#[tokio::test]
async fn pages_are_followed_by_token() {
    let token_limit = NonZeroU16::new(2).unwrap();
    let server = server_with(Settings {
        token_limit,
        ..settings()
    })
    .await;
    for unit in ["a", "b", "c", "d", "e"] {
        server.submit(&format!("{unit}.service"), FILE).await;
    }
    let mut names = Vec::new();
    let mut query = String::new();
    for page in 1.. {
        let answer = server.get(&format!("/fleet/v1/units{query}")).await.json();
        println!("page {page}: {answer}");
        for unit in answer["units"].as_array().unwrap() {
            names.push(unit["name"].as_str().unwrap()[..1].to_owned());
        }
        match answer["nextPageToken"].as_str() {
            Some(token) => query = format!("?nextPageToken={token}"),
            None => break,
        }
    }
    assert_eq!(names.concat(), "abcde");
    for (query, status, body) in [
        ("?nextPageToken=AgAJAA%3D%3D", 200, "{}"),
        ("?nextPageToken=", 400, "EOF"),
        ("?nextPageToken=ZAACAA==", 400, "token limit must be 2"),
        (
            "?nextPageToken=AgABAA==&nextPageToken=AgABAA==",
            400,
            "too many values for page token",
        ),
    ] {
        for list in ["units", "state", "machines"] {
            let answer = server.get(&format!("/fleet/v1/{list}{query}")).await;
            assert_eq!(answer.status, status, "{list}{query}");
            let body_or_message = if status == 200 {
                answer.body
            } else {
                answer.error()
            };
            assert_eq!(body_or_message, body, "{list}{query}");
        }
    }
}
