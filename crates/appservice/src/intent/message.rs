//! Messages to be sent.

use std::fmt;

use ruma::{EventId, MilliSecondsSinceUnixEpoch, MxcUri, UserId};
use serde_json::{Map, Value, json};

use super::NewEvent;

const RELATES_TO: &str = "m.relates_to";

/// An `m.room.message` to be sent with [`Intent::send`](crate::Intent::send). `Debug` doesn't show
/// its content.
///
/// ```
/// use matrix_appservice::{Message, ruma::event_id};
///
/// let answer = Message::html("All is well", "All is <b>well</b>")
///     .in_thread(event_id!("$root"))
///     .reply_to(event_id!("$question"));
/// ```
#[derive(Clone)]
pub struct Message {
    content: Map<String, Value>,
    relation: Map<String, Value>,
    at: Option<MilliSecondsSinceUnixEpoch>,
    replaces: Option<String>,
}

impl Message {
    /// Plain text, `m.text`.
    #[must_use]
    pub fn text(body: impl Into<String>) -> Self {
        Self::of("m.text", body)
    }

    /// Plain text from a bot, `m.notice`: other bots don't answer it.
    #[must_use]
    pub fn notice(body: impl Into<String>) -> Self {
        Self::of("m.notice", body)
    }

    /// What somebody does, `m.emote`, as with `/me`.
    #[must_use]
    pub fn emote(body: impl Into<String>) -> Self {
        Self::of("m.emote", body)
    }

    /// Text with markup, and the same in plain text for those who don't show it. What people wrote
    /// has to be escaped before it comes into `html`.
    #[must_use]
    pub fn html(body: impl Into<String>, html: impl Into<String>) -> Self {
        Self::text(body).with_html(html)
    }

    /// A message of any `msgtype`; what else it needs (`url`, `info`, …) comes by [`Message::with`].
    /// For files, [`Message::file`] is shorter.
    #[must_use]
    pub fn of(msgtype: impl Into<String>, body: impl Into<String>) -> Self {
        let mut content = Map::new();
        content.insert("msgtype".to_owned(), Value::String(msgtype.into()));
        content.insert("body".to_owned(), Value::String(body.into()));
        Self {
            content,
            relation: Map::new(),
            at: None,
            replaces: None,
        }
    }

    /// A file that was [uploaded](crate::Intent::upload): `m.image`, `m.video`, `m.audio` or `m.file`,
    /// with its name.
    #[must_use]
    pub fn file(msgtype: impl Into<String>, name: impl Into<String>, uri: &MxcUri) -> Self {
        Self::of(msgtype, name).with("url", json!(uri))
    }

    /// Adds the message's text with markup, to a notice for instance.
    #[must_use]
    pub fn with_html(self, html: impl Into<String>) -> Self {
        self.with("format", json!("org.matrix.custom.html"))
            .with("formatted_body", Value::String(html.into()))
    }

    /// Adds a key to the content. Homeservers refuse floats.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: Value) -> Self {
        self.content.insert(key.into(), value);
        self
    }

    /// Notifies these people and nobody else; without it, nobody is mentioned.
    /// [Specification](https://spec.matrix.org/v1.17/client-server-api/#user-and-room-mentions).
    #[must_use]
    pub fn mention<'a>(self, users: impl IntoIterator<Item = &'a UserId>) -> Self {
        let users: Vec<_> = users.into_iter().collect();
        self.with("m.mentions", json!({"user_ids": users}))
    }

    /// Answers an event. In a thread, call [`Message::in_thread`] as well.
    /// [Specification](https://spec.matrix.org/v1.17/client-server-api/#rich-replies).
    #[must_use]
    pub fn reply_to(mut self, event: &EventId) -> Self {
        let relation = self.relation();
        relation.insert("m.in_reply_to".to_owned(), json!({"event_id": event}));
        // Now it is a real answer, and no stand-in for clients without threads.
        relation.remove("is_falling_back");
        self
    }

    /// Puts it into the thread that began with the event `root`.
    /// [Specification](https://spec.matrix.org/v1.17/client-server-api/#threading).
    #[must_use]
    pub fn in_thread(mut self, root: &EventId) -> Self {
        let relation = self.relation();
        relation.insert("rel_type".to_owned(), json!("m.thread"));
        relation.insert("event_id".to_owned(), json!(root));
        if !relation.contains_key("m.in_reply_to") {
            // Clients that know no threads show it as an answer.
            relation.insert("m.in_reply_to".to_owned(), json!({"event_id": root}));
            relation.insert("is_falling_back".to_owned(), json!(true));
        }
        self
    }

    /// The new text of a message that the same user sent before. Its relation (answer, thread) stays
    /// that of the first.
    /// [Specification](https://spec.matrix.org/v1.17/client-server-api/#event-replacements).
    #[must_use]
    pub fn replacing(mut self, event: &EventId) -> Self {
        self.replaces = Some(event.to_string());
        self
    }

    /// The time that the event shall bear. Its place in the room doesn't change.
    #[must_use]
    pub fn at(mut self, time: MilliSecondsSinceUnixEpoch) -> Self {
        self.at = Some(time);
        self
    }

    /// The relation, as an object: whatever else stood there gives way.
    fn relation(&mut self) -> &mut Map<String, Value> {
        if let Some(Value::Object(relation)) = self.content.remove(RELATES_TO) {
            self.relation = relation;
        }
        &mut self.relation
    }
}

