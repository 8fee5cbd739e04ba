//! What each setting accepts, refuses and means.

use std::collections::BTreeMap;

use crate::config::{Config, Listen, load};

fn read(text: &str) -> Config {
    load(Some(("fleet.conf", text)), &BTreeMap::new())
        .unwrap()
        .config
}

fn refused(text: &str) -> String {
    load(Some(("fleet.conf", text)), &BTreeMap::new())
        .unwrap_err()
        .to_string()
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_defaults() {
    let environment = BTreeMap::from([
        ("FLEET_PUBLIC_IP".to_owned(), "10.0.0.9".to_owned()),
        ("FLEET_METADATA".to_owned(), String::new()),
        ("FLEET_UNRELATED".to_owned(), "x".to_owned()),
    ]);
    let text = "public_ip=10.0.0.1\nmetadata=a=b\nagent_ttl=1m30s\n";
    let config = load(Some(("fleet.conf", text)), &environment)
        .unwrap()
        .config;
    assert_eq!(config.public_ip.as_deref(), Some("10.0.0.9"));
    assert!(config.metadata.is_empty(), "set and empty overrides too");
    assert_eq!(config.agent_ttl.as_secs(), 90);
    assert_eq!(config.token_limit.get(), 100);
}

#[test]
fn deployed_forms_of_values_are_understood() {
    let config =
        read("etcd_servers=[\"http://a:1\",\"http://b:2\"]\nmetadata=region=us-west, az=a=b\n");
    assert_eq!(config.etcd_servers, ["http://a:1", "http://b:2"]);
    assert_eq!(config.metadata["az"], "a=b");
    assert_eq!(config.metadata["region"], "us-west");
    assert_eq!(read("etcd_key_prefix=/x").etcd_key_prefix, "/x/");
    assert!(
        read("listen=").listen.is_none(),
        "nothing named is nothing set"
    );
    let config = read("listen=unix:///run/f.sock, tcp://127.0.0.1:49153");
    assert_eq!(
        config.listen.unwrap(),
        [
            Listen::Unix("/run/f.sock".into()),
            Listen::Tcp("127.0.0.1:49153".parse().unwrap())
        ]
    );
}

#[test]
fn every_bad_value_is_an_error_and_all_are_told_at_once() {
    let bad = "verbosity=many\nagent_ttl=30\nmetadata=junk\ntoken_limit=0\ndisable_engine=maybe\n\
               etcd_servers=localhost\npublic_ip=here\netcd_request_timeout=-1\nlisten=/run/x\nunits_directory=x\n";
    let errors = refused(bad);
    assert_eq!(errors.lines().count(), 10, "{errors}");
    assert!(errors.contains(
        "fleet.conf: line 2: agent_ttl: \"30\" is not a duration: expected for example 10s"
    ));
}

#[test]
fn the_brake_on_mass_loss_follows_the_lease_unless_it_is_set() {
    let limits = |text: &str| {
        let config = read(text);
        config.brake.limits(config.agent_ttl)
    };
    let default = limits("agent_ttl=20s");
    assert_eq!(default, engine::BrakeLimits::of_lease(20_000));
    let set = limits(
        "brake_machines_min=50\nbrake_lost_percent=40\nbrake_hold=1h\nbrake_give_up_every=500ms",
    );
    assert_eq!((set.machines_min, set.lost_percent), (50, 40));
    assert_eq!((set.hold_ms, set.give_up_every_ms), (3_600_000, 500));
    let errors = refused("brake_lost_percent=0\nbrake_hold=8d\nbrake_give_up_every=200h\n");
    assert_eq!(errors.lines().count(), 3, "{errors}");
}

#[test]
fn unknown_and_retired_keys_are_warned_about() {
    let loaded = load(
        Some(("f", "agent_tll=5s\nenable_grpc=true\n")),
        &BTreeMap::new(),
    )
    .unwrap();
    assert_eq!(loaded.warnings.len(), 2);
    assert!(
        loaded.warnings[0].starts_with("f: line 1: agent_tll: unknown key"),
        "{:?}",
        loaded.warnings
    );
}

#[test]
fn an_open_door_needs_to_be_asked_for() {
    assert!(refused("listen=tcp://0.0.0.0:49153\n").contains("insecure_listen=true"));
    assert!(
        refused("standalone=true\nstandalone_listen=10.0.0.1:2379\n")
            .contains("insecure_listen=true")
    );
    read("listen=tcp://0.0.0.0:49153\ninsecure_listen=true\n");
    read("listen=tcp://[::1]:49153\n");
}

#[test]
fn half_a_key_pair_and_two_stores_are_refused() {
    assert!(refused("etcd_certfile=/c\n").contains("set both or none"));
    assert!(refused("standalone=true\netcd_servers=http://a:1\n").contains("either"));
}
