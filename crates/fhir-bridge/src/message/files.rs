//! Files, both ways. They stream: no more of one is in memory than is on its way, unless a server doesn't
//! say how long it is.

use base64::{Engine, engine::general_purpose::STANDARD};
use fhir::{Attachment, BinaryBody, BinaryContent, BinaryForm, Instant, ResourceRef, ResourceType};
use matrix_appservice::{Download, Event, HandlerError, Intent, Media, Message, ruma::OwnedMxcUri};
use serde_json::json;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, DuplexStream};

use crate::{
    bridge::Bridge,
    failure,
    mapping::{content::Sent, file_name, parts},
};

/// How much of a file is on its way at once.
const PIECE_BYTES: usize = 64 * 1024;
/// How long a file may take to come from its homeserver.
const FILE_COMES: Duration = Duration::from_mins(1);
const FILE_PAUSE: Duration = Duration::from_secs(5);

/// Why a file is not carried over, for people: it says nothing of the file.
type Refusal = &'static str;

const TYPE: Refusal = "files of its type are not carried over";
pub(super) const LARGE: Refusal = "it is too large";
const ELSEWHERE: Refusal = "it is not on the record's own server";
const NOT_THERE: Refusal = "it can't be found";
const EMPTY: Refusal = "it is empty";
const CHANGED: Refusal = "its contents are not what the record says of them";

/// Why a file can't be fetched.
pub(super) enum FileError {
    /// For good.
    Refused(Refusal),
    /// For now.
    Failed(HandlerError),
}

/// Length and SHA-1 of what has come through.
#[derive(Default)]
struct Measure {
    bytes: u64,
    sha1: Sha1,
}

impl Measure {
    fn add(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        self.sha1.update(piece);
    }

    fn hash(self) -> (u64, String) {
        (self.bytes, STANDARD.encode(self.sha1.finalize()))
    }
}

impl Bridge {
    /// Uploads a file of the record; the message that shows it. The inner error says why it isn't.
    pub(super) async fn upload(
        &self,
        user: &Intent,
        file: &parts::File,
    ) -> Result<Result<Message, Refusal>, HandlerError> {
        if !self.settings.carries(&file.content_type) {
            return Ok(Err(TYPE));
        }
        let attachment = &file.attachment;
        if attachment
            .size
            .is_some_and(|size| size > self.settings.max_attachment_bytes)
        {
            return Ok(Err(LARGE));
        }
        let uploaded = if let Some(data) = &attachment.data {
            self.upload_inline(user, file, data).await?
        } else if let Some(url) = &attachment.url {
            self.upload_binary(user, file, url).await?
        } else {
            Err(NOT_THERE)
        };
        let (uri, bytes, hash) = match uploaded {
            Ok(uploaded) => uploaded,
            Err(why) => return Ok(Err(why)),
        };
        if attachment.size.is_some_and(|size| size != bytes)
            || attachment
                .hash
                .as_ref()
                .is_some_and(|known| known.trim() != hash)
        {
            return Ok(Err(CHANGED));
        }
        let message = Message::file(kind_of(&file.content_type), file.name.clone(), &uri)
            .with("filename", json!(file.name))
            .with(
                "info",
                json!({"mimetype": file.content_type, "size": bytes}),
            );
        Ok(Ok(message))
    }

    /// A text that no event can hold, as a file.
    pub(super) async fn as_file(&self, user: &Intent, text: &str) -> Result<Message, HandlerError> {
        let name = "message.txt";
        let bytes = text.as_bytes().to_vec();
        let size = bytes.len();
        let media = Media::bytes("text/plain; charset=utf-8", bytes).filename(name);
        let uri = user.upload(media).await?;
        Ok(Message::file("m.file", name, &uri)
            .with("filename", json!(name))
            .with("info", json!({"mimetype": "text/plain", "size": size})))
    }

    async fn upload_inline(
        &self,
        user: &Intent,
        file: &parts::File,
        data: &str,
    ) -> Result<Result<(OwnedMxcUri, u64, String), Refusal>, HandlerError> {
        let data: String = data.split_ascii_whitespace().collect();
        let Ok(bytes) = STANDARD.decode(data) else {
            return Ok(Err(CHANGED));
        };
        self.upload_bytes(user, file, bytes).await
    }

    async fn upload_bytes(
        &self,
        user: &Intent,
        file: &parts::File,
        bytes: Vec<u8>,
    ) -> Result<Result<(OwnedMxcUri, u64, String), Refusal>, HandlerError> {
        if bytes.is_empty() {
            return Ok(Err(EMPTY));
        }
        if bytes.len() as u64 > self.settings.max_attachment_bytes {
            return Ok(Err(LARGE));
        }
        let mut measure = Measure::default();
        measure.add(&bytes);
        let (length, hash) = measure.hash();
        let media = Media::bytes(file.content_type.as_str(), bytes).filename(file.name.as_str());
        match user.upload(media).await {
            Ok(uri) => Ok(Ok((uri, length, hash))),
            Err(matrix_appservice::Error::TooLarge { .. }) => Ok(Err(LARGE)),
            Err(error) => Err(error.into()),
        }
    }

