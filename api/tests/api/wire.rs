//! What holds for every address: prefixes, methods, errors, headers, odd requests.

use api::server::Settings;
use model::StoreError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::harness::{FILE, PATIENCE, parse, server, server_with, settings};
use crate::memory::Mood;

#[tokio::test]
async fn unknown_addresses_and_methods_answer_as_the_ancestor() {
    let server = server().await;
    for (method, path, status, message) in [
        ("GET", "/", 405, ""),
        ("GET", "/fleet/v1", 405, ""),
        ("GET", "/v1-alpha", 405, ""),
        ("GET", "/fleet/v1/", 404, ""),
        ("GET", "/fleet/v1/nothing", 404, ""),
        ("GET", "/fleet/v1/machines/", 404, ""),
        ("GET", "/fleet/v2/units", 404, ""),
        ("GET", "/fleet/v1/units/", 404, ""),
        ("GET", "/fleet/v1/units/a/b", 404, ""),
        ("GET", "/fleet/v1/units/a%2Fb", 404, ""),
        ("GET", "/fleet/v1/units/%ff.service", 404, ""),
        (
            "GET",
            "/fleet/v1/units/a.service",
            404,
            "unit does not exist",
        ),
        (
            "GET",
            "/fleet/v1/units/not-a-name",
            404,
            "unit does not exist",
        ),
        (
            "DELETE",
            "/fleet/v1/units/a.service",
            404,
            "unit does not exist",
        ),
        (
            "GET",
            "/fleet/v1/state/a.service",
            404,
            "unit state does not exist",
        ),
        (
            "GET",
            "/fleet/v1/units/a.service/file",
            404,
            "unit does not exist",
        ),
        (
            "GET",
            "/fleet/v1/units/a.service/journal",
            404,
            "unit does not exist",
        ),
        (
            "POST",
            "/fleet/v1/units",
            405,
            "only GET supported against this resource",
        ),
        (
            "POST",
            "/fleet/v1/state",
            405,
            "only GET supported against this resource",
        ),
        (
            "DELETE",
            "/fleet/v1/state/a.service",
            405,
            "only GET supported against this resource",
        ),
        (
            "POST",
            "/fleet/v1/machines",
            405,
            "only GET and PATCH supported against this resource",
        ),
        (
            "POST",
            "/fleet/v1/units/a.service",
            405,
            "only GET, PUT and DELETE supported against this resource",
        ),
        (
            "GET",
            "/fleet/v1/batch",
            405,
            "only POST supported against this resource",
        ),
        (
            "PUT",
            "/fleet/v1/overview",
            405,
            "only GET supported against this resource",
        ),
        (
            "POST",
            "/fleet/v1/events",
            405,
            "only GET supported against this resource",
        ),
    ] {
        println!("{method} {path}");
        let answer = server.request(method, path, "").await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (status, message),
            "{method} {path}"
        );
        assert_eq!(answer.headers["server"], "fleetd/2.0.0");
    }
}

#[tokio::test]
async fn head_is_no_supported_method_and_has_no_body() {
    let server = server().await;
    for path in [
        "/",
        "/fleet/v1/units",
        "/fleet/v1/machines",
        "/fleet/v1/units/a.service",
    ] {
        let answer = server.request("HEAD", path, "").await;
        assert_eq!((answer.status, answer.body.as_str()), (405, ""), "{path}");
    }
}

#[tokio::test]
async fn both_prefixes_are_the_same_api() {
    let server = server().await;
    server.submit("a.service", FILE).await;
    for path in [
        "/units",
        "/units/a.service",
        "/units/a.service/file",
        "/state",
        "/state/a.service",
        "/machines",
        "/overview",
        "/version",
        "/nothing",
    ] {
        let one = server.get(&format!("/fleet/v1{path}")).await;
        let other = server.get(&format!("/v1-alpha{path}")).await;
        assert_eq!(
            (one.status, &one.body),
            (other.status, &other.body),
            "{path}"
        );
    }
}

#[tokio::test]
async fn empty_lists_leave_out_their_key() {
    let server = server().await;
    for path in ["/units", "/state", "/machines", "/state?unitName=a.service"] {
        let answer = server.get(&format!("/fleet/v1{path}")).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "{}"), "{path}");
        assert_eq!(answer.headers["content-type"], "application/json");
    }
}

