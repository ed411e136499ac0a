//! The scene that the demo shows and the end-to-end tests repeat: a nurse, a GP and a pharmacist around one
//! client.
//!
//! The nurse works in an application that speaks FHIR and nothing else; the GP and the pharmacist use ordinary Matrix
//! clients on homeservers of their own. Each step is looked at from the other side before the next one begins.

mod cast;
mod database;
mod record;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use url::Url;

use self::cast::Cast;
pub use self::record::Record;
use crate::testbed::Testbed;
use crate::{Client, Event, poll, unique};

/// How long a step may take before it has failed.
const PATIENCE: Duration = Duration::from_mins(3);

/// What is said, in order. The last part is different in each scene, so that it can be found again.
const NURSE_ASKS: &str =
    "Goedemorgen. De bloeddruk is sinds gisteren laag; graag advies over de medicatie.";
const GP_ANSWERS: &str = "Dank je. Halveer de dosis vanaf vandaag; ik kijk morgen opnieuw. 🙂";
const PHARMACIST_ANSWERS: &str = "Ik leg de nieuwe dosering vanmiddag klaar.";
const NURSE_CLOSES: &str = "Gezien, ik haal het op. Tot morgen.";

/// What a scene came to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Played {
    /// The space, as the homeservers know it.
    pub space: String,
    /// The room, as the homeservers know it.
    pub room: String,
    /// The thread on the FHIR server, such as `CommunicationRequest/7`.
    pub thread: String,
    /// How many messages it has.
    pub messages: usize,
    /// What must not be found in any log or room metadata: names, the client's number, all texts.
    pub private: Vec<String>,
    /// The conversation, readable: one line a message, with where it was written and seen.
    pub transcript: Vec<String>,
}

/// What the people of a scene are called in Matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// `@arts:huisarts` and `@apotheker:apotheek`, the same in each scene.
    Plain,
    /// Accounts that no other scene has.
    Unique,
}

