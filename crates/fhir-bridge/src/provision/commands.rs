//! The admin room: what admins (`admins` in the configuration) type, there or in a room that it is about.
//!
//! A command is no message: it is not put on record, and its answer holds ids only.

mod args;
mod texts;

use matrix_appservice::{
    Builder, Delivery, HandlerError, HandlerResult, Invitation, Message,
    commands::{CommandError, Commands, Invocation, Permission},
    ruma::OwnedRoomId,
};
use serde_json::Value;

use self::args::{LinkOptions, Reference, RoomOptions, What};
use super::{Asker, Failed, Provision, Refused, Wanted, link, state_of};
use crate::bridge::Bridge;

/// What commands begin with.
pub(crate) const PREFIX: &str = "!fhir";

/// The most dead letters that are listed at once.
const MOST_LETTERS: u32 = 20;

const HELLO: &str = "I am the FHIR bridge. “!fhir help” lists what you can have me do.";
const ENCRYPTED: &str = "I am the FHIR bridge. This room is encrypted, so I can't read your commands: please invite me \
                         into a room without encryption.";

impl From<Failed> for CommandError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Refused(refused) => Self::say(format!("{refused}.")),
            Failed::Fault(error) => error.into(),
        }
    }
}

impl Bridge {
    /// Whether a message is a command (the SDK takes those): not to be put on record.
    pub(crate) fn is_command(&self, content: &Value) -> bool {
        self.has_admins && is_command(content)
    }
}

/// Whether this is the content of a command.
fn is_command(content: &Value) -> bool {
    let body = content.get("body").and_then(Value::as_str);
    let typed = body.and_then(|body| body.trim_start().strip_prefix(PREFIX));
    content.get("msgtype").and_then(Value::as_str) == Some("m.text")
        && typed.is_some_and(|typed| typed.is_empty() || typed.starts_with(char::is_whitespace))
}

/// Lets admins give commands, where there are any.
pub(crate) fn listen(app: Builder, provision: &Provision) -> Builder {
    if provision.0.admins.is_empty() {
        return app;
    }
    let greeter = provision.clone();
    app.commands(commands(provision))
        .on_invitation(move |delivery, invitation| greeter.clone().greet(delivery, invitation))
}

fn commands(provision: &Provision) -> Commands {
    let [links, unlinks, releases, states, lists, letters] =
        std::array::from_fn(|_| provision.clone());
    Commands::new(PREFIX)
        .allow(Permission::users(provision.0.admins.iter().cloned()))
        .command(
            "link <resource> [room] [replace] [server=name]",
            "Links a room (this one, or the one that you name) to a CareTeam or a conversation, such as CommunicationRequest/7.",
            move |call, (resource, options): (Reference, LinkOptions)| {
                links.clone().link_typed(call, resource, options)
            },
        )
        .command(
            "unlink [room] [keep]",
            "Undoes the link of a room; I leave it, unless you say `keep`.",
            move |call, (options,): (RoomOptions,)| unlinks.clone().unlink_typed(call, options),
        )
        .command(
            "undo-unlink <resource> [server]",
            "Lets a resource have a room of its own again that was unlinked.",
            move |_, (Reference(resource), server): (Reference, Option<String>)| {
                let provision = releases.clone();
                async move {
                    provision.release(&resource, server.as_deref()).await?;
                    Ok(format!("{resource} may have a room again."))
                }
            },
        )
        .command(
            "status",
            "Says how the bridge is.",
            move |_, ()| {
                let provision = states.clone();
                async move { Ok::<_, CommandError>(provision.status_text().await?) }
            },
        )
        .command(
            "who [room]",
            "Says to what a room is linked, and who is there.",
            move |call, (options,): (RoomOptions,)| lists.clone().who_typed(call, options),
        )
        .command(
            "dead-letters [retry <id> | skip <id>]",
            "Lists what could not be handled, tries it again, or gives it up.",
            move |_, (what,): (What,)| letters.clone().letters_typed(what),
        )
}

impl Provision {
    async fn link_typed(
        self,
        call: Invocation,
        Reference(resource): Reference,
        options: LinkOptions,
    ) -> Result<String, CommandError> {
        let wanted = Wanted {
            resource,
            room: (options.room).unwrap_or_else(|| call.room_id().to_owned().into()),
            server: options.server,
            replace: options.replace,
            via: Vec::new(),
        };
        let asker = Asker::User(call.sender());
        let link = self.link(&call.bot(), asker, &wanted).await?;
        Ok(format!("{} is linked to {}.", link.room, link.resource))
    }

