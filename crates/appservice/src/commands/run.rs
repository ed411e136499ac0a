//! From a message to a command, and to its answer.

use std::fmt::Write as _;

use ruma::events::room::message::{MessageType, OriginalRoomMessageEvent};

use super::{
    Answer, Args, BadArgument, Command, CommandError, Commands, Invocation, answer::Why,
    nearest::nearest, words,
};
use crate::{
    client::Error,
    dispatch::{Delivery, HandlerError, Retry},
    event::{Edit, Event},
    intent::Message,
};

const HELP: &str = "help";

impl Commands {
    /// Each event passes by here, before any handler.
    pub(super) fn pass_by(&self, event: &Event) {
        if let Some(direct) = &self.direct
            && event.kind() == "m.room.member"
        {
            direct.forget(event.room_id());
        }
    }

    /// Returns whether the message was a command.
    pub(super) async fn handle(
        &self,
        delivery: Delivery,
        message: OriginalRoomMessageEvent,
    ) -> Result<bool, HandlerError> {
        let MessageType::Text(text) = &message.content.msgtype else {
            return Ok(false);
        };
        let wanted = |rooms: &super::RoomPredicate| rooms(&message.room_id);
        if Edit::of(&message).is_some() || !self.rooms.as_ref().is_none_or(wanted) {
            return Ok(false);
        }
        let text = text.body.clone();
        let typed = match self.behind_prefix(&text) {
            Some(typed) => typed,
            None if self.is_direct(&delivery, &message).await? => text.trim(),
            None => return Ok(false),
        };
        let call = Invocation { delivery, message };
        let delivery = call.delivery.clone();
        if let Some(answer) = self.run(call, typed).await? {
            match delivery.reply_with(answer).await {
                Err(error) if error.is("M_FORBIDDEN") => {
                    tracing::info!(room = ?delivery.room_id(), "a command's answer may not be sent there");
                }
                sent => {
                    sent?;
                }
            }
        }
        Ok(true)
    }

    fn behind_prefix<'a>(&self, text: &'a str) -> Option<&'a str> {
        let typed = text.trim_start().strip_prefix(&self.prefix)?;
        (typed.is_empty() || typed.starts_with(char::is_whitespace)).then(|| typed.trim())
    }

    async fn is_direct(
        &self,
        delivery: &Delivery,
        message: &OriginalRoomMessageEvent,
    ) -> Result<bool, Error> {
        match &self.direct {
            Some(direct) => direct.contain(&delivery.bot(), &message.room_id).await,
            None => Ok(false),
        }
    }

    async fn run(&self, call: Invocation, typed: &str) -> Result<Option<Message>, HandlerError> {
        let mut rest = typed;
        // A name in quotes is none, so an open quote is as good as no name.
        let name = words::first(&mut rest).ok().flatten().unwrap_or_default();
        let name = name.to_lowercase();
        let say = |text: String| Ok(Some(Message::notice(text)));
        let Some(command) = self.known.iter().find(|command| command.name == name) else {
            return if name.is_empty() || name == HELP {
                say(self.help(&call, rest).await?)
            } else {
                say(self.unknown(&name))
            };
        };
        if !self.may(command, &call).await? {
            return say("You may not do that here.".to_owned());
        }
        let (entry, name) = (call.entry().id, &command.name);
        let work = match (command.run)(call, Args::new(rest)) {
            Ok(work) => work,
            Err(wrong) => return say(self.usage(command, &wrong)),
        };
        match work.await {
            Ok(Answer(answer)) => Ok(answer),
            Err(CommandError(Why::Said(text))) => say(text),
            Err(CommandError(Why::Failed(error))) => match error.retry() {
                Retry::WhenAvailable | Retry::After(_) => Err(error),
                Retry::Backoff | Retry::Never => {
                    tracing::warn!(entry, command = %name, error = error.class(), "a command failed");
                    say(format!(
                        "That did not work. The log has more about it, at entry {entry}."
                    ))
                }
            },
        }
    }

    async fn may(&self, command: &Command, call: &Invocation) -> Result<bool, Error> {
        let permission = command.permission.as_ref().unwrap_or(&self.permission);
        let bot = call.bot();
        permission.allows(&bot, call.room_id(), call.sender()).await
    }

    /// Lists what the person may use; of one command when it is named.
    async fn help(&self, call: &Invocation, about: &str) -> Result<String, Error> {
        let about = about.trim().to_lowercase();
        let mut help = String::new();
        for command in &self.known {
            if (about.is_empty() || command.name == about) && self.may(command, call).await? {
                let _ = writeln!(help, "{} {}: {}", self.prefix, command.usage, command.help);
            }
        }
        if about.is_empty() || help.is_empty() {
            let _ = writeln!(help, "{} {HELP} [command]: Shows this.", self.prefix);
        }
        Ok(help.trim_end().to_owned())
    }

    fn unknown(&self, name: &str) -> String {
        let names = self.known.iter().map(|command| command.name.as_str());
        let meant = nearest(name, names.chain([HELP]));
        let meant = meant.map_or_else(String::new, |meant| format!(" Did you mean “{meant}”?"));
        format!(
            "There is no command “{name}”.{meant} “{} {HELP}” lists them.",
            self.prefix
        )
    }

    fn usage(&self, command: &Command, wrong: &BadArgument) -> String {
        format!("{wrong}\nUsage: {} {}", self.prefix, command.usage)
    }
}
