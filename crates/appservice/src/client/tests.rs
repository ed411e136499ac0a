//! Against a server that answers what it is told.

use std::{collections::VecDeque, sync::Mutex};

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use ruma::{server_name, user_id};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch};

use super::{clock::ByHand, *};
use crate::dispatch::Retry;

const PUT: &str = "/_matrix/client/v3/rooms/{roomId}/typing/{userId}";
const POST: &str = "/_matrix/client/v3/createRoom";

#[derive(Clone)]
enum Answers {
    Status(u16),
    Limited(u64),
    Lost,
}

#[derive(Clone)]
struct Server {
    answers: Arc<Mutex<VecDeque<Answers>>>,
    seen: Arc<Mutex<Vec<String>>>,
    /// How many calls are there at the moment, and whether they may go.
    present: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

impl Server {
    async fn start(answers: impl IntoIterator<Item = Answers>) -> (Self, Url) {
        let this = Self {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            seen: Arc::default(),
            present: watch::Sender::new(0),
            open: watch::Sender::new(true),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/sub/", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (this, url.parse().unwrap())
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(State(server): State<Server>, request: Request) -> Response {
    assert_eq!(
        request.headers()["authorization"],
        "Bearer as-token-of-the-test"
    );
    server
        .seen
        .lock()
        .unwrap()
        .push(format!("{} {}", request.method(), request.uri()));
    server.present.send_modify(|present| *present += 1);
    let _ = server.open.subscribe().wait_for(|open| *open).await;
    server.present.send_modify(|present| *present -= 1);
    let next = server.answers.lock().unwrap().pop_front();
    match next {
        None => axum::Json(json!({})).into_response(),
        Some(Answers::Status(status)) => StatusCode::from_u16(status).unwrap().into_response(),
        Some(Answers::Limited(pause)) => {
            let body = json!({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": pause});
            (StatusCode::TOO_MANY_REQUESTS, axum::Json(body)).into_response()
        }
        Some(Answers::Lost) => std::panic::resume_unwind(Box::new("the answer is lost")),
    }
}

fn client(url: &Url, config: ClientConfig, clock: Clock) -> Client {
    let registration = Registration::parse(
        "{id: test, url: null, as_token: as-token-of-the-test, hs_token: hs-token-of-the-test, \
         sender_localpart: bot, namespaces: {}}",
    )
    .unwrap();
    let server_name = server_name!("hs.test").to_owned();
    let timeout = Duration::from_mins(1);
    let mut client = Client::try_new(&registration, server_name, url, timeout, config).unwrap();
    Arc::get_mut(&mut client.0).unwrap().clock = clock;
    client
}

fn at_once() -> ClientConfig {
    ClientConfig {
        first_pause: Duration::ZERO,
        ..ClientConfig::default()
    }
}

fn put() -> Call {
    Call::put(PUT, &["!room", "@a:hs.test"]).unwrap()
}

async fn run(client: &Client, call: Call) -> Result<Answer, Error> {
    let acting = Acting {
        user: user_id!("@ghost:hs.test"),
        device: None,
    };
    client.execute(acting, call).await
}

#[tokio::test]
async fn what_can_be_repeated_is_until_the_attempts_are_used_up() {
    for trouble in [
        Answers::Status(502),
        Answers::Status(503),
        Answers::Status(504),
        Answers::Lost,
    ] {
        let twice = [trouble.clone(), trouble.clone()];
        let (server, url) = Server::start(twice).await;
        run(&client(&url, at_once(), Clock::default()), put())
            .await
            .unwrap();
        assert_eq!(server.seen().len(), 3);
        let (server, url) = Server::start(vec![trouble; 4]).await;
        let error = run(&client(&url, at_once(), Clock::default()), put())
            .await
            .err()
            .unwrap();
        assert_eq!(error.retry(), Retry::WhenAvailable);
        assert_eq!(server.seen().len(), 3);
    }
    let (server, url) = Server::start([Answers::Status(500)]).await;
    let client = client(&url, at_once(), Clock::default());
    assert!(run(&client, put()).await.is_err());
    assert_eq!(server.seen().len(), 1, "that is no passing trouble");
}

#[tokio::test]
async fn what_would_be_done_twice_is_not_repeated() {
    for trouble in [Answers::Status(503), Answers::Lost] {
        let (server, url) = Server::start([trouble]).await;
        let call = Call::post(POST, &[]).unwrap();
        let client = client(&url, at_once(), Clock::default());
        assert!(run(&client, call).await.is_err());
        assert_eq!(server.seen().len(), 1);
    }
    let (server, url) = Server::start([Answers::Lost]).await;
    let call = Call::post(POST, &[]).unwrap().repeatable();
    let client = client(&url, at_once(), Clock::default());
    run(&client, call).await.unwrap();
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn nothing_is_repeated_when_the_time_is_used_up() {
    let (server, url) = Server::start([Answers::Status(503), Answers::Status(503)]).await;
    let config = ClientConfig {
        retry_budget: Duration::ZERO,
        ..at_once()
    };
    let client = client(&url, config, Clock::default());
    assert!(run(&client, put()).await.is_err());
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_pause_is_waited_out_before_the_same_call_is_made_again() {
    let (server, url) = Server::start([Answers::Limited(5_000), Answers::Limited(5_000)]).await;
    let hands = ByHand::new();
    let client = client(&url, ClientConfig::default(), hands.clock());
    // A POST as well: a call that was refused has done nothing.
    let call = tokio::spawn(async move { run(&client, Call::post(POST, &[]).unwrap()).await });
    for expected in 1..=2 {
        hands.slept(expected).await;
        assert_eq!(server.seen().len(), expected);
        hands.go_on(Duration::from_secs(5));
    }
    call.await.unwrap().unwrap();
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_pause_that_is_too_long_is_an_error_at_once_and_keeps_the_next_call_away() {
    let (server, url) = Server::start([Answers::Limited(31_000)]).await;
    let hands = ByHand::new();
    let client = client(&url, ClientConfig::default(), hands.clock());
    for _ in 0..2 {
        let error = run(&client, put()).await.err().unwrap();
        assert_eq!(error.retry(), Retry::After(Duration::from_secs(31)));
    }
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn no_more_calls_are_made_at_a_time_than_allowed() {
    let (server, url) = Server::start([]).await;
    server.open.send_replace(false);
    let config = ClientConfig {
        parallel_calls: 2,
        ..ClientConfig::default()
    };
    let client = client(&url, config, Clock::default());
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { run(&client, put()).await })
        })
        .collect();
    let mut present = server.present.subscribe();
    present.wait_for(|present| *present == 2).await.unwrap();
    assert_eq!(client.0.calls.available_permits(), 0);
    server.open.send_replace(true);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(server.seen().len(), 5);
    assert_eq!(client.0.calls.available_permits(), 2);
}

#[tokio::test]
async fn a_call_goes_to_the_homeservers_path_as_the_user_and_the_device() {
    let (server, url) = Server::start([]).await;
    let client = client(&url, at_once(), Clock::default());
    run(&client, put()).await.unwrap();
    let acting = Acting {
        user: client.sender(),
        device: Some("DEVICE".into()),
    };
    client.execute(acting, put()).await.unwrap();
    assert_eq!(
        server.seen(),
        [
            "PUT /sub/_matrix/client/v3/rooms/!room/typing/@a:hs.test?user_id=@ghost:hs.test",
            "PUT /sub/_matrix/client/v3/rooms/!room/typing/@a:hs.test?device_id=DEVICE",
        ]
    );
}
