//! Events as Synapse sends them: the keys, their order and their sizes are those of recorded ones.

use std::fmt::Write;

/// What the events of a load are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// What rooms are made of: mostly messages, some reactions, edits, redactions, members.
    Usual,
    /// Messages only, so that each has an echo.
    Messages,
}

/// Numbers events from 0, all of them different, and spreads them over rooms in turn.
#[derive(Debug)]
pub(crate) struct Events {
    next: u64,
    pub(crate) rooms: u64,
    pub(crate) mix: Mix,
    /// Tells this load from others before it.
    run: u64,
}

impl Events {
    pub(crate) fn new(run: u64, rooms: u64, mix: Mix) -> Self {
        Self {
            next: 0,
            rooms,
            mix,
            run,
        }
    }

    /// The number of the event that comes next.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// A transaction with the next `count` events.
    pub(crate) fn transaction(&mut self, count: u64) -> Vec<u8> {
        let mut body = String::with_capacity(usize::try_from(count).unwrap_or(0) * 512 + 16);
        body.push_str(r#"{"events":["#);
        for at in 0..count {
            if at > 0 {
                body.push(',');
            }
            self.event(&mut body);
        }
        body.push_str("]}");
        body.into_bytes()
    }

    fn event(&mut self, json: &mut String) {
        let number = self.next;
        self.next += 1;
        let room = number % self.rooms;
        let age = 20 + number % 300;
        let (kind, content, more) = self.content(number);
        let person = number % 7;
        // Writing to a string can't fail.
        let _ = write!(
            json,
            r#"{{"age":{age},"content":{content},"event_id":"{}","origin_server_ts":{},"room_id":"{}","sender":"@person{person}:example.org",{more}"type":"{kind}","unsigned":{{"age":{age}}},"user_id":"@person{person}:example.org"}}"#,
            event_id(self.run, number),
            1_795_219_100_000 + number,
            room_id(room),
        );
    }

    fn content(&self, number: u64) -> (&'static str, String, String) {
        let kind = match self.mix {
            Mix::Usual => number % 12,
            Mix::Messages => number % 8,
        };
        let about = event_id(self.run, number.saturating_sub(1));
        match kind {
            0 => (
                "m.room.message",
                format!(
                    r#"{{"body":"Dressing changed, the wound looks dry. ({number})","format":"org.matrix.custom.html","formatted_body":"<p>Dressing changed, the wound looks <strong>dry</strong>. ({number})</p>","msgtype":"m.text"}}"#
                ),
                String::new(),
            ),
            1 => (
                "m.room.message",
                format!(
                    r#"{{"body":"Thanks, I'll tell the pharmacy ({number})","m.mentions":{{"user_ids":["@person1:example.org"]}},"m.relates_to":{{"m.in_reply_to":{{"event_id":"{about}"}}}},"msgtype":"m.text"}}"#
                ),
                String::new(),
            ),
            8 | 9 => (
                "m.reaction",
                format!(
                    r#"{{"m.relates_to":{{"event_id":"{about}","key":"👍","rel_type":"m.annotation"}}}}"#
                ),
                String::new(),
            ),
            10 => (
                "m.room.redaction",
                r#"{"reason":"typo"}"#.to_owned(),
                format!(r#""redacts":"{about}","#),
            ),
            11 => (
                "m.room.member",
                r#"{"displayname":"Person 3","membership":"join"}"#.to_owned(),
                format!(
                    r#""prev_content":{{"displayname":"Person 3","membership":"invite"}},"replaces_state":"{about}","state_key":"@person3:example.org","#
                ),
            ),
            _ => (
                "m.room.message",
                format!(
                    r#"{{"body":"Good morning, here is what happened tonight. ({number})","msgtype":"m.text"}}"#
                ),
                String::new(),
            ),
        }
    }
}

/// The id of an event: as long as a real one, with its number at the end.
pub(crate) fn event_id(run: u64, number: u64) -> String {
    format!("$bench_{run:016x}_J029A3BNO{number:011}")
}

/// The number in an event's id.
pub(crate) fn number_in(event_id: &str) -> Option<u64> {
    event_id
        .get(event_id.len().checked_sub(11)?..)?
        .parse()
        .ok()
}

/// A room of version 12: its id has no server name.
pub(crate) fn room_id(room: u64) -> String {
    format!("!J029A3BNOBxGimrubN5VihiUrAQer{room:014}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_json_with_as_many_events_each_with_its_own_id() {
        let mut events = Events::new(7, 3, Mix::Usual);
        let body = events.transaction(100);
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let list = body["events"].as_array().unwrap();
        assert_eq!(list.len(), 100);
        for (number, event) in list.iter().enumerate() {
            let id = event["event_id"].as_str().unwrap();
            assert_eq!(number_in(id), Some(number as u64));
            assert_eq!(id.len(), 44, "as long as a real one");
            assert_eq!(event["room_id"].as_str().unwrap().len(), 44);
        }
    }
}
