//! What somebody said in Matrix: the content of an event, read leniently.

use fhir::Text;
use matrix_appservice::ruma::{EventId, OwnedEventId, OwnedMxcUri};
use serde_json::Value;

use super::{markup, resource};

/// What an event says. `Debug` shows its kind alone.
#[derive(Clone, PartialEq)]
pub enum Said {
    /// Text.
    Text(Text),
    /// A file, and what is said about it.
    File(Sent, Option<Text>),
    /// A FHIR resource, or why it can't be taken.
    Resource(Result<Box<resource::Offered>, resource::Refusal>),
    /// Something that the record can't take: its type, of which no more than letters is shown.
    Other(String),
}

/// A file as its sender describes it: each word of it is a stranger's.
#[derive(Clone, PartialEq)]
pub struct Sent {
    /// Where it is.
    pub uri: OwnedMxcUri,
    /// What it is called.
    pub name: String,
    /// Its MIME type.
    pub content_type: Option<String>,
    /// Its length in bytes.
    pub size: Option<u64>,
}

impl std::fmt::Debug for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text",
            Self::File(..) => "File",
            Self::Resource(_) => "Resource",
            Self::Other(_) => "Other",
        })
    }
}

/// Reads the content of an `m.room.message`, or the new content of an edit.
#[must_use]
pub fn said(content: &Value) -> Said {
    let msgtype = content["msgtype"].as_str().unwrap_or("m.room.message");
    let other = || Said::Other(plain_type(msgtype));
    match msgtype {
        "m.text" | "m.notice" | "m.emote" => match text(content, "body") {
            Some(text) => Said::Text(text),
            None => other(),
        },
        "m.image" | "m.file" | "m.audio" | "m.video" => {
            // An encrypted file has `file` in place of `url`.
            let Some(uri) = content["url"].as_str().map(OwnedMxcUri::from) else {
                return other();
            };
            if !uri.is_valid() {
                return other();
            }
            let body = content["body"].as_str().unwrap_or_default();
            let (name, caption) = match content["filename"].as_str() {
                Some(name) if name != body => (name, text(content, "body")),
                _ => (body, None),
            };
            let sent = Sent {
                uri,
                name: name.to_owned(),
                content_type: content["info"]["mimetype"].as_str().map(str::to_owned),
                size: content["info"]["size"].as_u64(),
            };
            let caption = caption.filter(|caption| !caption.text.trim().is_empty());
            Said::File(sent, caption)
        }
        _ => other(),
    }
}

fn text(content: &Value, name: &str) -> Option<Text> {
    let body = content[name].as_str()?;
    let is_answer = !content["m.relates_to"]["m.in_reply_to"].is_null();
    let body = if is_answer { without_quote(body) } else { body };
    let html = (content["format"] == "org.matrix.custom.html")
        .then(|| content["formatted_body"].as_str())
        .flatten();
    let nodes = html.map(markup::from_html).unwrap_or_default();
    Some(Text {
        xhtml: markup::is_marked(&nodes).then(|| markup::to_xhtml(&nodes)),
        ..Text::plain(body)
    })
}

/// An answer without the quote that older clients put before it:
/// <https://spec.matrix.org/v1.12/client-server-api/#fallbacks-for-rich-replies>
fn without_quote(body: &str) -> &str {
    if !body.starts_with("> <") && !body.starts_with("> * <") {
        return body;
    }
    let mut rest = body;
    while rest.starts_with("> ") || rest.starts_with(">\n") {
        match rest.split_once('\n') {
            Some((_, after)) => rest = after,
            None => return body,
        }
    }
    rest.strip_prefix('\n').unwrap_or(rest)
}

/// The event that an event answers.
#[must_use]
pub fn answered(content: &Value) -> Option<OwnedEventId> {
    let relation = &content["m.relates_to"];
    // In a thread, the answer to its last message is for clients that know no threads.
    let falls_back =
        relation["rel_type"] == "m.thread" && relation["is_falling_back"] == Value::Bool(true);
    let id = if falls_back {
        &relation["event_id"]
    } else {
        &relation["m.in_reply_to"]["event_id"]
    };
    EventId::parse(id.as_str()?).ok()
}

/// The event that an edit replaces.
#[must_use]
pub fn replaced(content: &Value) -> Option<OwnedEventId> {
    let relation = &content["m.relates_to"];
    if relation["rel_type"] != "m.replace" {
        return None;
    }
    EventId::parse(relation["event_id"].as_str()?).ok()
}

