//! `GET /`: the page for those who run the bridge.
//!
//! It is made here, whole, and can be read and used without any script; the one that it has only puts newer sections in
//! the place of older ones (`GET /fragment`). Who shows the token once (`/login`) has a session from then on. A form is
//! taken from our own pages only, by the browser's `Origin` and by a secret that stands in the page.

mod chart;
mod sessions;
mod view;

use axum::{
    Router,
    body::Bytes,
    extract::{Path, Query, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use serde::Deserialize;

pub(super) use self::sessions::Sessions;
use self::view::View;
use super::{
    access::{Access, Refused, is_own},
    api::{
        ApiError,
        dead_letters::{self, Verdict},
        links, peer, status,
    },
    desk::Desk,
};

/// Only what comes from here may do anything in the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// Rows of a table.
const ROWS: u32 = 20;

pub(super) fn router(desk: &Desk) -> Router<Desk> {
    let asset = |kind: &'static str, text: &'static str| {
        get(async move || ([(header::CONTENT_TYPE, kind)], text))
    };
    Router::new()
        .route("/", get(whole))
        .route("/fragment", get(fragment))
        .route("/login", get(login_form).post(login))
        .route("/logout", post(logout))
        .route("/dead-letters/{id}/retry", post(retry))
        .route("/dead-letters/{id}/skip", post(skip))
        .route(
            "/page.css",
            asset("text/css; charset=utf-8", include_str!("page/page.css")),
        )
        .route(
            "/page.js",
            asset(
                "text/javascript; charset=utf-8",
                include_str!("page/page.js"),
            ),
        )
        .route(
            "/icon.svg",
            asset("image/svg+xml", include_str!("page/icon.svg")),
        )
        .layer(middleware::from_fn_with_state(desk.clone(), guard))
}

/// Keeps pages of others out, and says to the browser what ours may do.
async fn guard(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let own = desk.access.check_browser(request.headers(), request.uri());
    let mut answer = match own {
        Ok(()) => next.run(request).await,
        Err(refused) => refuse(refused),
    };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`: it takes `Origin` from forms.
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        let value = HeaderValue::from_static(value);
        answer.headers_mut().insert(name, value);
    }
    answer
}

fn refuse(refused: Refused) -> Response {
    (refused.status(), refused.to_string()).into_response()
}

/// What of the tables is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    /// Dead letters behind this one.
    after: i64,
    /// A resource or a room whose link is looked for.
    find: String,
    /// Links behind this one.
    links_after: Option<String>,
    /// What was just done with a dead letter.
    done: String,
}

async fn whole(state: State<Desk>, wanted: Query<Wanted>, headers: HeaderMap) -> Response {
    match view(state, wanted, &headers).await {
        Some(view) => Html(view.whole().into_string()).into_response(),
        None => Redirect::to("/login").into_response(),
    }
}

/// The sections that change.
async fn fragment(state: State<Desk>, wanted: Query<Wanted>, headers: HeaderMap) -> Response {
    match view(state, wanted, &headers).await {
        Some(view) => Html(view.sections().into_string()).into_response(),
        None => refuse(Refused::Token),
    }
}

async fn view(
    State(desk): State<Desk>,
    Query(wanted): Query<Wanted>,
    headers: &HeaderMap,
) -> Option<View> {
    let secret = desk.sessions.secret(&desk.access, headers)?;
    let find = wanted.find.trim().to_owned();
    let is_room = find.starts_with('!');
    let wanted_links = links::Wanted {
        resource: Some(find.clone()).filter(|find| !find.is_empty() && !is_room),
        room: Some(find.clone()).filter(|_| is_room),
        after: wanted.links_after,
        limit: Some(ROWS),
    };
    let letters = dead_letters::read(&desk.journal, wanted.after, ROWS).await;
    Some(View {
        status: status::read(&desk).await,
        letters: letters.ok(),
        links: links::read(&desk.servers, &wanted_links).await.ok(),
        find,
        done: wanted.done,
        secret,
        has_login: matches!(desk.access, Access::Token(..)),
    })
}

async fn login_form(State(desk): State<Desk>, headers: HeaderMap) -> Response {
    if desk.sessions.secret(&desk.access, &headers).is_some() {
        return Redirect::to("/").into_response();
    }
    Html(view::login(None).into_string()).into_response()
}

async fn login(State(desk): State<Desk>, request: Request) -> Response {
    if !is_own(request.headers(), request.uri()) {
        return refuse(Refused::Foreign);
    }
    let peer = peer(&request);
    let is_https = origin_is_https(request.headers());
    let Ok(body) = axum::body::to_bytes(request.into_body(), super::MOST_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let token = field(&body, "token").unwrap_or_default();
    if let Err(refused) = desk.access.check(peer, Some(token.trim())) {
        let why = match refused {
            Refused::TooMany => "Too many wrong tokens from your address. Wait a minute.",
            _ => "That is not the token.",
        };
        let page = Html(view::login(Some(why)).into_string());
        return (refused.status(), page).into_response();
    }
    match desk.sessions.open() {
        Ok(id) => {
            let cookie = sessions::cookie(&id, is_https);
            ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "nobody can log in");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

async fn logout(State(desk): State<Desk>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    if let Err(refused) = check_form(&desk, &uri, &headers, &body) {
        return refuse(refused);
    }
    desk.sessions.close(&headers);
    let cookie = sessions::no_cookie(origin_is_https(&headers));
    ([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response()
}

async fn retry(
    state: State<Desk>,
    id: Path<i64>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    settle(state, id, Verdict::Retry, (&uri, &headers, &body)).await
}

async fn skip(
    state: State<Desk>,
    id: Path<i64>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    settle(state, id, Verdict::Skip, (&uri, &headers, &body)).await
}

async fn settle(
    State(desk): State<Desk>,
    Path(id): Path<i64>,
    verdict: Verdict,
    (uri, headers, body): (&Uri, &HeaderMap, &Bytes),
) -> Response {
    if let Err(refused) = check_form(&desk, uri, headers, body) {
        return refuse(refused);
    }
    match dead_letters::settle(&desk.journal, id, verdict).await {
        Ok(()) => Redirect::to(&format!("/?done={}#dead-letters", verdict.done())).into_response(),
        Err(ApiError::NoDeadLetter) => Redirect::to("/?done=gone#dead-letters").into_response(),
        Err(error) => (error.status(), error.to_string()).into_response(),
    }
}

/// Whether a form was sent by somebody who is logged in, from a page of ours.
fn check_form(desk: &Desk, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Result<(), Refused> {
    if !is_own(headers, uri) {
        return Err(Refused::Foreign);
    }
    let secret = desk.sessions.secret(&desk.access, headers);
    let secret = secret.ok_or(Refused::Token)?;
    let shown = field(body, "secret").unwrap_or_default();
    if secret.matches(&shown) {
        Ok(())
    } else {
        Err(Refused::Foreign)
    }
}

/// A field of a form.
fn field(body: &[u8], name: &str) -> Option<String> {
    url::form_urlencoded::parse(body)
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// Whether the browser reaches us over TLS: a proxy has it then.
fn origin_is_https(headers: &HeaderMap) -> bool {
    let origin = headers.get(header::ORIGIN);
    origin.is_some_and(|origin| origin.as_bytes().starts_with(b"https://"))
}

#[cfg(test)]
mod tests;
