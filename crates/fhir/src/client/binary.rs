//! Files, as the bytes they are.

use std::{
    fmt, io,
    pin::Pin,
    sync::Mutex,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use reqwest::{
    Method, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue},
};
use tokio::sync::mpsc;

use super::{FhirClient, http};
use crate::{Error, ResourceRef, ResourceType};

/// The file itself, whatever it is; only servers that can't do that send the resource.
const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");
const FHIR_JSON: &str = "application/fhir+json";
/// Who may see a `Binary` is decided as for this resource:
/// <http://hl7.org/fhir/R4/binary.html#security>
const SECURITY_CONTEXT: HeaderName = HeaderName::from_static("x-security-context");

/// The bytes of a `Binary`, piece by piece. `Debug` shows nothing of it.
pub struct BinaryContent {
    call: crate::Call,
    response: Response,
    limit: u64,
    read: u64,
}

/// What is read of a [`BinaryContent`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BinaryForm {
    /// The file's own bytes.
    Raw,
    /// The `Binary` as JSON, with the bytes as base64 in `data`: the server can't do otherwise.
    Json,
}

impl BinaryContent {
    /// Whether these are the file's own bytes.
    #[must_use]
    pub fn form(&self) -> BinaryForm {
        match self.content_type() {
            Some(name) if name.starts_with(FHIR_JSON) => BinaryForm::Json,
            _ => BinaryForm::Raw,
        }
    }

    /// Its MIME type, as the server says.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.response.headers().get(CONTENT_TYPE)?.to_str().ok()
    }

    /// How many bytes come, where the server says.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] as soon as more comes than was allowed, and when the connection breaks.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let chunk = self.response.chunk().await;
        let Some(chunk) = chunk.map_err(|error| http::transport(&self.call, &error))? else {
            return Ok(None);
        };
        self.read = self.read.saturating_add(chunk.len() as u64);
        if self.read > self.limit {
            return Err(Error::TooLarge {
                call: self.call.clone(),
            });
        }
        Ok(Some(chunk.to_vec()))
    }
}

/// A body that is sent while its pieces are still coming; see [`BinaryBody::channel`].
pub struct BinaryBody {
    /// The mutex is never locked: it makes it `Sync`.
    pieces: Mutex<mpsc::Receiver<io::Result<Vec<u8>>>>,
    left: u64,
}

/// Where the pieces of a [`BinaryBody`] are put in.
pub struct BinarySender(mpsc::Sender<io::Result<Vec<u8>>>);

impl BinaryBody {
    /// A body of exactly `length` bytes, and where to put them in.
    #[must_use]
    pub fn channel(length: u64) -> (BinarySender, Self) {
        let (sender, receiver) = mpsc::channel(4);
        let body = Self {
            pieces: Mutex::new(receiver),
            left: length,
        };
        (BinarySender(sender), body)
    }
}

impl BinarySender {
    /// Puts in a piece, when there is room for it. Returns whether somebody still wants it.
    pub async fn send(&self, piece: Vec<u8>) -> bool {
        self.0.send(Ok(piece)).await.is_ok()
    }

    /// Makes the request fail: the rest can't be had.
    pub async fn fail(self) {
        // Nobody wants it any more: as good.
        let _ = self.0.send(Err(io::ErrorKind::UnexpectedEof.into())).await;
    }
}

