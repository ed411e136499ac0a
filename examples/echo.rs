//! Answers each message with the same text. Invite `@echobot` of your homeserver and say something.

use matrix_appservice::ruma::{events::room::message::OriginalRoomMessageEvent, server_name};
use matrix_appservice::{AppService, Delivery, HandlerResult, Journal, Registration};

pub(crate) async fn echo(delivery: Delivery, event: OriginalRoomMessageEvent) -> HandlerResult {
    delivery
        .bot()
        .send_text(&event.room_id, event.content.body())
        .await?;
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let registration = Registration::load("registration/echo.yaml")?;
    let homeserver = "http://127.0.0.1:8008".parse()?;
    let journal = Journal::open("echo.db").await?;
    AppService::builder(registration, server_name!("localhost"), homeserver, journal)
        .accept_invitations()
        .on_message(echo)
        .build()?
        .serve("127.0.0.1:9000")
        .await?;
    Ok(())
}