#[tokio::test]
async fn a_get_with_a_body_and_unknown_parameters_is_answered() {
    let server = server().await;
    server.submit("a@1.service", FILE).await;
    for path in [
        "/fleet/v1/units?alt=json",
        "/v1-alpha/units/a%401.service?alt=json&x=%zz&&=",
    ] {
        let answer = server.request("GET", path, "null").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.contains("a@1.service"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_connection_serves_several_requests_also_after_a_body_nobody_reads() {
    let server = server().await;
    let mut stream = UnixStream::connect(&server.socket).await.unwrap();
    let with_body = "GET /fleet/v1/units HTTP/1.1\r\nHost: domain-sock\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\nnull";
    let last = "GET /fleet/v1/version HTTP/1.1\r\nHost: domain-sock\r\nConnection: close\r\n\r\n";
    stream
        .write_all(format!("{with_body}{with_body}{last}").as_bytes())
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    println!("{text}");
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3);
    assert!(text.ends_with("{\"version\":\"2.0.0\"}"));
}

#[tokio::test]
async fn unclean_addresses_are_redirected_with_their_query() {
    let server = server().await;
    for (path, to) in [
        ("//fleet/v1/units", "/fleet/v1/units"),
        ("/fleet/v1/../v1/units?alt=json", "/fleet/v1/units?alt=json"),
        ("/fleet//v1/units/a.service", "/fleet/v1/units/a.service"),
        ("/fleet/v1/units/..", "/fleet/v1"),
    ] {
        let answer = server.get(path).await;
        assert_eq!(
            (answer.status, answer.headers["location"].as_str()),
            (301, to),
            "{path}"
        );
    }
}

#[tokio::test]
async fn without_its_store_every_request_for_it_answers_503_with_the_reason() {
    let server = server().await;
    server.store.mood(Mood::Fails(StoreError::Unreachable(
        "connection refused".into(),
    )));
    for (method, path, body) in [
        ("GET", "/fleet/v1/units", ""),
        ("GET", "/fleet/v1/units/a.service", ""),
        (
            "PUT",
            "/fleet/v1/units/a.service",
            "{\"desiredState\":\"launched\"}",
        ),
        ("DELETE", "/fleet/v1/units/a.service", ""),
        ("GET", "/fleet/v1/state", ""),
        ("GET", "/fleet/v1/machines", ""),
        ("GET", "/fleet/v1/overview", ""),
        ("GET", "/fleet/v1/events", ""),
        ("POST", "/fleet/v1/batch", "{\"requests\":[]}"),
        (
            "PATCH",
            "/fleet/v1/machines",
            "[{\"op\":\"remove\",\"path\":\"/a/metadata/b\"}]",
        ),
    ] {
        let answer = server.request(method, path, body).await;
        assert_eq!(answer.status, 503, "{method} {path}: {answer:?}");
        assert_eq!(
            answer.error(),
            "the cluster store cannot be reached: connection refused \
             (fleet server unable to communicate with etcd)"
        );
    }
    assert_eq!(server.get("/fleet/v1/version").await.status, 200);
}

#[tokio::test]
async fn a_store_that_hangs_ends_in_504() {
    let request_timeout = std::time::Duration::from_millis(50);
    let server = server_with(Settings {
        request_timeout,
        ..settings()
    })
    .await;
    server.store.mood(Mood::Hangs);
    let answer = server.get("/fleet/v1/units").await;
    assert_eq!(answer.status, 504);
    assert!(
        answer.error().contains("did not end within 0.05 s"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let server = server().await;
    let name = "n".repeat(2 * 1024 * 1024);
    let answer = server
        .put("a.service", &format!("{{\"name\":\"{name}\"}}"))
        .await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.error(), "the body is longer than 1048576 bytes");

    let path = format!("/fleet/v1/units?x={}", "y".repeat(40_000));
    assert_eq!(
        server.get(&path).await.status,
        200,
        "a long address is no fault"
    );
    println!("a head of 1 MiB");
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    let head = format!(
        "GET /fleet/v1/units HTTP/1.1\r\nX: {}\r\n\r\n",
        "y".repeat(1024 * 1024)
    );
    // The server may answer and close before all of it is sent.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    if tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .is_ok()
    {
        assert_eq!(parse(&String::from_utf8(answer).unwrap()).status, 431);
    }
    assert_eq!(server.get("/fleet/v1/units").await.status, 200);
}