impl From<Message> for NewEvent {
    fn from(message: Message) -> Self {
        let mut content = message.content;
        if !message.relation.is_empty() {
            content.insert(RELATES_TO.to_owned(), Value::Object(message.relation));
        }
        if let Some(replaced) = message.replaces {
            content.remove(RELATES_TO);
            let new = content.clone();
            // What clients show that know no replacements.
            for key in ["body", "formatted_body"] {
                if let Some(Value::String(text)) = content.get_mut(key) {
                    text.insert_str(0, "* ");
                }
            }
            content.insert("m.new_content".to_owned(), Value::Object(new));
            let relation = json!({"rel_type": "m.replace", "event_id": replaced});
            content.insert(RELATES_TO.to_owned(), relation);
        }
        let mut event = Self::new("m.room.message", content);
        event.at = message.at;
        event
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use ruma::{event_id, user_id};

    use super::*;

    fn content(message: Message) -> Value {
        Value::Object(NewEvent::from(message).content)
    }

    #[test]
    fn each_kind_of_message_has_its_content() {
        assert_eq!(
            content(Message::notice("a")),
            json!({"msgtype": "m.notice", "body": "a"})
        );
        assert_eq!(content(Message::emote("a"))["msgtype"], "m.emote");
        let html = json!({"msgtype": "m.text", "body": "a", "format": "org.matrix.custom.html",
            "formatted_body": "<b>a</b>"});
        assert_eq!(content(Message::html("a", "<b>a</b>")), html);
        assert_eq!(
            content(Message::text("a").mention([user_id!("@a:b")]))["m.mentions"],
            json!({"user_ids": ["@a:b"]})
        );
    }

    #[test]
    fn an_answer_in_a_thread_is_both_in_any_order() {
        let (root, asked) = (event_id!("$root"), event_id!("$asked"));
        let thread = content(Message::text("a").in_thread(root));
        let fallback = json!({"rel_type": "m.thread", "event_id": "$root", "is_falling_back": true,
            "m.in_reply_to": {"event_id": "$root"}});
        assert_eq!(thread["m.relates_to"], fallback);
        let both = json!({"rel_type": "m.thread", "event_id": "$root",
            "m.in_reply_to": {"event_id": "$asked"}});
        for message in [
            Message::text("a").in_thread(root).reply_to(asked),
            Message::text("a").reply_to(asked).in_thread(root),
        ] {
            assert_eq!(content(message)["m.relates_to"], both);
        }
        // What somebody put there by hand and is no relation gives way.
        let odd = Message::text("a").with("m.relates_to", json!("odd"));
        assert_eq!(
            content(odd.reply_to(asked))["m.relates_to"],
            json!({"m.in_reply_to": {"event_id": "$asked"}})
        );
    }

    #[test]
    fn a_new_text_carries_itself_and_what_older_clients_show() {
        let message = Message::html("a", "<b>a</b>")
            .in_thread(event_id!("$root"))
            .replacing(event_id!("$first"));
        let html = "org.matrix.custom.html";
        assert_eq!(
            content(message),
            json!({
                "msgtype": "m.text", "body": "* a", "format": html, "formatted_body": "* <b>a</b>",
                "m.new_content": {"msgtype": "m.text", "body": "a", "format": html, "formatted_body": "<b>a</b>"},
                "m.relates_to": {"rel_type": "m.replace", "event_id": "$first"},
            })
        );
    }
}