    async fn unlink_typed(
        self,
        call: Invocation,
        options: RoomOptions,
    ) -> Result<(), CommandError> {
        let room = room_meant(&call, &options).await?;
        let asker = Asker::User(call.sender());
        let link = self.unlink(&call.bot(), asker, &room, options.keep).await?;
        // First: there may be nowhere to answer afterwards.
        let text = format!("{} is no longer linked to {room}.", link.resource);
        call.reply_with(Message::notice(text)).await?;
        self.leave().await?;
        Ok(())
    }

    async fn who_typed(
        self,
        call: Invocation,
        options: RoomOptions,
    ) -> Result<String, CommandError> {
        let room = room_meant(&call, &options).await?;
        let (bridge, link) = self
            .owner(&room)
            .await?
            .ok_or(Failed::from(Refused::NoLink))?;
        let bot = call.bot();
        let state = state_of(&bot, &room).await?;
        let state =
            state.ok_or_else(|| Failed::from(Refused::NotInvited(bridge.sender.clone())))?;
        Ok(texts::who(bridge, &bot, &link, &state).await?)
    }

    async fn letters_typed(self, what: What) -> Result<String, CommandError> {
        let journal = &self.any().map_err(Failed::from)?.journal;
        let done = |there: bool, text: &str| {
            let none = || CommandError::say("There is no dead letter with this number.");
            there.then(|| text.to_owned()).ok_or_else(none)
        };
        match what {
            What::List => {
                let letters = journal.dead_letters(0, MOST_LETTERS).await?;
                Ok(texts::dead_letters(&letters, MOST_LETTERS))
            }
            What::Retry(id) => done(
                journal.retry_dead_letter(id).await?,
                "It is being tried again.",
            ),
            What::Skip(id) => done(journal.skip_dead_letter(id).await?, "It was given up."),
        }
    }

    async fn status_text(&self) -> Result<String, Failed> {
        let stats = self.any()?.journal.stats().await?;
        Ok(texts::status(
            &self.0.homeserver,
            &self.server_names(),
            &stats,
        ))
    }

    /// Says hello to an admin who opens a chat with the bridge.
    async fn greet(self, delivery: Delivery, invitation: Invitation) -> HandlerResult {
        let room = &invitation.room_id;
        if !invitation.is_direct
            || invitation.user_id != *delivery.bot().user_id()
            || !self.0.admins.contains(&invitation.sender)
            || !matches!(self.owner(room).await, Ok(None))
        {
            return Ok(());
        }
        let state = match state_of(&delivery.bot(), room).await {
            Ok(Some(state)) => state,
            Ok(None) => return Ok(()),
            Err(Failed::Fault(error)) => return Err(error),
            Err(Failed::Refused(_)) => return Err(HandlerError::never("an invitation")),
        };
        let encrypted = state.content("m.room.encryption", "").is_some();
        let text = if encrypted { ENCRYPTED } else { HELLO };
        match delivery.bot().send(room, Message::notice(text)).await {
            Err(error) if !error.is_forbidden() => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// The room that somebody names, else the one where they do not.
async fn room_meant(call: &Invocation, options: &RoomOptions) -> Result<OwnedRoomId, CommandError> {
    match &options.room {
        Some(room) => Ok(link::room_id(&call.bot(), room).await?),
        None => Ok(call.room_id().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_sdk_takes_for_a_command_is_one_here_too() {
        for (content, expected) in [
            (json!({"msgtype": "m.text", "body": "!fhir status"}), true),
            (
                json!({"msgtype": "m.text", "body": "  !fhir\tlink x"}),
                true,
            ),
            (json!({"msgtype": "m.text", "body": "!fhir"}), true),
            (json!({"msgtype": "m.text", "body": "!fhirstatus"}), false),
            (
                json!({"msgtype": "m.text", "body": "see !fhir status"}),
                false,
            ),
            (
                json!({"msgtype": "m.notice", "body": "!fhir status"}),
                false,
            ),
            (json!({"body": 7}), false),
        ] {
            assert_eq!(is_command(&content), expected, "{content}");
        }
    }
}