/// Plays the scene and looks at everything from all sides. `tell` gets a line for each step that was seen to work.
///
/// # Errors
///
/// Says which step was not seen to work.
pub async fn play(
    testbed: &Testbed,
    fhir: &Url,
    ghost_prefix: &str,
    names: Names,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<Played> {
    let began = Instant::now();
    let step = |what: String| tell(&format!("{:6.1} s  {what}", began.elapsed().as_secs_f64()));
    let mark = unique("scene");
    let say = |text: &str| format!("{text} [{mark}]");

    let name = |who: &str| match names {
        Names::Plain => who.to_owned(),
        Names::Unique => unique(who),
    };
    let gp = testbed.client("huisarts", &name("arts")).await?;
    let pharmacist = testbed.client("apotheek", &name("apotheker")).await?;
    step(format!(
        "GP {} and pharmacist {} are logged in",
        short(gp.user_id()),
        short(pharmacist.user_id())
    ));

    let record = Record::new(fhir)?;
    let cast = Cast::post(&record, gp.user_id(), pharmacist.user_id()).await?;
    step(format!("posted to FHIR: {} and {}", cast.team, cast.thread));
    let nurse_asks = say(NURSE_ASKS);
    let first = record.write(&cast, &cast.nurse, &nurse_asks).await?;
    step(format!("the nurse writes {first} in FHIR"));

    let nurse_user = format!("@{ghost_prefix}practitioner_{}:vvt", lower(&cast.nurse));
    let mut place: Option<Place> = None;
    // One after the other: a Synapse on SQLite may ask any member's server for what was written before, and a server
    // that has joined at the same moment has nothing to give.
    for (who, client) in [("GP", &gp), ("pharmacist", &pharmacist)] {
        let found = accept(client).await?;
        ensure!(
            place.as_ref().is_none_or(|place| *place == found),
            "the two were invited to different rooms"
        );
        step(format!(
            "the {who} accepts invitations to space and room over federation"
        ));
        let seen = read(client, &found.room, &nurse_asks).await?;
        ensure!(
            seen.sender == nurse_user,
            "the nurse's message came from another user"
        );
        step(format!(
            "the {who} reads the nurse's message {}…",
            short(&seen.event_id)
        ));
        place = Some(found);
    }
    let Place { space, room } = place.context("nobody was invited")?;
    record
        .wait_until_it_names(&first, &read(&gp, &room, &nurse_asks).await?.event_id)
        .await?;
    step(format!("{first} on the FHIR server bears the event's id"));

    let gp_answers = say(GP_ANSWERS);
    let answer = gp.send_text(&room, &gp_answers).await?;
    let stored = record.wait_for_event(&cast, &answer).await?;
    stored.is_from(&cast.gp, &gp_answers)?;
    step(format!(
        "the GP answers; it is {} by {}",
        stored.reference, cast.gp
    ));
    read(&pharmacist, &room, &gp_answers).await?;

    let pharmacist_answers = say(PHARMACIST_ANSWERS);
    let answer = pharmacist.send_text(&room, &pharmacist_answers).await?;
    let stored = record.wait_for_event(&cast, &answer).await?;
    stored.is_from(&cast.pharmacist, &pharmacist_answers)?;
    step(format!(
        "the pharmacist answers; it is {} by {}",
        stored.reference, cast.pharmacist
    ));

    let nurse_closes = say(NURSE_CLOSES);
    let last = record.write(&cast, &cast.nurse, &nurse_closes).await?;
    for client in [&gp, &pharmacist] {
        read(client, &room, &nurse_closes).await?;
    }
    step(format!("the nurse writes {last} in FHIR; both read it"));

    let texts = [nurse_asks, gp_answers, pharmacist_answers, nurse_closes];
    let played = Played {
        private: cast.private.iter().cloned().chain(texts.clone()).collect(),
        transcript: transcript(&record, &cast, &gp, &room).await?,
        messages: texts.len(),
        thread: cast.thread.clone(),
        space,
        room,
    };
    ensure_same_everywhere(testbed, &record, &cast, &played, &texts, [&gp, &pharmacist]).await?;
    step("each message is there once, in order, in FHIR and on all homeservers".to_owned());
    ensure_metadata_is_silent(&played, [&gp, &pharmacist]).await?;
    step("the rooms' metadata holds no name and no number of anybody".to_owned());
    Ok(played)
}

/// Looks, for as long as `patience`, whether a conversation that is over stays as it is: the same messages on the FHIR
/// server and in the room, none twice.
///
/// # Errors
///
/// When one came after all.
pub async fn stays_the_same(
    testbed: &Testbed,
    fhir: &Url,
    played: &Played,
    patience: Duration,
) -> Result<()> {
    let record = Record::new(fhir)?;
    let vvt = testbed.homeserver("vvt")?;
    let came = poll::until(patience, async || {
        let on_record = record.count(&played.thread).await?;
        let in_room = database::messages(testbed, vvt, &played.room).await?;
        Ok(((on_record, in_room) != (played.messages, played.messages))
            .then_some((on_record, in_room)))
    });
    match came.await? {
        None => Ok(()),
        Some((on_record, in_room)) => anyhow::bail!(
            "{} messages became {on_record} on the FHIR server and {in_room} in the room",
            played.messages
        ),
    }
}

/// Where the conversation is, as the homeservers know it.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    space: String,
    room: String,
}

/// Somebody accepts the invitations to the space and to the room, and looks whether the two name each other.
async fn accept(client: &Client) -> Result<Place> {
    let mut space = None;
    let mut room = None;
    for invite in client.wait_for_invites(2, PATIENCE).await? {
        client.join(&invite.room_id).await?;
        let create = client.state(&invite.room_id, "m.room.create").await?;
        let create = create.first().context("a room without m.room.create")?;
        let place = if create.content["type"] == "m.space" {
            &mut space
        } else {
            &mut room
        };
        ensure!(place.is_none(), "invited to two rooms of the same kind");
        *place = Some(invite.room_id);
    }
    let (space, room) = space.zip(room).context("no space or no room")?;
    wait_for_state(client, &space, "m.space.child", &room).await?;
    wait_for_state(client, &room, "m.space.parent", &space).await?;
    Ok(Place { space, room })
}

