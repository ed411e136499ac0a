//! What operators ask of a bridge at work, in a browser, with programs and on the command line.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use serde_json::{Value, json};

use crate::running::{HS_TOKEN, PATIENCE, Running};

/// An address that nobody listens on.
fn free() -> String {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    free.unwrap().to_string()
}

#[tokio::test]
async fn operators_who_keep_a_connection_open_hold_up_nothing() {
    let operators = free();
    let bridge = Running::start_with(None, &json!({"ops": {"listen": operators}}));
    // Each over a connection of its own.
    let status = async || {
        let url = format!("http://{operators}/api/v1/status");
        let answer = reqwest::get(url).await.unwrap();
        let status: Value = answer.json().await.unwrap();
        status
    };
    bridge.wait_for("operators are told how it goes", 1);
    let before = status().await;
    let mut stays = TcpStream::connect(&operators).unwrap();
    stays.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {operators}\r\n\r\n");
    stays.write_all(request.as_bytes()).unwrap();
    assert_eq!(stays.read(&mut [0]).unwrap(), 1, "it is answered");
    bridge.signal("HUP");
    bridge.wait_for("operators are told how it goes", 2);
    stays
        .read_to_end(&mut Vec::new())
        .expect("the bridge ends it");
    let after = status().await;
    assert!(before["started_at"].is_string());
    assert_eq!(after["started_at"], before["started_at"]);
    assert!(after["journal"].is_object(), "it is open: {after}");
}

/// The lines that a command prints, as JSON.
fn lines(bridge: &Running, args: &[&str]) -> Vec<Value> {
    let output = bridge.command(args);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let parsed = text.lines().map(|line| serde_json::from_str(line).unwrap());
    parsed.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_tells_how_it_is_and_settles_dead_letters() {
    let ops = json!({"listen": free(), "token_file": "ops.token"});
    let bridge = Running::start_with_file(
        &json!({"ops": ops}),
        "ops.token",
        "an-example-token-of-operators",
    );
    bridge.wait_for("operators are told how it goes", 1);

    // Its homeserver says nothing: it is not ready, and says so.
    let status = bridge.command(&["status"]);
    assert_eq!(status.status.code(), Some(1));
    let told = String::from_utf8(status.stdout).unwrap();
    assert!(
        told.contains("NOT READY") && told.contains("journal"),
        "{told}"
    );

    // What is no event becomes a dead letter.
    let body = json!({"events": [{"type": 5, "content": {"body": "kanari"}}, {"type": 6}]});
    assert_eq!(
        bridge.call("PUT", "transactions/1", HS_TOKEN, &body).await,
        200
    );
    let until = std::time::Instant::now() + PATIENCE;
    let letters = loop {
        let letters = lines(&bridge, &["dead-letters", "list", "--json"]);
        if letters.len() == 2 {
            break letters;
        }
        assert!(std::time::Instant::now() < until, "{letters:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let id = |letter: &Value| letter["id"].to_string();
    let shown = bridge.command(&["dead-letters", "show", &id(&letters[0])]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("error") && !shown.contains("kanari"),
        "{shown}"
    );
    let skipped = lines(
        &bridge,
        &["dead-letters", "skip", "--json", &id(&letters[0])],
    );
    assert_eq!(skipped[0]["done"], "skipped");
    assert_eq!(lines(&bridge, &["dead-letters", "list", "--json"]).len(), 1);
    let again = bridge.command(&["dead-letters", "skip", &id(&letters[0])]);
    assert_eq!(again.status.code(), Some(1), "there is none any more");

    let replayed = bridge.command(&["replay", "CareTeam/7"]);
    assert!(replayed.status.success());
    let replayed = bridge.command(&["replay", "Patient/7"]);
    assert_eq!(replayed.status.code(), Some(1));

    // Without the token, nothing.
    std::fs::write(bridge.file("ops.token"), "another-example-token").unwrap();
    let refused = bridge.command(&["dead-letters", "list"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains("401") && said.contains("ops.token_file"),
        "{said}"
    );
    assert!(!said.contains("another-example-token"));
}