    /// Only what is on the FHIR server itself is read: an address is somebody's word, and could make the
    /// bridge ask anybody for anything.
    async fn upload_binary(
        &self,
        user: &Intent,
        file: &parts::File,
        url: &str,
    ) -> Result<Result<(OwnedMxcUri, u64, String), Refusal>, HandlerError> {
        let reference = self.fhir.base().resolve(url);
        let Some(reference) = reference.filter(|one| *one.resource_type() == ResourceType::Binary)
        else {
            return Ok(Err(ELSEWHERE));
        };
        let limit = self.settings.max_attachment_bytes;
        let mut content = match self.fhir.binary(&reference, limit).await {
            Ok(Some(content)) => content,
            Ok(None) => return Ok(Err(NOT_THERE)),
            Err(fhir::Error::TooLarge { .. }) => return Ok(Err(LARGE)),
            Err(error) => return Err(failure::fhir(error)),
        };
        let length = content
            .length()
            .filter(|_| content.form() == BinaryForm::Raw);
        let Some(length) = length else {
            let bytes = match all_of(&mut content).await {
                Ok(bytes) => bytes,
                Err(fhir::Error::TooLarge { .. }) => return Ok(Err(LARGE)),
                Err(error) => return Err(failure::fhir(error)),
            };
            return match bytes {
                Some(bytes) => self.upload_bytes(user, file, bytes).await,
                None => Ok(Err(NOT_THERE)),
            };
        };
        if length == 0 {
            return Ok(Err(EMPTY));
        }
        let (writer, reader) = tokio::io::duplex(PIECE_BYTES);
        let media =
            Media::stream(file.content_type.as_str(), reader, length).filename(file.name.as_str());
        let (measured, uploaded) = tokio::join!(pump(&mut content, writer), user.upload(media));
        match uploaded {
            Ok(uri) => {
                let (bytes, hash) = measured.map_err(failure::fhir)?.hash();
                Ok(Ok((uri, bytes, hash)))
            }
            Err(matrix_appservice::Error::TooLarge { .. }) => Ok(Err(LARGE)),
            // When the FHIR server broke off, the homeserver got no whole file: that is the cause.
            Err(error) => match measured {
                Err(cause) => Err(failure::fhir(cause)),
                Ok(_) => Err(error.into()),
            },
        }
    }

    /// Puts a file from Matrix into the record: the attachment, and the `Binary` when there is one. The
    /// inner error says why it isn't put there.
    pub(super) async fn file_into_record(
        &self,
        bot: &Intent,
        event: &Event,
        conversation: &ResourceRef,
        sent: &Sent,
    ) -> Result<Result<(Attachment, Option<ResourceRef>), String>, HandlerError> {
        let limit = self.settings.max_attachment_bytes;
        let refused = |why: Refusal| Ok(Err(format!("a file, because {why}")));
        let mut download = match self.begin_download(bot, event, sent, limit).await {
            Ok(download) => download,
            Err(FileError::Refused(why)) => return refused(why),
            Err(FileError::Failed(error)) => return Err(error),
        };
        let content_type = sent
            .content_type
            .as_deref()
            .or(download.content_type())
            .map_or_else(String::new, parts::bare_type);
        if !self.settings.carries(&content_type) {
            return refused(TYPE);
        }
        let title = file_name::clean(&sent.name, &content_type);
        let creation = event
            .origin_server_ts()
            .and_then(|at| Instant::from_unix_millis(at.get().into()));
        let mut attachment = Attachment {
            content_type: Some(content_type.clone()),
            title: Some(title),
            creation: creation.map(|at| at.as_str().to_owned()),
            ..Attachment::default()
        };
        // Asked for now: once something is read, it is what is left.
        let length = download.length();
        let begun = match begin(&mut download, self.settings.inline_attachment_bytes).await {
            Ok(begun) => begun,
            Err(matrix_appservice::Error::TooLarge { .. }) => return refused(LARGE),
            Err(error) => return Err(error.into()),
        };
        let stored = match begun {
            Begun::All(bytes) => inline(&mut attachment, &bytes).map(|()| None),
            Begun::More(first) => {
                let id = binary_id(event);
                let stored = self
                    .stream_into_record(
                        &id,
                        &content_type,
                        conversation,
                        &mut download,
                        (first, length),
                    )
                    .await?;
                if let Some((reference, bytes, hash)) = stored {
                    attachment.url = Some(reference.to_string());
                    attachment.size = Some(bytes);
                    attachment.hash = Some(hash);
                    Ok(Some(reference))
                } else {
                    // The server takes no such Binary: then the file stands in the message itself.
                    let again = bot.download(&sent.uri, limit).await?;
                    inline(&mut attachment, &again.bytes().await?).map(|()| None)
                }
            }
        };
        match stored {
            Ok(file) => Ok(Ok((attachment, file))),
            Err(why) => refused(why),
        }
    }

