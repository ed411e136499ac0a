//! A bot, and its tests without a homeserver: `cargo test --example testing`.
//!
//! The tests need the crate's feature `testing` among the `dev-dependencies`.

use matrix_appservice::ruma::server_name;
use matrix_appservice::{AppService, Builder, Journal, MembershipChange, Registration};

/// Greets those who join a room that it was invited into.
fn bot(builder: Builder) -> Builder {
    builder
        .accept_invitations()
        .on_membership(|delivery, member| async move {
            let bot = delivery.bot();
            if member.change == MembershipChange::Joined && member.user_id != bot.user_id() {
                bot.send_text(&member.room_id, "Welcome!").await?;
            }
            Ok(())
        })
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let registration = Registration::load("registration/echo.yaml")?;
    let homeserver = "http://127.0.0.1:8008".parse()?;
    let journal = Journal::open("testing.db").await?;
    let builder = AppService::builder(registration, server_name!("localhost"), homeserver, journal);
    bot(builder).build()?.serve("127.0.0.1:9000").await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use matrix_appservice::testing::{
        FakeHomeserver, Fault, Running, TempJournal, assert_nothing_left,
    };

    use super::*;

    #[tokio::test]
    async fn who_joins_is_greeted_once_on_a_bad_day() -> anyhow::Result<()> {
        let registration = Registration::generate("greeter", "greeter").build()?;
        let homeserver = FakeHomeserver::start(server_name!("example.org"), &registration).await;
        let place = TempJournal::new();
        let service = bot(homeserver.builder(place.open().await)).build()?;
        let running = Running::connected(service, &homeserver).await;

        let anna = homeserver.person("anna");
        let room = anna.makes_room();
        anna.invites(&room, homeserver.sender().id());
        homeserver.settle().await;

        // The answer to the greeting gets lost, and so does our acknowledgement.
        homeserver.fail("send", [Fault::LoseAnswer]);
        homeserver.lose_acks(1);
        homeserver.person("bert").joins(&room);
        homeserver.settle().await;

        homeserver.assert_messages(&room, &[("@greeter:example.org", "Welcome!")]);
        assert_nothing_left(&running.stop().await).await;
        Ok(())
    }
}