impl Body for BinaryBody {
    type Data = bytes::Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Self::Data>>>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let pieces = this.pieces.get_mut();
        let Ok(pieces) = pieces else {
            return Poll::Ready(Some(Err(io::Error::other("a sender panicked"))));
        };
        pieces.poll_recv(context).map(|piece| match piece {
            Some(Ok(piece)) if piece.len() as u64 <= this.left => {
                this.left -= piece.len() as u64;
                Some(Ok(Frame::data(piece.into())))
            }
            Some(Err(error)) => Some(Err(error)),
            _ => Some(Err(io::ErrorKind::UnexpectedEof.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl FhirClient {
    /// Begins to read a `Binary` of at most `max_bytes`. `None` when there is none, or no longer.
    ///
    /// Spec: <http://hl7.org/fhir/R4/binary.html#rest>
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] when it is larger, and when the server is unavailable or refuses.
    pub async fn binary(
        &self,
        reference: &ResourceRef,
        max_bytes: u64,
    ) -> Result<Option<BinaryContent>, Error> {
        let call = self.call(&Method::GET, "Binary/[id]");
        let (request, shown) = self.bytes_request(Method::GET, reference).await?;
        let request = request.header(ACCEPT, ANYTHING);
        let response = self
            .timed(&call, request)
            .await
            .map_err(|error| http::transport(&call, &error))?;
        if !response.status().is_success() {
            self.note_refusal(response.status(), shown).await;
            return match http::status_error(call, response).await {
                Error::NotFound { .. } => Ok(None),
                error => Err(error),
            };
        }
        // As base64, a third more and the JSON around it.
        let limit = max_bytes.saturating_mul(3) / 2 + 4096;
        let content = BinaryContent {
            call: call.clone(),
            response,
            limit,
            read: 0,
        };
        let limit = match content.form() {
            BinaryForm::Raw => max_bytes,
            BinaryForm::Json => limit,
        };
        if content.length().is_some_and(|length| length > limit) {
            return Err(Error::TooLarge { call });
        }
        Ok(Some(BinaryContent { limit, ..content }))
    }

    /// Stores a file under an id that the caller has chosen, so that it is there once however often
    /// that is repeated: `PUT Binary/[id]` with the bytes as they are. `context` is the resource that
    /// decides who may see it.
    ///
    /// Spec: <http://hl7.org/fhir/R4/binary.html#rest>
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] when the server takes no bytes or no ids of clients, and when it is
    /// unavailable.
    pub async fn put_binary(
        &self,
        id: &str,
        content_type: &str,
        body: BinaryBody,
        context: Option<&ResourceRef>,
    ) -> Result<ResourceRef, Error> {
        let call = self.call(&Method::PUT, "Binary/[id]");
        let invalid = |what| Error::Invalid {
            call: call.clone(),
            what,
        };
        let reference = ResourceRef::try_new(ResourceType::Binary, id)
            .ok_or_else(|| invalid("the id is not one"))?;
        let content_type = HeaderValue::try_from(content_type)
            .map_err(|_| invalid("the content type is not one"))?;
        let (request, shown) = self.bytes_request(Method::PUT, &reference).await?;
        let mut request = request
            .header(ACCEPT, FHIR_JSON)
            .header(CONTENT_TYPE, content_type)
            .header(CONTENT_LENGTH, body.left);
        if let Some(context) = context {
            request = request.header(SECURITY_CONTEXT, context.to_string());
        }
        let request = request.body(reqwest::Body::wrap(body));
        let response = self
            .timed(&call, request)
            .await
            .map_err(|error| http::transport(&call, &error))?;
        if response.status().is_success() {
            Ok(reference)
        } else {
            self.note_refusal(response.status(), shown).await;
            Err(http::status_error(call, response).await)
        }
    }

    /// The request, and the number of the token that it shows.
    async fn bytes_request(
        &self,
        method: Method,
        reference: &ResourceRef,
    ) -> Result<(reqwest::RequestBuilder, Option<u64>), Error> {
        let inner = &self.inner;
        let url = inner.base.join(&reference.to_string());
        let request = inner.http.request(method, url);
        let shown = inner.tokens.shown(&inner.http, &inner.base, None).await?;
        Ok(match shown {
            Some(shown) => (
                request.header(AUTHORIZATION, shown.header),
                Some(shown.number),
            ),
            None => (request, None),
        })
    }

    /// Bytes can't be sent a second time, so a token that was refused is replaced for the next attempt.
    async fn note_refusal(&self, status: StatusCode, shown: Option<u64>) {
        let inner = &self.inner;
        if status == StatusCode::UNAUTHORIZED && shown.is_some() && inner.tokens.can_be_replaced() {
            // Whether it could be fetched, the next attempt will tell.
            let _ = inner.tokens.shown(&inner.http, &inner.base, shown).await;
        }
    }
}

impl fmt::Debug for BinaryContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BinaryContent").finish_non_exhaustive()
    }
}

impl fmt::Debug for BinaryBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BinaryBody")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for BinarySender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BinarySender").finish_non_exhaustive()
    }
}
