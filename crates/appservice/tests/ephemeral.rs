//! What is pushed besides events: what passes, and what a bridge that encrypts has to know.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

mod common;

use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use common::{Running, call, journal, message, registration, request, server};
use matrix_appservice::{
    AppService, Builder, DeviceLists, HandlerError, Journal, KeyCounts, Presence, Receipt,
    ToDevice, Typing,
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

fn builder(journal: Journal) -> Builder {
    let homeserver = "http://127.0.0.1:9".parse().unwrap();
    AppService::builder(registration(), server(), homeserver, journal)
}

/// What handlers were called with.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn push(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn sorted(&self) -> Vec<String> {
        let mut all = self.all();
        all.sort();
        all
    }

    async fn reaches(&self, number: usize) {
        let reached = async {
            while self.0.lock().unwrap().len() < number {
                tokio::task::yield_now().await;
            }
        };
        let minute = std::time::Duration::from_mins(1);
        let reached = tokio::time::timeout(minute, reached).await;
        assert!(reached.is_ok(), "still {:?}", self.all());
    }
}

async fn put(router: &axum::Router, txn_id: &str, body: &Value) {
    let path = format!("/_matrix/app/v1/transactions/{txn_id}");
    let answer = call(router, request("PUT", &path, body.to_string())).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({})));
}

fn ephemeral(events: &[Value]) -> Value {
    json!({"events": [], "ephemeral": events})
}

fn typing(room: &str, users: &[&str]) -> Value {
    json!({"type": "m.typing", "room_id": room, "content": {"user_ids": users}})
}

fn receipt(room: &str, event: &str, user: &str, data: &Value) -> Value {
    json!({"type": "m.receipt", "room_id": room, "content": {event: {"m.read": {user: data}}}})
}

fn presence(user: &str, presence: &str) -> Value {
    json!({"type": "m.presence", "sender": user, "content": {"presence": presence}})
}

fn to_device(device: &str, id: Option<&str>, body: &str) -> Value {
    let mut content = json!({"body": body});
    if let Some(id) = id {
        content["org.matrix.msgid"] = id.into();
    }
    json!({
        "type": "m.room.encrypted", "sender": "@a:b", "content": content,
        "to_user_id": "@_ghost_1:hs.test", "to_device_id": device,
    })
}

fn body_of(message: &ToDevice) -> String {
    let json: Value = serde_json::from_str(message.json().get()).unwrap();
    json["content"]["body"].as_str().unwrap().to_owned()
}

fn describe(typing: &Typing) -> String {
    let users: Vec<_> = typing.user_ids.iter().map(|user| user.as_str()).collect();
    format!("{} {}", typing.room_id, users.join(","))
}

#[tokio::test]
async fn each_kind_of_ephemeral_event_reaches_its_handler() {
    let folder = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let (typed, read, there) = (seen.clone(), seen.clone(), seen.clone());
    let service = builder(journal(&folder).await)
        .on_typing(move |_, typing| {
            typed.push(describe(&typing));
            async { Ok(()) }
        })
        .on_receipt(move |_, receipt: Receipt| {
            let thread = receipt.thread.as_str().unwrap_or("-");
            let ts = receipt.ts.map(|ts| u64::from(ts.0));
            read.push(format!(
                "{} {} {} {} {thread} {ts:?}",
                receipt.room_id, receipt.event_id, receipt.user_id, receipt.kind
            ));
            async { Ok(()) }
        })
        .on_presence(move |_, presence: Presence| {
            let Presence {
                user_id,
                presence,
                status_msg,
                ..
            } = presence;
            there.push(format!("{user_id} {presence} {status_msg:?}"));
            async { Ok(()) }
        })
        .build()
        .unwrap();
    let service = Running::start(service).await;
    let events = [
        typing("!a", &["@a:b", "@c:d"]),
        receipt("!a", "$1", "@a:b", &json!({"ts": 7, "thread_id": "main"})),
        receipt("!a", "$1", "@c:d", &json!({})),
        json!({"type": "m.presence", "sender": "@a:b",
            "content": {"presence": "online", "status_msg": "busy", "last_active_ago": 6}}),
        json!({"type": "m.presence", "content": {"presence": "offline", "user_id": "@c:d"}}),
        json!({"type": "m.unheard.of", "content": {}}),
    ];
    put(&service.router, "1", &ephemeral(&events)).await;
    service.idle().await;
    let stats = service.stop().await.stats().await.unwrap();
    assert_eq!((stats.done, stats.dead), (0, 0), "no row of them is left");
    assert_eq!(
        seen.sorted(),
        [
            "!a $1 @a:b m.read main Some(7)",
            "!a $1 @c:d m.read - None",
            "!a @a:b,@c:d",
            "@a:b online Some(\"busy\")",
            "@c:d offline None",
        ]
    );
}

