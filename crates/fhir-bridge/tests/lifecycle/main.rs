//! From the start of a bridge to its end: signals, reloading, tokens that are replaced, what systemd is told, and what
//! its operators ask meanwhile.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod operators;
mod running;

use std::{fs, os::unix::net::UnixDatagram, thread, time::Duration};

use serde_json::json;

use self::running::{HS_TOKEN, PATIENCE, REGISTRATION, Running};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_has_all_read_again_and_refuses_nobody() {
    let mut bridge = Running::start(None);
    assert_eq!(bridge.ping(HS_TOKEN).await, 200);
    assert_eq!(bridge.ping("a-new-example-token-of-some-length").await, 403);

    // A mistake changes nothing.
    fs::write(bridge.file("bridge.yaml"), "lisen: x").unwrap();
    bridge.signal("HUP");
    bridge.wait_for("nothing is changed", 1);
    assert!(bridge.log().contains("did you mean `listen`?"));
    assert_eq!(bridge.ping(HS_TOKEN).await, 200);

    // A new hs_token, and the former one while the homeserver still shows it.
    let text = REGISTRATION.replace(HS_TOKEN, "a-new-example-token-of-some-length");
    fs::write(bridge.file("registration.yaml"), text).unwrap();
    fs::write(bridge.file("former"), HS_TOKEN).unwrap();
    bridge.config["tokens"] = json!({"former_hs_token_file": "former"});
    fs::write(bridge.file("bridge.yaml"), bridge.config.to_string()).unwrap();
    bridge.signal("HUP");
    while bridge
        .log()
        .matches("the bridge takes transactions")
        .count()
        < 2
    {
        assert!(bridge.is_there().await);
    }
    assert_eq!(bridge.ping(HS_TOKEN).await, 200);
    assert_eq!(bridge.ping("a-new-example-token-of-some-length").await, 200);

    fs::remove_file(bridge.file("former")).unwrap();
    bridge.signal("HUP");
    bridge.wait_for("the bridge takes transactions", 3);
    assert_eq!(bridge.ping(HS_TOKEN).await, 403);
    assert_eq!(bridge.ping("a-new-example-token-of-some-length").await, 200);
    let log = bridge.log();
    assert!(!log.contains(HS_TOKEN) && !log.contains("a-new-example-token"));

    bridge.signal("TERM");
    assert!(bridge.ended().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_at_once_what_the_first_one_waits_for() {
    let mut bridge = Running::start(None);
    // An invitation, which can't be answered before the homeserver says something.
    let event = json!({
        "type": "m.room.member", "event_id": "$1", "room_id": "!1:vvt", "sender": "@somebody:vvt",
        "state_key": "@_fhir:vvt", "origin_server_ts": 1, "content": {"membership": "invite"},
    });
    let body = json!({"events": [event]});
    let pushed = bridge.call("PUT", "transactions/1", HS_TOKEN, &body);
    assert_eq!(pushed.await, 200);
    // The bridge is at work on it: its user, first of all, has to be there.
    bridge.wait_until_asked("/register");
    bridge.signal("TERM");
    bridge.wait_for("what is at work may finish", 1);
    thread::sleep(Duration::from_millis(500));
    assert!(
        bridge.child.try_wait().unwrap().is_none(),
        "it waits for what is at work"
    );
    bridge.signal("TERM");
    assert_eq!(bridge.ended().code(), Some(1));
    bridge.wait_for("ended at once", 1);
}

#[test]
fn a_federation_list_that_can_not_be_fetched_keeps_nobody_from_starting() {
    let policy = json!({"federation": "closed", "list": {"url": "https://127.0.0.1:9/list"}});
    let mut bridge = Running::start_with(None, &json!({"policy": policy}));
    bridge.wait_for("the federation list can't be read", 1);
    bridge.signal("TERM");
    assert!(bridge.ended().success());
}

#[test]
fn systemd_is_told_how_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let next = || {
        let mut text = [0; 200];
        let length = systemd.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    let mut bridge = Running::start(Some(&socket));
    assert_eq!(next().trim(), "READY=1");
    bridge.signal("HUP");
    let reloading = next();
    assert!(
        reloading.contains("RELOADING=1") && reloading.contains("MONOTONIC_USEC="),
        "{reloading}"
    );
    assert_eq!(next().trim(), "READY=1");
    bridge.signal("TERM");
    assert_eq!(next().trim(), "STOPPING=1");
    assert!(bridge.ended().success());
}
