//! What the bridge would do with everything that is on the FHIR servers now, without doing it.

use std::io::Write;

use anyhow::Context;
use fhir::{
    CareTeam, CareTeamStatus, ChangeKind, Communication, EventStatus, FhirClient, HistoryQuery,
    ResourceRef, ResourceType,
};
use serde_json::Value;

use crate::{
    config::{Config, Threads},
    database::Place,
    links::Links,
    mapping::{ids::Ids, phase::Phase},
    puller,
};

/// What would become of a resource.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// A space or room under this alias.
    Room(String),
    /// It has this room already.
    HasRoom(String),
    /// A message in the room of this conversation.
    Message(ResourceRef),
    /// It is in its room already, or came from there.
    Sent,
    /// Nothing, and why.
    LeftOut(&'static str),
}

/// Lists, for each resource that the bridge follows, what it would do with it: one line each, ids only. Nothing is
/// written, neither on the FHIR servers nor on the homeserver nor in the bridge's own databases.
///
/// # Errors
///
/// When a FHIR server can't be read, or the list can't be written.
pub(crate) async fn dry_run(config: &Config, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let place = Place::of(config)?;
    for server in config.servers() {
        let what = || format!("the FHIR server at {}", server.url);
        let client = server.client().with_context(what)?;
        let links = place.look(server).await?;
        writeln!(out, "# {}", what())?;
        for resource_type in puller::types(server.threads) {
            let planner = Planner {
                client: &client,
                links: links.as_ref(),
                ids: Ids::new(server.prefix(&config.prefix), []),
                server_name: config.homeserver.name.as_str(),
                threads: server.threads,
            };
            list(&planner, &resource_type, out)
                .await
                .with_context(what)?;
        }
    }
    Ok(())
}

/// All of a type, a part at a time, so that memory holds no more than that.
async fn list(
    planner: &Planner<'_>,
    resource_type: &ResourceType,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let mut query = HistoryQuery {
        overlap: std::time::Duration::ZERO,
        ..HistoryQuery::since(None)
    };
    let [mut new, mut there, mut left_out] = [0_u64; 3];
    let mut last = Vec::new();
    loop {
        let read = planner.client.current_since(resource_type, &query).await?;
        for change in &read.changes {
            // The newest of a part are the first of the next.
            if last.contains(&change.reference) {
                continue;
            }
            let ChangeKind::Put(json) = &change.kind else {
                continue;
            };
            // A conversation that its care team alone tells of comes behind it.
            let own = planner.threads.of_team(&change.reference);
            for reference in [&change.reference].into_iter().chain(&own) {
                match planner.plan(reference, json).await? {
                    Plan::Room(alias) => {
                        new += 1;
                        writeln!(out, "{reference} new {alias}")?;
                    }
                    Plan::Message(thread) => {
                        new += 1;
                        writeln!(out, "{reference} new in {thread}")?;
                    }
                    Plan::HasRoom(room) => {
                        there += 1;
                        writeln!(out, "{reference} is {room}")?;
                    }
                    Plan::Sent => {
                        there += 1;
                        writeln!(out, "{reference} is there")?;
                    }
                    Plan::LeftOut(why) => {
                        left_out += 1;
                        writeln!(out, "{reference} left out: {why}")?;
                    }
                }
            }
        }
        for odd in &read.odd {
            left_out += 1;
            let id = odd.id.as_deref().unwrap_or("?");
            writeln!(out, "{resource_type}/{id} left out: {}", odd.what)?;
        }
        if !read.more {
            break;
        }
        last = read.changes.into_iter().map(|one| one.reference).collect();
        query.since = read.cursor;
    }
    writeln!(
        out,
        "# {resource_type}: {new} new, {there} there, {left_out} left out"
    )?;
    Ok(())
}

struct Planner<'a> {
    client: &'a FhirClient,
    /// `None` before the bridge's first start.
    links: Option<&'a Links>,
    ids: Ids,
    server_name: &'a str,
    threads: Threads,
}

impl Planner<'_> {
    async fn plan(&self, reference: &ResourceRef, json: &Value) -> anyhow::Result<Plan> {
        let base = self.client.base();
        let cannot = Plan::LeftOut("it can't be read");
        if self.is_thread(reference, json).await? {
            return Ok(match self.threads.read(json, base) {
                Ok(thread) if thread.phase == Some(Phase::Open) => self.room(reference).await?,
                Ok(_) => Plan::LeftOut("it is not active"),
                Err(_) => cannot,
            });
        }
        Ok(match reference.resource_type() {
            ResourceType::CareTeam => match CareTeam::from_json(json, base) {
                Ok(team) if team.status == CareTeamStatus::Active => self.room(reference).await?,
                Ok(_) => Plan::LeftOut("it is not active"),
                Err(_) => cannot,
            },
            ResourceType::Communication => match Communication::from_json(json, base) {
                Ok(message) => self.message(reference, &message).await?,
                Err(_) => cannot,
            },
            _ => Plan::LeftOut("it is no part of a conversation"),
        })
    }

    /// As the bridge at work decides it.
    async fn is_thread(&self, reference: &ResourceRef, json: &Value) -> anyhow::Result<bool> {
        if !self.threads.is_of(reference) {
            return Ok(false);
        }
        let has_room = match self.links {
            Some(links) => links.room(reference).await?.is_some(),
            None => false,
        };
        Ok(has_room || self.threads.recognises(json))
    }

    async fn room(&self, reference: &ResourceRef) -> anyhow::Result<Plan> {
        let linked = match self.links {
            Some(links) => links.room(reference).await?,
            None => None,
        };
        Ok(match linked {
            Some(room) => Plan::HasRoom(room.to_string()),
            None => Plan::Room(format!(
                "#{}:{}",
                self.ids.alias(reference),
                self.server_name
            )),
        })
    }

    async fn message(
        &self,
        reference: &ResourceRef,
        message: &Communication,
    ) -> anyhow::Result<Plan> {
        let linked = match self.links {
            Some(links) => links.event(reference).await?.is_some(),
            None => false,
        };
        if linked || message.is_from_matrix() || message.event_ids().next().is_some() {
            return Ok(Plan::Sent);
        }
        let is_message = matches!(
            message.status,
            EventStatus::Completed | EventStatus::InProgress
        );
        Ok(match self.threads.of_message(message) {
            _ if !is_message => Plan::LeftOut("it is neither completed nor in progress"),
            _ if message.payload.is_empty() => Plan::LeftOut("it has no payload"),
            Some(thread) => Plan::Message(thread),
            None => Plan::LeftOut("it is part of no conversation"),
        })
    }
}