#[tokio::test]
async fn the_stable_key_or_else_the_old_one_is_read_and_never_both() {
    let folder = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let typed = seen.clone();
    let service = builder(journal(&folder).await)
        .on_typing(move |_, typing| {
            typed.push(describe(&typing));
            async { Ok(()) }
        })
        .build()
        .unwrap();
    let service = Running::start(service).await;
    let old = "de.sorunome.msc2409.ephemeral";
    for (txn_id, body) in [
        json!({"events": [], "ephemeral": [typing("!a", &["@1:b"])], old: [typing("!b", &["@2:b"])]}),
        json!({"events": [], old: [typing("!c", &["@3:b"])]}),
        json!({"events": [], "ephemeral": [], old: [typing("!d", &["@4:b"])]}),
        json!({"events": [], "ephemeral": null, old: [typing("!e", &["@5:b"])]}),
    ]
    .iter()
    .enumerate()
    {
        put(&service.router, &txn_id.to_string(), body).await;
    }
    service.idle().await;
    service.stop().await;
    assert_eq!(seen.sorted(), ["!a @1:b", "!c @3:b", "!e @5:b"]);
}

#[tokio::test]
async fn while_a_handler_is_at_work_only_the_latest_waits() {
    let folder = tempfile::tempdir().unwrap();
    let (seen, gate) = (Seen::default(), Arc::new(Semaphore::new(0)));
    let (typed, open) = (seen.clone(), gate.clone());
    let service = builder(journal(&folder).await)
        .on_typing(move |_, typing| {
            typed.push(describe(&typing));
            let open = open.clone();
            async move {
                open.acquire().await?.forget();
                Ok(())
            }
        })
        .build()
        .unwrap();
    let service = Running::start(service).await;
    put(&service.router, "1", &ephemeral(&[typing("!a", &["@1:b"])])).await;
    seen.reaches(1).await;
    for nth in ["2", "3", "4"] {
        let user = format!("@{nth}:b");
        put(&service.router, nth, &ephemeral(&[typing("!a", &[&user])])).await;
        // Also those that the dispatcher has met already.
        service.split().await;
    }
    gate.add_permits(100);
    service.idle().await;
    service.stop().await;
    let seen = seen.all();
    assert_eq!(seen.first().map(String::as_str), Some("!a @1:b"));
    assert_eq!(seen.last().map(String::as_str), Some("!a @4:b"));
    // One that gave way may have been in a worker's hands already, before the dispatcher heard of it.
    assert!(seen.len() <= 3, "{seen:?}");
}

#[tokio::test]
async fn no_receipt_that_matters_gives_way_to_another() {
    let folder = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let read = seen.clone();
    let service = builder(journal(&folder).await)
        .on_receipt(move |_, receipt: Receipt| {
            let thread = receipt.thread.as_str().unwrap_or("-");
            read.push(format!("{} {} {thread}", receipt.user_id, receipt.event_id));
            async { Ok(()) }
        })
        .build()
        .unwrap();
    let service = Running::start(service).await;
    let in_thread = |thread: &str| json!({"thread_id": thread});
    let events = [
        receipt("!a", "$1", "@a:b", &in_thread("main")),
        receipt("!a", "$1", "@c:d", &in_thread("main")),
        receipt("!a", "$2", "@a:b", &in_thread("$t")),
        receipt("!b", "$9", "@a:b", &in_thread("main")),
        // Which thread these are for nobody knows.
        receipt("!a", "$1", "@e:f", &json!({})),
        receipt("!a", "$2", "@e:f", &json!({})),
        receipt("!a", "$2", "@e:f", &json!({"ts": 1})),
        // This one is newer than the first.
        receipt("!a", "$3", "@a:b", &in_thread("main")),
        // One with all of a room, as the specification's example has it.
        json!({"type": "m.receipt", "room_id": "!c", "content": {
            "$8": {"m.read": {"@a:b": {"ts": 9, "thread_id": "main"}, "@c:d": {"ts": 2}}, "odd": 17},
            "$7": {"m.read": {"@a:b": {"ts": 5, "thread_id": "main"}, "no user": {}, "@g:h": 3}},
        }}),
    ];
    put(&service.router, "1", &ephemeral(&events)).await;
    service.idle().await;
    service.stop().await;
    assert_eq!(
        seen.sorted(),
        [
            "@a:b $2 $t",
            "@a:b $3 main",
            "@a:b $8 main",
            "@a:b $9 main",
            "@c:d $1 main",
            "@c:d $8 -",
            "@e:f $1 -",
            "@e:f $2 -",
        ]
    );
}

