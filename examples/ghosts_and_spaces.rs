//! Each team of another network is a space, each of its channels a room in it, each of its people a ghost.
//!
//! Invite `@teamsbot` of your homeserver and say `!teams open care`.

use matrix_appservice::commands::{CommandError, Commands, Invocation};
use matrix_appservice::ruma::{OwnedRoomId, OwnedUserId, ServerName, server_name};
use matrix_appservice::{
    AppService, Builder, CreateRoom, Invite, Journal, Registration, SpaceChild,
};

/// The other network: what a channel is called, who is there, and what they said last.
const CHANNELS: [(&str, &str, &str); 2] = [
    ("planning", "Ada", "Who has the early shift?"),
    ("laboratory", "Grace", "The results are in."),
];

/// How the other network's names look on Matrix. The registration has the same prefix.
#[derive(Clone)]
pub(crate) struct Names {
    pub(crate) prefix: String,
    pub(crate) server: &'static ServerName,
}

impl Names {
    fn ghost(&self, person: &str) -> Result<OwnedUserId, CommandError> {
        let id = format!("@{}{}:{}", self.prefix, person.to_lowercase(), self.server);
        Ok(id.try_into()?)
    }

    fn alias(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

pub(crate) fn bridge(builder: Builder, names: Names) -> Builder {
    let commands = Commands::new("!teams").command(
        "open <team>",
        "Opens a team's space and invites you.",
        move |call, (team,): (String,)| {
            let names = names.clone();
            async move {
                if !team.chars().all(|letter| letter.is_ascii_lowercase()) {
                    return Err(CommandError::say("A team's name has small letters only."));
                }
                open(&call, &names, &team).await?;
                Ok(format!("You are invited to {team}."))
            }
        },
    );
    builder.accept_invitations().commands(commands)
}

/// All of it can run again: what is there already is found by its alias.
async fn open(call: &Invocation, names: &Names, team: &str) -> Result<OwnedRoomId, CommandError> {
    let bot = call.bot();
    let you = Invite::new(call.sender());

    let space = CreateRoom::new()
        .space()
        .name(team)
        .alias(names.alias(team));
    let space = bot.create_room(&space).await?.room_id;
    bot.invite(&space, &you).await?;

    for (channel, person, says) in CHANNELS {
        let alias = names.alias(&format!("{team}_{channel}"));
        let room = CreateRoom::new().name(channel).alias(alias);
        let room = bot.create_room(&room).await?.room_id;
        bot.add_space_child(&space, &room, &SpaceChild::new().suggested())
            .await?;
        bot.set_space_parent(&room, &space, true).await?;

        let ghost = call.intent(&names.ghost(person)?);
        ghost.ensure_display_name(person).await?;
        ghost.ensure_joined(&room).await?;
        ghost.send_text(&room, says).await?;
        bot.invite(&room, &you).await?;
    }
    Ok(space)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let registration = Registration::load("registration/ghosts_and_spaces.yaml")?;
    let homeserver = "http://127.0.0.1:8008".parse()?;
    let journal = Journal::open("ghosts_and_spaces.db").await?;
    let server = server_name!("localhost");
    let prefix = "_teams_".to_owned();
    let builder = AppService::builder(registration, server, homeserver, journal);
    bridge(builder, Names { prefix, server })
        .build()?
        .serve("127.0.0.1:9000")
        .await?;
    Ok(())
}
