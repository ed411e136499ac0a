//! Files, up and down.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

mod common;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use common::{homeserver, journal, registration, server, user};
use matrix_appservice::{
    AppService, Error, Intent, Media, Retry,
    testing::{FakeHomeserver, Fault},
};
use serde_json::json;
use tokio::io::{AsyncRead, ReadBuf};

const GHOST: &str = "@_ghost_1:hs.test";

struct World {
    _folder: tempfile::TempDir,
    homeserver: FakeHomeserver,
    ghost: Intent,
}

impl World {
    async fn new() -> Self {
        let (homeserver, folder) = (homeserver().await, tempfile::tempdir().unwrap());
        let journal = journal(&folder).await;
        let service = AppService::builder(registration(), server(), homeserver.url(), journal);
        let ghost = service.build().unwrap().intent(user(GHOST), "work");
        Self {
            _folder: folder,
            homeserver,
            ghost,
        }
    }
}

/// Reads `left` bytes, a few at a time, and waits in between.
struct Slowly {
    left: usize,
    waited: bool,
}

impl Slowly {
    fn new(left: usize) -> Self {
        Self {
            left,
            waited: false,
        }
    }
}

impl AsyncRead for Slowly {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.waited = !self.waited;
        if self.waited {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let count = self.left.min(buffer.remaining()).min(7001);
        buffer.put_slice(&vec![b'x'; count]);
        self.left -= count;
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_file_comes_back_as_it_was_sent() {
    let world = World::new().await;
    let media = Media::bytes("text/plain", "hello").filename("a b?.txt");
    let uri = world.ghost.upload(media).await.unwrap();
    let call = &world.homeserver.calls_of("upload")[0];
    assert_eq!(call.content_type.as_deref(), Some("text/plain"));
    assert_eq!(call.query["filename"], "a b?.txt");
    assert_eq!(call.acting_as, GHOST);

    let download = world.ghost.download(&uri, 5).await.unwrap();
    assert_eq!(download.content_type(), Some("text/plain"));
    assert_eq!(download.length(), Some(5));
    assert_eq!(download.bytes().await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_stream_is_sent_with_its_length_and_not_a_byte_more() {
    let world = World::new().await;
    let stream = Media::stream("a/b", Slowly::new(500_000), 300_000);
    let uri = world.ghost.upload(stream).await.unwrap();
    let bytes = world.ghost.download(&uri, 300_000).await.unwrap();
    assert_eq!(bytes.bytes().await.unwrap(), vec![b'x'; 300_000]);

    let short = Media::stream("a/b", Slowly::new(10), 11);
    let error = world.ghost.upload(short).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    // A stream that was refused can't be sent again.
    let limited = json!({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 1});
    world
        .homeserver
        .fail("upload", [Fault::Refuse(429, limited)]);
    let stream = Media::stream("a/b", Slowly::new(10), 10);
    let error = world.ghost.upload(stream).await.unwrap_err();
    assert!(error.is_rate_limited());
    let bytes = Media::bytes("a/b", "x");
    let unavailable = Fault::Refuse(503, json!({}));
    world.homeserver.fail("upload", [unavailable]);
    // An upload that was answered so may be there: it isn't made twice.
    assert!(world.ghost.upload(bytes).await.is_err());
}

#[tokio::test]
async fn what_is_too_large_is_not_sent_and_not_read() {
    let world = World::new().await;
    let large = Media::stream("a/b", Slowly::new(0), 1024 * 1024 + 1);
    let error = world.ghost.upload(large).await.unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { limit: 1_048_576 }),
        "{error}"
    );
    assert_eq!(error.retry(), Retry::Never);
    assert!(world.homeserver.calls_of("upload").is_empty());

    let uri = world
        .ghost
        .upload(Media::bytes("a/b", "12345"))
        .await
        .unwrap();
    world.ghost.upload(Media::bytes("a/b", "1")).await.unwrap();
    // The limit is asked for once.
    assert_eq!(world.homeserver.calls_of("media").len(), 1);
    let error = world.ghost.download(&uri, 4).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 4 }), "{error}");
}

#[tokio::test]
async fn a_file_without_a_length_is_read_up_to_the_limit() {
    use axum::{Router, body::Body};
    // Nobody tells how long it is, and it never ends.
    let router = Router::new().fallback(async || Body::new(endless::Endless));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    let service = AppService::builder(registration(), server(), url.parse().unwrap(), journal)
        .build()
        .unwrap();
    let bot = service.intent(user("@bot:hs.test"), "work");
    let download = bot
        .download("mxc://hs.test/endless".into(), 10_000)
        .await
        .unwrap();
    assert_eq!(download.length(), None);
    let error = download.bytes().await.unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { limit: 10_000 }),
        "{error}"
    );
}

mod endless {
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use axum::body::{Bytes, HttpBody};
    use http_body::Frame;

    /// A body without an end.
    pub(super) struct Endless;

    impl HttpBody for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 1000])))))
        }
    }
}

#[tokio::test]
async fn a_place_that_was_reserved_is_filled_once() {
    let world = World::new().await;
    world.ghost.ensure_registered().await.unwrap();
    let uri = world.ghost.reserve_media().await.unwrap();
    let error = world.ghost.download(&uri, 100).await.unwrap_err();
    assert!(error.is("M_NOT_YET_UPLOADED"));
    let upload = async || {
        let media = Media::bytes("text/plain", "hello");
        world.ghost.upload_to(&uri, media).await.unwrap()
    };
    assert!(upload().await);
    assert!(!upload().await);
    let file = world.ghost.download(&uri, 100).await.unwrap();
    assert_eq!(file.bytes().await.unwrap(), b"hello");
}
