//! A proxy between the bridge and a server, that does to the bridge what networks do.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use url::Url;

/// A request of the bridge, and whether the server has answered it with success yet.
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// With the query.
    pub(crate) path: String,
    pub(crate) body: Bytes,
    /// `None` while the server has not been asked.
    pub(crate) succeeded: Option<bool>,
}

/// What becomes of it.
pub(crate) enum Fate {
    /// It goes on.
    Pass,
    /// It never gets an answer.
    Silence,
    /// The bridge is told this instead.
    Instead(StatusCode),
}

type Judge = Arc<dyn Fn(&Asked) -> Fate + Send + Sync>;

#[derive(Clone)]
struct Between {
    to: Url,
    /// Where the bridge reaches it.
    from: Url,
    http: reqwest::Client,
    judge: Judge,
}

/// Puts a proxy in front of a server; where the bridge reaches it, with the same path. `judge` is asked twice for each
/// request: before the server is, and after.
pub(crate) async fn put(to: &Url, judge: impl Fn(&Asked) -> Fate + Send + Sync + 'static) -> Url {
    // Fails when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut url = to.clone();
    url.set_ip_host(address.ip()).unwrap();
    url.set_port(Some(address.port())).unwrap();
    let between = Between {
        to: to.clone(),
        from: url.clone(),
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
        judge: Arc::new(judge),
    };
    let router = Router::new().fallback(pass).with_state(between);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn pass(State(between): State<Between>, request: Request) -> Response {
    // Also when the bridge is gone by then: the server does what it was asked for, and is heard out.
    tokio::spawn(pass_on(between, request)).await.unwrap()
}

async fn pass_on(between: Between, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let mut asked = Asked {
        method: head.method.clone(),
        path: head.uri.path_and_query().unwrap().to_string(),
        body: axum::body::to_bytes(body, usize::MAX).await.unwrap(),
        succeeded: None,
    };
    if let Some(instead) = between.fate(&asked).await {
        return instead;
    }
    let mut headers = head.headers;
    headers.remove(header::HOST);
    let answer = between
        .http
        .request(head.method, between.to.join(&asked.path).unwrap())
        .headers(headers)
        .body(asked.body.clone())
        .send()
        .await
        .unwrap();
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        let of_this_hop = [
            header::TRANSFER_ENCODING,
            header::CONNECTION,
            header::CONTENT_LENGTH,
        ];
        if !of_this_hop.contains(name) {
            response = response.header(name, value);
        }
    }
    asked.succeeded = Some(answer.status().is_success());
    let is_fhir = answer
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|media| media.as_bytes().starts_with(b"application/fhir+json"));
    let mut body = answer.bytes().await.unwrap();
    if is_fhir {
        body = between.readdressed(&body);
    }
    match between.fate(&asked).await {
        Some(instead) => instead,
        None => response.body(Body::from(body)).unwrap(),
    }
}

impl Between {
    /// With the links to further pages leading here, as they do where a server is told the address it is reached by.
    fn readdressed(&self, body: &[u8]) -> Bytes {
        let origin = |url: &Url| url.origin().ascii_serialization();
        let text = str::from_utf8(body).unwrap();
        text.replace(&origin(&self.to), &origin(&self.from)).into()
    }

    async fn fate(&self, asked: &Asked) -> Option<Response> {
        match (self.judge)(asked) {
            Fate::Pass => None,
            Fate::Silence => std::future::pending().await,
            Fate::Instead(status) => Some(status.into_response()),
        }
    }
}