#[tokio::test]
async fn who_types_never_holds_up_what_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (typed, said) = (Seen::default(), Seen::default());
    let (on_typing, on_event) = (typed.clone(), said.clone());
    let service = builder(journal(&folder).await)
        .parallel_lanes(4)
        .on_typing(move |_, typing| {
            on_typing.push(describe(&typing));
            std::future::pending()
        })
        .on_event(move |_, event| {
            on_event.push(event.room_id().as_str());
            async { Ok(()) }
        })
        .drain_timeout(std::time::Duration::ZERO)
        .build()
        .unwrap();
    let service = Running::start(service).await;
    let rooms: Vec<_> = (0..20).map(|nth| format!("!{nth}")).collect();
    let events: Vec<_> = rooms
        .iter()
        .map(|room| message(&format!("${room}"), room, "@a:b", "x"))
        .collect();
    let events = |ephemeral| json!({"events": events, "ephemeral": ephemeral});
    let all_type: Vec<_> = rooms.iter().map(|room| typing(room, &["@a:b"])).collect();
    put(&service.router, "1", &events(all_type)).await;
    said.reaches(20).await;
    typed.reaches(1).await;
    let stats = service.stop().await.stats().await.unwrap();
    assert_eq!((stats.done, stats.waiting), (20, 20));
    assert_eq!(typed.all().len(), 1, "a quarter of the workers");
}

#[tokio::test]
async fn an_ephemeral_event_that_fails_for_good_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let there = seen.clone();
    let service = builder(journal(&folder).await)
        .on_presence(move |_, presence: Presence| {
            there.push(presence.user_id.as_str());
            async { Err(HandlerError::never("no")) }
        })
        .build()
        .unwrap();
    let service = Running::start(service).await;
    put(
        &service.router,
        "1",
        &ephemeral(&[presence("@a:b", "online")]),
    )
    .await;
    seen.reaches(1).await;
    service.idle().await;
    let stats = service.stop().await.stats().await.unwrap();
    assert_eq!((stats.dead, stats.done, stats.waiting), (0, 0, 0));
}

#[tokio::test]
async fn what_nobody_listens_to_is_not_stored() {
    let folder = tempfile::tempdir().unwrap();
    let service = builder(journal(&folder).await)
        .on_typing(|_, _| std::future::pending())
        .drain_timeout(std::time::Duration::ZERO)
        .build()
        .unwrap();
    let service = Running::start(service).await;
    let events = [
        presence("@a:b", "online"),
        receipt("!a", "$1", "@a:b", &json!({})),
        // What can't be read is left out, too.
        json!({"type": "m.typing", "content": {"user_ids": []}}),
        json!(17),
        typing("!a", &[]),
    ];
    put(&service.router, "1", &ephemeral(&events)).await;
    put(
        &service.router,
        "2",
        &json!({"events": [], "ephemeral": {"no": "list"}}),
    )
    .await;
    service.split().await;
    let stats = service.stop().await.stats().await.unwrap();
    assert_eq!((stats.waiting, stats.dead, stats.kept), (1, 0, 0));
}

/// Handlers of all that encryption needs, which tell what they get.
fn encrypting(journal: Journal, seen: &Seen) -> AppService {
    let (message, lists, keys) = (seen.clone(), seen.clone(), seen.clone());
    builder(journal)
        .on_to_device(move |_, to_device: ToDevice| {
            message.push(format!(
                "{} {}",
                to_device.to_device_id(),
                body_of(&to_device)
            ));
            async { Ok(()) }
        })
        .on_device_lists(move |_, list: DeviceLists| {
            lists.push(serde_json::to_string(&list).unwrap());
            async { Ok(()) }
        })
        .on_key_counts(move |_, counts: KeyCounts| {
            keys.push(format!(
                "{} {:?} {:?}",
                counts.device_id, counts.one_time_keys, counts.unused_fallback_keys
            ));
            async { Ok(()) }
        })
        .build()
        .unwrap()
}

