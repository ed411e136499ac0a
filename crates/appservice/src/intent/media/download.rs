//! Files that come down.

use std::fmt;

use axum::body::Bytes;
use http::header;
use ruma::{
    MxcUri, api::client::media::get_content_thumbnail::v3::Method, http_headers::ContentDisposition,
};

use super::{Intent, parts};
use crate::client::{Answering, Call, Error};

const DOWNLOAD: &str = "/_matrix/client/v1/media/download/{serverName}/{mediaId}";
const THUMBNAIL: &str = "/_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}";

/// A file that is being downloaded, piece by piece. Read it soon: the connection waits. `Debug` shows
/// nothing of it.
pub struct Download {
    answering: Answering,
    limit: u64,
    read: u64,
}

/// A picture in small, as it is asked for: the homeserver has some sizes and gives the next one.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Thumbnail {
    /// The width in pixels.
    pub width: u32,
    /// The height in pixels.
    pub height: u32,
    /// Whether the picture is cut to the size rather than made to fit into it.
    pub crop: bool,
    /// Whether it may move.
    pub animated: bool,
}

impl Thumbnail {
    /// A picture that fits into this size and doesn't move.
    #[must_use]
    pub fn new(width: u32, height: u32) -> Self {
        Self {
            width,
            height,
            crop: false,
            animated: false,
        }
    }

    /// Cut to the size.
    #[must_use]
    pub fn crop(mut self) -> Self {
        self.crop = true;
        self
    }
}

impl Download {
    fn try_new(answering: Answering, limit: u64) -> Result<Self, Error> {
        let download = Self {
            answering,
            limit,
            read: 0,
        };
        match download.length() {
            Some(length) if length > limit => Err(Error::TooLarge { limit }),
            _ => Ok(download),
        }
    }

    /// The file's type as its uploader named it. Don't believe it: it is somebody else's word.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.answering
            .headers()
            .get(header::CONTENT_TYPE)?
            .to_str()
            .ok()
    }

    /// The file's name as its uploader named it. It may hold anything: no path should be made of it.
    #[must_use]
    pub fn filename(&self) -> Option<String> {
        let header = self.answering.headers().get(header::CONTENT_DISPOSITION)?;
        let disposition = ContentDisposition::try_from(header.as_bytes()).ok()?;
        disposition.filename
    }

    /// The length in bytes, where the homeserver tells it.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.answering.length()
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] as soon as more comes than was allowed; else as any call.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(chunk) = self.answering.chunk().await? else {
            return Ok(None);
        };
        self.read = self.read.saturating_add(chunk.len() as u64);
        if self.read > self.limit {
            return Err(Error::TooLarge { limit: self.limit });
        }
        Ok(Some(chunk))
    }

    /// All of it.
    ///
    /// # Errors
    ///
    /// As [`Download::chunk`].
    pub async fn bytes(mut self) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download").finish_non_exhaustive()
    }
}

impl Intent {
    /// Downloads a file of at most `max_bytes`, from the homeserver that has it if need be.
    ///
    /// Over the authenticated endpoint only (Matrix v1.11): the old one is closed nearly everywhere.
    /// [Specification](https://spec.matrix.org/v1.17/client-server-api/#get_matrixclientv1mediadownloadservernamemediaid).
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] when the file is larger; `M_NOT_FOUND`; `M_NOT_YET_UPLOADED`; else as any
    /// call.
    pub async fn download(&self, uri: &MxcUri, max_bytes: u64) -> Result<Download, Error> {
        let (server, id) = parts(uri)?;
        self.fetch(Call::get(DOWNLOAD, &[server, id])?, max_bytes)
            .await
    }

    /// Downloads a picture in small; as [`Intent::download`].
    ///
    /// # Errors
    ///
    /// As [`Intent::download`].
    pub async fn download_thumbnail(
        &self,
        uri: &MxcUri,
        thumbnail: Thumbnail,
        max_bytes: u64,
    ) -> Result<Download, Error> {
        let (server, id) = parts(uri)?;
        let method = if thumbnail.crop {
            Method::Crop
        } else {
            Method::Scale
        };
        let mut call = Call::get(THUMBNAIL, &[server, id])?
            .query("width", &thumbnail.width.to_string())
            .query("height", &thumbnail.height.to_string())
            .query("method", method.as_str());
        if thumbnail.animated {
            call = call.query("animated", "true");
        }
        self.fetch(call, max_bytes).await
    }

    async fn fetch(&self, call: Call, max_bytes: u64) -> Result<Download, Error> {
        Download::try_new(self.begin(call.media()).await?, max_bytes)
    }
}