    /// Begins to fetch a file of an event, which may still be on its way between homeservers.
    pub(super) async fn begin_download(
        &self,
        bot: &Intent,
        event: &Event,
        sent: &Sent,
        limit: u64,
    ) -> Result<Download, FileError> {
        if sent.size.is_some_and(|size| size > limit) {
            return Err(FileError::Refused(LARGE));
        }
        match bot.download(&sent.uri, limit).await {
            Ok(download) => Ok(download),
            Err(matrix_appservice::Error::TooLarge { .. }) => Err(FileError::Refused(LARGE)),
            Err(error) if error.is("M_NOT_FOUND") || error.is("M_NOT_YET_UPLOADED") => {
                let at = event.origin_server_ts().map_or(0, |at| u64::from(at.get()));
                Err(if age_ms(at) < FILE_COMES.as_millis() {
                    FileError::Failed(HandlerError::after("a file is not there yet", FILE_PAUSE))
                } else {
                    FileError::Refused(NOT_THERE)
                })
            }
            Err(error) => Err(FileError::Failed(error.into())),
        }
    }

    /// `None`: the FHIR server doesn't take it as a `Binary`.
    async fn stream_into_record(
        &self,
        id: &str,
        content_type: &str,
        conversation: &ResourceRef,
        download: &mut Download,
        (first, length): (Vec<u8>, Option<u64>),
    ) -> Result<Option<(ResourceRef, u64, String)>, HandlerError> {
        let mut first = Some(first);
        let length = if let Some(length) = length {
            length
        } else {
            let mut all = first.take().unwrap_or_default();
            while let Some(piece) = download.chunk().await? {
                all.extend_from_slice(&piece);
            }
            let length = all.len() as u64;
            first = Some(all);
            length
        };
        let (sender, body) = BinaryBody::channel(length);
        let pumping = async {
            let mut measure = Measure::default();
            let mut next = first;
            loop {
                let piece = match next.take() {
                    Some(piece) => piece,
                    None => match download.chunk().await {
                        Ok(Some(piece)) => piece.to_vec(),
                        Ok(None) => return Ok(measure),
                        Err(error) => {
                            sender.fail().await;
                            return Err(error);
                        }
                    },
                };
                measure.add(&piece);
                if !sender.send(piece).await {
                    return Ok(measure);
                }
            }
        };
        let put = self
            .fhir
            .put_binary(id, content_type, body, Some(conversation));
        let (measured, stored) = tokio::join!(pumping, put);
        match stored {
            Ok(reference) => {
                let (bytes, hash) = measured?.hash();
                Ok(Some((reference, bytes, hash)))
            }
            Err(fhir::Error::Rejected { .. } | fhir::Error::NotFound { .. }) => Ok(None),
            Err(error) => {
                measured?;
                Err(failure::fhir(error))
            }
        }
    }
}

enum Begun {
    All(Vec<u8>),
    More(Vec<u8>),
}

/// Reads a file until it ends or is longer than `inline`.
async fn begin(download: &mut Download, inline: u64) -> Result<Begun, matrix_appservice::Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = download.chunk().await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > inline {
            return Ok(Begun::More(bytes));
        }
    }
    Ok(Begun::All(bytes))
}

fn inline(attachment: &mut Attachment, bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.is_empty() {
        return Err(EMPTY);
    }
    let mut measure = Measure::default();
    measure.add(bytes);
    let (length, hash) = measure.hash();
    attachment.data = Some(STANDARD.encode(bytes));
    attachment.size = Some(length);
    attachment.hash = Some(hash);
    Ok(())
}

/// Moves a file from the FHIR server to whoever reads the other end.
async fn pump(
    content: &mut BinaryContent,
    mut writer: DuplexStream,
) -> Result<Measure, fhir::Error> {
    let mut measure = Measure::default();
    while let Some(piece) = content.chunk().await? {
        measure.add(&piece);
        if writer.write_all(&piece).await.is_err() {
            // Nobody reads any more; the other side says why.
            break;
        }
    }
    Ok(measure)
}

/// All of a file; `None` when the server's JSON holds none.
async fn all_of(content: &mut BinaryContent) -> Result<Option<Vec<u8>>, fhir::Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = content.chunk().await? {
        bytes.extend_from_slice(&piece);
    }
    if content.form() == BinaryForm::Raw {
        return Ok(Some(bytes));
    }
    let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let data = json["data"].as_str().unwrap_or_default();
    let data: String = data.split_ascii_whitespace().collect();
    Ok(STANDARD.decode(data).ok().filter(|bytes| !bytes.is_empty()))
}

/// The id of the `Binary` for the file of an event: the same each time.
fn binary_id(event: &Event) -> String {
    let mut id = format!("mx-{:x}", Sha256::digest(event.event_id().as_bytes()));
    id.truncate(60);
    id
}

fn kind_of(content_type: &str) -> &'static str {
    match content_type.split('/').next() {
        Some("image") => "m.image",
        Some("audio") => "m.audio",
        Some("video") => "m.video",
        _ => "m.file",
    }
}

fn age_ms(at: u64) -> u128 {
    Instant::now().unix_millis().saturating_sub(at).into()
}
