//! Requests in, answers out, and what goes wrong between.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use axum::{
    Router,
    body::to_bytes,
    extract::{Request, State},
    http::{
        HeaderMap,
        header::{AUTHORIZATION, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;
use url::Url;

use super::{
    call::{Call, Reply},
    faults::{Fate, Fault},
    routes,
    world::World,
};

type Shared = Arc<Mutex<World>>;

const CLIENT: [&str; 3] = ["_matrix", "client", "v3"];

/// Serves on a free port of this machine.
pub(super) async fn serve(world: Shared) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(world);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url.parse().unwrap()
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
    if turns_away(&mut lock()) {
        end_connection();
    }
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    let segments: Vec<_> = parts
        .uri
        .path()
        .split('/')
        .skip(1)
        .map(|part| percent_decode_str(part).decode_utf8().unwrap().into_owned())
        .collect();
    let segments = match segments.get(..CLIENT.len()) {
        Some(start) if start == CLIENT => segments[CLIENT.len()..].to_vec(),
        _ => segments,
    };
    let query = parts.uri.query().unwrap_or_default();
    let query: std::collections::BTreeMap<String, String> =
        url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
    let acting_as = query.get("user_id").cloned();
    let call = Call {
        method: parts.method.to_string(),
        path: format!("/{}", segments.join("/")),
        segments,
        acting_as: acting_as.unwrap_or_else(|| lock().sender()),
        query,
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
        bytes,
        content_type: header(&parts.headers, CONTENT_TYPE.as_str()),
        at: Instant::now(),
    };
    let is_ping = call.kind() == "appservice";
    let fate = {
        let mut world = lock();
        if !is_ping {
            world.calls.push(call.clone());
        }
        world.faults.take(call.kind(), &call.acting_as)
    };
    match &fate {
        Fate::Fault(Fault::Refuse(status, body)) => {
            return Reply::new(*status, body.clone()).into_response();
        }
        Fate::Fault(Fault::LoseCall) => end_connection(),
        Fate::Fault(Fault::None | Fault::LoseAnswer) | Fate::Hold(_) => {}
    }
    let shown = header(&parts.headers, AUTHORIZATION.as_str());
    let (reply, ended) = {
        let mut world = lock();
        let reply = routes::answer(&mut world, &call, shown.as_deref());
        let ended = call.method != "GET" && !is_ping && world.takes_effect(&call);
        (reply, ended)
    };
    if ended {
        // Who called is about to end, and hears nothing.
        std::future::pending::<()>().await;
    }
    match fate {
        Fate::Fault(Fault::LoseAnswer) => end_connection(),
        Fate::Hold(hold) => hold.wait().await,
        Fate::Fault(_) => {}
    }
    reply.into_response()
}

fn turns_away(world: &mut World) -> bool {
    if world.faults.down {
        world.faults.turned_away += 1;
    }
    world.faults.down
}

impl World {
    /// Returns whether the application service ends before it hears of it. Then nothing more of it
    /// gets here.
    fn takes_effect(&mut self, call: &Call) -> bool {
        let name = format!("{} {} as {}", call.method, call.kind(), call.acting_as);
        let ends = self.steps.took_effect(&name);
        if ends {
            self.faults.down = true;
        }
        ends
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(value.to_str().unwrap().to_owned())
}

/// Ends the connection without an answer, and nothing else: the panic is neither printed nor passed on.
fn end_connection() -> ! {
    std::panic::resume_unwind(Box::new("the connection ends"))
}