#[tokio::test]
async fn messages_to_a_device_come_in_order_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let service = Running::start(encrypting(journal(&folder).await, &seen)).await;
    let push = async |txn_id: &str, key: &str, messages: &[Value]| {
        put(
            &service.router,
            txn_id,
            &json!({"events": [], key: messages}),
        )
        .await;
    };
    let old = "de.sorunome.msc2409.to_device";
    let (one, two, other) = (
        to_device("D", Some("one"), "1"),
        to_device("D", None, "2"),
        to_device("E", Some("one"), "other device, same id"),
    );
    push("1", old, &[one.clone(), two.clone(), other.clone()]).await;
    // A homeserver that repeats the transaction, one that repeats a message, and one that empties it.
    push("1", old, &[one.clone(), two.clone(), other.clone()]).await;
    push("2", "to_device", std::slice::from_ref(&one)).await;
    push("1", old, &[]).await;
    // Said twice: another transaction, or a second time in the same one.
    push("3", old, &[two.clone(), two.clone()]).await;
    push("4", old, &[to_device("D", Some("three"), "3")]).await;
    service.idle().await;
    let stats = service.stop().await.stats().await.unwrap();
    assert_eq!((stats.done, stats.dead), (6, 0));
    let all = seen.all();
    let of = |device: &str| -> Vec<_> {
        all.iter()
            .filter_map(|one| one.strip_prefix(device))
            .collect()
    };
    assert_eq!(of("D "), ["1", "2", "2", "2", "3"]);
    assert_eq!(of("E "), ["other device, same id"]);
}

#[tokio::test]
async fn what_encryption_needs_is_kept_until_somebody_asks() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    let service = Running::start(builder(journal.clone()).build().unwrap()).await;
    let user = "@_ghost_1:hs.test";
    for (txn_id, (message, lists, keys)) in [
        (
            json!([to_device("D", None, "first")]),
            json!({"changed": ["@a:b", "@c:d"], "left": ["@e:f"]}),
            json!({user: {"D": {"signed_curve25519": 3}, "E": {}}}),
        ),
        (
            json!([to_device("D", None, "second")]),
            json!({"changed": ["@e:f", "no user"], "left": ["@c:d"]}),
            json!({user: {"D": {"signed_curve25519": 2}}}),
        ),
        // The last one says nothing new.
        (json!([]), json!({"changed": [], "left": []}), json!({})),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = json!({
            "events": [],
            "de.sorunome.msc2409.to_device": message,
            "org.matrix.msc3202.device_lists": lists,
            "org.matrix.msc3202.device_one_time_keys_count": keys,
            // The same again, and misspelt.
            "org.matrix.msc3202.device_one_time_key_counts": keys,
        });
        if txn_id == 0 {
            body["org.matrix.msc3202.device_unused_fallback_key_types"] =
                json!({user: {"D": ["signed_curve25519"]}});
        }
        put(&service.router, &txn_id.to_string(), &body).await;
    }
    service.idle().await;
    let stats = service.stop().await.stats().await.unwrap();
    assert_eq!((stats.kept, stats.waiting, stats.dead), (5, 0, 0));

    let seen = Seen::default();
    let service = Running::start(encrypting(journal, &seen)).await;
    seen.reaches(5).await;
    service.idle().await;
    let stats = service.stop().await.stats().await.unwrap();
    assert_eq!((stats.kept, stats.done, stats.dead), (0, 2, 0));
    assert_eq!(
        seen.sorted(),
        [
            "D Some({\"signed_curve25519\": 2}) Some([\"signed_curve25519\"])",
            "D first",
            "D second",
            "E Some({}) None",
            r#"{"changed":["@a:b","@e:f"],"left":["@c:d"]}"#,
        ]
    );
    let (first, second) = ("D first".to_owned(), "D second".to_owned());
    let messages: Vec<_> = seen
        .all()
        .into_iter()
        .filter(|one| *one == first || *one == second)
        .collect();
    assert_eq!(messages, [first, second]);
}

#[tokio::test]
async fn the_other_spelling_of_the_key_counts_is_read_where_it_is_the_only_one() {
    let folder = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let service = Running::start(encrypting(journal(&folder).await, &seen)).await;
    for (nth, key) in [
        "device_one_time_keys_count",
        "org.matrix.msc3202.device_one_time_keys_count",
        "org.matrix.msc3202.device_one_time_key_counts",
    ]
    .iter()
    .enumerate()
    {
        let counts = json!({"@_ghost_1:hs.test": {"D": {"signed_curve25519": nth}}});
        put(
            &service.router,
            &nth.to_string(),
            &json!({"events": [], *key: counts}),
        )
        .await;
        service.idle().await;
    }
    service.stop().await;
    let expected = [0, 1, 2].map(|nth| format!("D Some({{\"signed_curve25519\": {nth}}}) None"));
    assert_eq!(seen.all(), expected);
}

