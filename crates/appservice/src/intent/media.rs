//! Files: up, down, and in small.

mod download;
mod stream;

use std::fmt;

use axum::body::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use ruma::{MxcUri, OwnedMxcUri};
use serde::Deserialize;
use serde_json::json;
use tokio::io::AsyncRead;

pub use self::download::{Download, Thumbnail};
use self::stream::Stream;
use super::Intent;
use crate::client::{Call, CallBody, Error};

const UPLOAD: &str = "/_matrix/media/v3/upload";
const CREATE: &str = "/_matrix/media/v1/create";
const UPLOAD_TO: &str = "/_matrix/media/v3/upload/{serverName}/{mediaId}";

/// A file to be uploaded. `Debug` shows nothing of it.
pub struct Media {
    body: Body,
    content_type: String,
    filename: Option<String>,
}

enum Body {
    Bytes(Bytes),
    Stream(Stream),
}

impl Media {
    /// A file that is in memory. Its upload can be repeated.
    #[must_use]
    pub fn bytes(content_type: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        Self::new(content_type, Body::Bytes(bytes.into()))
    }

    /// A file that is read while it is sent, and that has `length` bytes: reading ends there, and an
    /// earlier end makes the upload fail.
    #[must_use]
    pub fn stream(
        content_type: impl Into<String>,
        reader: impl AsyncRead + Send + 'static,
        length: u64,
    ) -> Self {
        Self::new(content_type, Body::Stream(Stream::new(reader, length)))
    }

    fn new(content_type: impl Into<String>, body: Body) -> Self {
        Self {
            body,
            content_type: content_type.into(),
            filename: None,
        }
    }

    /// What the file is called when somebody saves it.
    #[must_use]
    pub fn filename(mut self, name: impl Into<String>) -> Self {
        self.filename = Some(name.into());
        self
    }

    /// Its length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        match &self.body {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::Stream(stream) => stream.length(),
        }
    }
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Media").finish_non_exhaustive()
    }
}

impl Intent {
    /// Uploads a file and returns its `mxc:` URI.
    ///
    /// Homeservers keep every upload: when a delivery runs again, the file is uploaded again and the
    /// first one lies there unused. Where that matters, [reserve](Intent::reserve_media) the URI, keep
    /// it, and [upload to it](Intent::upload_to).
    /// [Specification](https://spec.matrix.org/v1.17/client-server-api/#post_matrixmediav3upload).
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] when the homeserver takes no such large file, before it is sent; else as any
    /// call.
    pub async fn upload(&self, media: Media) -> Result<OwnedMxcUri, Error> {
        #[derive(Deserialize)]
        struct Uploaded {
            content_uri: OwnedMxcUri,
        }
        self.ensure_registered().await?;
        self.check_length(&media).await?;
        let call = fill(Call::new(Method::POST, UPLOAD, &[])?, media)?;
        Ok(self
            .call(call.media())
            .await?
            .read::<Uploaded>()?
            .content_uri)
    }

    /// Reserves an `mxc:` URI that can be sent before the file is uploaded, which has to follow soon
    /// (on Synapse, within a day).
    /// [Specification](https://spec.matrix.org/v1.17/client-server-api/#post_matrixmediav1create).
    ///
    /// # Errors
    ///
    /// `M_LIMIT_EXCEEDED` when too many are reserved; else as any call.
    pub async fn reserve_media(&self) -> Result<OwnedMxcUri, Error> {
        #[derive(Deserialize)]
        struct Created {
            content_uri: OwnedMxcUri,
        }
        self.ensure_registered().await?;
        let call = Call::post(CREATE, &[])?.json(&json!({}))?;
        Ok(self.call(call).await?.read::<Created>()?.content_uri)
    }

    /// Uploads a file to a URI that this user reserved. Returns whether it had to: what was uploaded
    /// there before stays.
    /// [Specification](https://spec.matrix.org/v1.17/client-server-api/#put_matrixmediav3uploadservernamemediaid).
    ///
    /// # Errors
    ///
    /// As [`Intent::upload`]; `M_NOT_FOUND` when the reservation is over.
    pub async fn upload_to(&self, uri: &MxcUri, media: Media) -> Result<bool, Error> {
        self.ensure_registered().await?;
        self.check_length(&media).await?;
        let (server, id) = parts(uri)?;
        let call = fill(Call::new(Method::PUT, UPLOAD_TO, &[server, id])?, media)?;
        match self.call(call.media()).await {
            Ok(_) => Ok(true),
            Err(error)
                if error.is("M_CANNOT_OVERWRITE_MEDIA")
                    || error.status() == Some(StatusCode::CONFLICT) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The largest file, in bytes, that the homeserver takes (`m.upload.size`); `None` when it doesn't
    /// say. Asked once an hour.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn max_upload_bytes(&self) -> Result<Option<u64>, Error> {
        self.ensure_registered().await?;
        self.client.upload_limit(&self.user).await
    }

    async fn check_length(&self, media: &Media) -> Result<(), Error> {
        match self.max_upload_bytes().await {
            Ok(Some(limit)) if media.length() > limit => Err(Error::TooLarge { limit }),
            // The homeserver says so itself when it is too large.
            _ => Ok(()),
        }
    }
}

fn fill(mut call: Call, media: Media) -> Result<Call, Error> {
    let content_type = HeaderValue::try_from(media.content_type)
        .map_err(|_| Error::Request("this is no content type"))?;
    if let Some(name) = media.filename {
        call = call.query("filename", &name);
    }
    let body = match media.body {
        Body::Bytes(bytes) => CallBody::Bytes(bytes),
        Body::Stream(stream) => CallBody::Stream(Some(reqwest::Body::wrap(stream))),
    };
    Ok(call.header(header::CONTENT_TYPE, content_type).body(body))
}

/// Server and media id of an `mxc:` URI.
fn parts(uri: &MxcUri) -> Result<(&str, &str), Error> {
    let (server, id) = uri
        .parts()
        .map_err(|_| Error::Request("this is no mxc URI"))?;
    Ok((server.as_str(), id))
}