async fn wait_for_state(client: &Client, room: &str, kind: &str, key: &str) -> Result<()> {
    let found = poll::until(PATIENCE, async || {
        let state = client.state(room, kind).await?;
        Ok(state
            .iter()
            .any(|event| event.state_key.as_deref() == Some(key))
            .then_some(()))
    });
    found
        .await?
        .with_context(|| format!("no {kind} between space and room"))
}

/// Each text once and in this order, seen from both clients' homeservers, from the bridge's own, and from FHIR.
async fn ensure_same_everywhere(
    testbed: &Testbed,
    record: &Record,
    cast: &Cast,
    played: &Played,
    texts: &[String],
    clients: [&Client; 2],
) -> Result<()> {
    let on_record: Vec<String> = record
        .thread(cast)
        .await?
        .into_iter()
        .map(|message| message.text)
        .collect();
    ensure!(
        on_record == texts,
        "the FHIR server has other messages: {} of {}",
        on_record.len(),
        texts.len()
    );
    for client in clients {
        let seen: Vec<String> = messages(client, &played.room)
            .await?
            .iter()
            .map(|event| event.body().to_owned())
            .collect();
        ensure!(
            seen == texts,
            "{} sees {} messages of {}",
            short(client.user_id()),
            seen.len(),
            texts.len()
        );
    }
    for homeserver in testbed.homeservers() {
        let count = database::messages(testbed, homeserver, &played.room).await?;
        ensure!(
            count == texts.len(),
            "the database of {} holds {count} messages of {}",
            homeserver.server_name(),
            texts.len()
        );
    }
    Ok(())
}

async fn ensure_metadata_is_silent(played: &Played, clients: [&Client; 2]) -> Result<()> {
    for room in [&played.space, &played.room] {
        for kind in [
            "m.room.name",
            "m.room.topic",
            "m.room.canonical_alias",
            "m.room.create",
            "m.room.avatar",
        ] {
            let text = format!(
                "{:?}",
                clients[0]
                    .state(room, kind)
                    .await?
                    .iter()
                    .map(|e| &e.content)
                    .collect::<Vec<_>>()
            );
            ensure!(
                !played
                    .private
                    .iter()
                    .any(|word| text.contains(word.as_str())),
                "{kind} holds something private"
            );
        }
    }
    Ok(())
}

/// Reads the room, as far back as it goes, until the text is there: what was written before somebody joined is not in
/// their sync.
async fn read(client: &Client, room: &str, text: &str) -> Result<Event> {
    let found = poll::until(PATIENCE, async || {
        let mut messages = messages(client, room).await?;
        messages.retain(|event| event.body() == text);
        Ok(messages.pop())
    });
    found
        .await?
        .with_context(|| format!("a message did not reach {}", short(client.user_id())))
}

async fn messages(client: &Client, room: &str) -> Result<Vec<Event>> {
    let mut messages = client.messages(room, 100).await?;
    messages.retain(|event| event.kind == "m.room.message");
    Ok(messages)
}

async fn transcript(record: &Record, cast: &Cast, gp: &Client, room: &str) -> Result<Vec<String>> {
    let events = messages(gp, room).await?;
    Ok(record
        .thread(cast)
        .await?
        .into_iter()
        .map(|message| {
            let event = events
                .iter()
                .find(|event| Some(&event.event_id) == message.event_id.as_ref());
            let text = message.text.split(" [scene").next().unwrap_or_default();
            format!(
                "{:<11} {text}\n{:12}{} = {} by {}",
                cast.role_of(&message.sender),
                "",
                message.reference,
                event.map_or("?", |event| short(&event.event_id)),
                event.map_or("?", |event| short(&event.sender)),
            )
        })
        .collect())
}

/// The part of a FHIR id as it stands in a ghost's localpart.
fn lower(reference: &str) -> String {
    reference
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_lowercase()
}

/// An id short enough for a line.
fn short(id: &str) -> &str {
    match id.char_indices().nth(22) {
        Some((end, _)) => &id[..end],
        None => id,
    }
}