/// What an event of another type than `m.room.message` is called where it has to be said that it was left
/// out; `None`: it is nothing that people say.
#[must_use]
pub fn unsupported(kind: &str) -> Option<String> {
    let is_said = match kind {
        "m.sticker"
        | "m.room.encrypted"
        | "m.call.invite"
        | "m.poll.start"
        | "org.matrix.msc3381.poll.start"
        | "m.location" => true,
        _ if resource::names_of(kind).is_some() => true,
        _ => ![
            "m.",
            "org.matrix.",
            "io.element.",
            "im.vector.",
            "dev.matrix-appservice.",
            "de.gematik.",
        ]
        .iter()
        .any(|machinery| kind.starts_with(machinery)),
    };
    is_said.then(|| plain_type(kind))
}

/// A type as it may be shown: it is a stranger's word.
fn plain_type(kind: &str) -> String {
    let plain: String = kind
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        .take(60)
        .collect();
    if plain.is_empty() {
        "unknown".to_owned()
    } else {
        plain
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_keeps_its_markup_and_loses_the_quote() {
        let content = json!({
            "msgtype": "m.text", "body": "> <@a:x> question\n> more\n\nanswer",
            "format": "org.matrix.custom.html",
            "formatted_body": "<mx-reply><blockquote>question</blockquote></mx-reply><b>answer</b>",
            "m.relates_to": {"m.in_reply_to": {"event_id": "$asked"}},
        });
        let Said::Text(text) = said(&content) else {
            panic!("it is text");
        };
        assert_eq!(text.text, "answer");
        assert_eq!(
            text.xhtml.as_deref(),
            Some("<div xmlns=\"http://www.w3.org/1999/xhtml\"><strong>answer</strong></div>")
        );
        assert_eq!(answered(&content).unwrap(), "$asked");
    }

    #[test]
    fn what_looks_like_a_quote_and_is_none_stays() {
        for (body, relation) in [
            ("> <b> is bold\n\nyes", json!(null)),
            (
                "> 5\n\nis high",
                json!({"m.in_reply_to": {"event_id": "$a"}}),
            ),
            (
                "> <@a:x> only a quote",
                json!({"m.in_reply_to": {"event_id": "$a"}}),
            ),
        ] {
            let content = json!({"msgtype": "m.text", "body": body, "m.relates_to": relation});
            assert_eq!(said(&content), Said::Text(Text::plain(body)));
        }
    }

    #[test]
    fn a_file_has_a_name_and_may_have_a_caption() {
        let file = |body: &str, filename: Value| {
            json!({"msgtype": "m.image", "body": body, "filename": filename, "url": "mxc://x/y",
                "info": {"mimetype": "image/png", "size": 5}})
        };
        let Said::File(sent, None) = said(&file("a.png", Value::Null)) else {
            panic!("it is a file without caption");
        };
        assert_eq!((sent.name.as_str(), sent.size), ("a.png", Some(5)));
        let Said::File(sent, Some(caption)) = said(&file("look", json!("a.png"))) else {
            panic!("it is a file with caption");
        };
        assert_eq!(
            (sent.name.as_str(), caption.text.as_str()),
            ("a.png", "look")
        );
        let mut odd = file("a.png", Value::Null);
        odd["url"] = "https://elsewhere.example/a.png".into();
        assert_eq!(said(&odd), Said::Other("m.image".into()));
    }

    #[test]
    fn what_the_record_cannot_take_has_a_name() {
        for kind in ["m.location", "m.key.verification.request", "x<y>"] {
            assert!(matches!(
                said(&json!({"msgtype": kind, "body": ""})),
                Said::Other(_)
            ));
        }
        assert_eq!(said(&json!({})), Said::Other("m.room.message".into()));
        assert_eq!(unsupported("m.sticker").as_deref(), Some("m.sticker"));
        assert_eq!(
            unsupported("de.gematik.fhir").as_deref(),
            Some("de.gematik.fhir")
        );
        assert_eq!(
            unsupported("com.example<b>").as_deref(),
            Some("com.exampleb")
        );
        for machinery in [
            "m.reaction",
            "m.room.redaction",
            "de.gematik.response.status",
            "org.matrix.msc3401.call.member",
        ] {
            assert_eq!(unsupported(machinery), None);
        }
    }

    #[test]
    fn an_answer_in_a_thread_answers_what_it_names_else_the_threads_first() {
        let mut content = json!({"m.relates_to": {"rel_type": "m.thread", "event_id": "$root",
            "is_falling_back": true, "m.in_reply_to": {"event_id": "$last"}}});
        assert_eq!(answered(&content).unwrap(), "$root");
        content["m.relates_to"]["is_falling_back"] = false.into();
        assert_eq!(answered(&content).unwrap(), "$last");
        assert_eq!(answered(&json!({})), None);
    }
}