#[tokio::test]
async fn a_device_list_that_could_not_be_handled_is_part_of_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let lists = seen.clone();
    let service = builder(journal(&folder).await)
        .on_device_lists(move |_, list: DeviceLists| {
            lists.push(serde_json::to_string(&list.changed).unwrap());
            let fails = list.changed.len() == 1;
            async move {
                if fails {
                    return Err(HandlerError::never("no"));
                }
                Ok(())
            }
        })
        .build()
        .unwrap();
    let service = Running::start(service).await;
    let lists = |user: &str| json!({"events": [], "device_lists": {"changed": [user]}});
    put(&service.router, "1", &lists("@a:b")).await;
    seen.reaches(1).await;
    service.idle().await;
    assert_eq!(service.journal.stats().await.unwrap().dead, 1);
    put(&service.router, "2", &lists("@c:d")).await;
    seen.reaches(2).await;
    service.idle().await;
    let stats = service.stop().await.stats().await.unwrap();
    assert_eq!((stats.dead, stats.waiting), (0, 0));
    assert_eq!(seen.all(), [r#"["@a:b"]"#, r#"["@a:b","@c:d"]"#]);
}

#[tokio::test]
async fn what_can_not_be_read_of_it_is_a_dead_letter_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let service = Running::start(encrypting(journal(&folder).await, &seen)).await;
    let odd = json!({"type": "x", "sender": "@a:b", "to_user_id": "@_ghost_1:hs.test"});
    let positional = json!(["@a:b", "@_ghost_1:hs.test", "D", "x"]);
    let bodies = [
        json!({"events": [], "to_device": [odd, positional, to_device("D", None, "good")],
            "device_lists": 17, "device_one_time_keys_count": []}),
        json!({"events": [], "to_device": {"no": "list"}, "device_lists": {"changed": ["@a:b"]},
            "device_unused_fallback_key_types": {"no user": 3, "@g:h": {"D": 5}, "@i:j": {"D": []}}}),
    ];
    for body in bodies.iter().chain(&bodies) {
        put(&service.router, "1", body).await;
    }
    service.idle().await;
    let stats = service.stop().await.stats().await.unwrap();
    assert_eq!(stats.dead, 5);
    let mut seen = seen.sorted();
    seen.dedup();
    assert_eq!(
        seen,
        [
            "D None Some([])",
            "D good",
            r#"{"changed":["@a:b"],"left":[]}"#
        ]
    );
}

#[tokio::test]
async fn of_rooms_that_are_not_wanted_only_our_own_memberships_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let (said, typed, read) = (seen.clone(), seen.clone(), seen.clone());
    let service = builder(journal(&folder).await)
        .only_rooms(|room| {
            if room == "!panics" {
                std::panic::resume_unwind(Box::new("on purpose"));
            }
            room == "!wanted"
        })
        .on_event(move |_, event| {
            said.push(event.event_id().as_str());
            async { Ok(()) }
        })
        .on_typing(move |_, typing| {
            typed.push(typing.room_id.as_str());
            async { Ok(()) }
        })
        .on_receipt(move |_, receipt: Receipt| {
            read.push(format!("read {}", receipt.room_id));
            async { Ok(()) }
        })
        .build()
        .unwrap();
    let service = Running::start(service).await;
    let member = |id: &str, user: &str| {
        json!({"type": "m.room.member", "event_id": id, "room_id": "!other", "sender": "@a:b",
            "state_key": user, "content": {"membership": "invite"}})
    };
    let mut impostor = message("$impostor", "!other", "@a:b", "x");
    impostor["state_key"] = "@bot:hs.test".into();
    let body = json!({
        "events": [
            message("$1", "!wanted", "@a:b", "x"),
            message("$2", "!other", "@a:b", "x"),
            message("$3", "!panics", "@a:b", "x"),
            message("$4", "no room id", "@a:b", "x"),
            member("$5", "@bot:hs.test"),
            member("$6", "@_ghost_1:hs.test"),
            member("$7", "@_ghost_1:elsewhere.test"),
            impostor,
            17,
        ],
        "ephemeral": [
            typing("!wanted", &[]), typing("!other", &[]),
            receipt("!wanted", "$1", "@a:b", &json!({})), receipt("!other", "$2", "@a:b", &json!({})),
        ],
    });
    put(&service.router, "1", &body).await;
    service.idle().await;
    let stats = service.stop().await.stats().await.unwrap();
    assert_eq!(
        seen.sorted(),
        ["!wanted", "$1", "$3", "$5", "$6", "read !wanted"]
    );
    // `$4` says that it is in a room that can't be: kept, as the one that is none is.
    assert_eq!((stats.done, stats.dead, stats.waiting), (4, 2, 0));
}
