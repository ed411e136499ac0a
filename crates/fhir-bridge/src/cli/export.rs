//! `fhir-bridge export`: what the bridge itself holds about somebody or something.

use std::{
    collections::BTreeSet,
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Args;
use matrix_appservice::MATRIX;
use serde_json::{Value, json};

use super::operator::{DeadLetter, Operator};
use crate::{
    audit,
    config::Config,
    database::Place,
    links::{About, Links},
};

/// What is exported, and where to.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// A resource, room, event or Matrix user, such as `CareTeam/7`, `!abc:vvt.example` or `@gp:huisarts.example`.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// A new file, readable by its owner alone. Default: standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only of this FHIR server, where there are several: the same id may be somebody else's on another one.
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Where the bridge's `ops.listen` is reached, when that is not on this machine.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Leave the dead letters out, when no bridge is at work that could be asked.
    #[arg(long)]
    without_dead_letters: bool,
}

/// Writes it all.
pub(super) async fn run(config: &Config, wanted: &Wanted) -> anyhow::Result<()> {
    // Before anything is written: half an export looks like a whole one.
    let letters = if wanted.without_dead_letters {
        Vec::new()
    } else {
        let operator = Operator::of(config, wanted.url.as_deref())?;
        operator
            .dead_letters()
            .await
            .context("the dead letters (`--without-dead-letters` leaves them out)")?
    };
    let Some(file) = &wanted.output else {
        return whole(config, wanted, &letters, &mut std::io::stdout()).await;
    };
    let mut out = std::io::BufWriter::new(new_file(file)?);
    let written = whole(config, wanted, &letters, &mut out).await;
    if written.is_err() {
        // It was not there before, and would be in the way of the next try.
        let _ = std::fs::remove_file(file);
    }
    written
}

/// The export with its last line, without which it is not whole.
async fn whole(
    config: &Config,
    wanted: &Wanted,
    letters: &[DeadLetter],
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let count = export(config, wanted, letters, out).await?;
    writeln!(out, "{}", json!({"kind": "end", "records": count}))?;
    out.flush()?;
    Ok(())
}

async fn export(
    config: &Config,
    wanted: &Wanted,
    letters: &[DeadLetter],
    out: &mut (dyn Write + Send),
) -> anyhow::Result<u64> {
    let place = Place::of(config)?;
    let (mut count, mut servers) = (0_u64, Vec::new());
    let mut unknown: BTreeSet<&String> = wanted.ids.iter().collect();
    for server in config.servers() {
        let name = server.name.as_deref();
        if wanted.server.is_some() && wanted.server.as_deref() != name {
            continue;
        }
        let Some(links) = place.look(server).await? else {
            continue;
        };
        let about = links.about(&wanted.ids).await?;
        let mut tell = |table: &str, row: serde_json::Map<String, Value>| {
            count += 1;
            let mut line = json!({"kind": table, "server": name});
            if let Some(line) = line.as_object_mut() {
                line.extend(row);
            }
            writeln!(out, "{line}")
        };
        links.rows_about(&about, &mut tell).await?;
        for id in &wanted.ids {
            if unknown.contains(id) && is_linked(&links, id).await? {
                unknown.remove(id);
            }
        }
        servers.push((name, about));
    }
    if servers.is_empty() {
        bail!(
            "there are no links in {place} of such a server: has the bridge ever run, and is `--server` right?"
        );
    }
    for id in unknown {
        tracing::warn!(
            "nothing is linked to `{id}`: is it written as `fhir-bridge links` has it? Of it, the export holds entries of the audit and dead letters at the most"
        );
    }
    for letter in letters {
        if servers
            .iter()
            .any(|(name, about)| concerns(letter, *name, about))
        {
            count += 1;
            let mut line = serde_json::to_value(letter)?;
            line["kind"] = "dead-letter".into();
            writeln!(out, "{line}")?;
        }
    }
    let log = config.data.join("audit.log");
    if log.is_file() {
        let is_meant = |event: &Value| servers.iter().any(|(_, about)| names(event, about));
        let mut tell = |event: Value| {
            count += 1;
            writeln!(out, "{}", json!({"kind": "audit", "event": event}))
        };
        audit::file::events(&log, &is_meant, &mut tell)
            .with_context(|| format!("{} can't be read", log.display()))?;
    }
    Ok(count)
}

/// Whether the tables hold anything about this id.
async fn is_linked(links: &Links, id: &str) -> anyhow::Result<bool> {
    let about = links.about(&[id.to_owned()]).await?;
    let mut is_linked = false;
    let mut tell = |_: &str, _: serde_json::Map<String, Value>| {
        is_linked = true;
        Ok(())
    };
    links.rows_about(&about, &mut tell).await?;
    Ok(is_linked)
}

/// Whether a dead letter is about one of these: by its lane (a room, a conversation) or its key (an event, a version of a
/// resource).
fn concerns(letter: &DeadLetter, server: Option<&str>, about: &About) -> bool {
    let key = letter.key.as_deref().unwrap_or_default();
    if letter.source.starts_with(MATRIX) {
        return about.has(&letter.lane) || about.has(key);
    }
    // Another server's resources may have the same ids.
    let of = letter.source.split_once(':').map(|(_, name)| name);
    if of != server {
        return false;
    }
    let lane = match server {
        None => Some(letter.lane.as_str()),
        Some(name) => (letter.lane.strip_prefix(name)).and_then(|lane| lane.strip_prefix(':')),
    };
    // Type/id/version.
    let resource = key.rsplit_once('/').map_or(key, |(resource, _)| resource);
    lane.is_some_and(|lane| about.has(lane)) || about.has(key) || about.has(resource)
}

/// Whether one of these stands in an event, as a text of its own.
fn names(event: &Value, about: &About) -> bool {
    match event {
        Value::String(text) => about.has(text),
        Value::Array(all) => all.iter().any(|one| names(one, about)),
        Value::Object(all) => all.values().any(|one| names(one, about)),
        _ => false,
    }
}

/// A file that was not there before, for its owner alone.
fn new_file(path: &Path) -> anyhow::Result<std::fs::File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).with_context(|| {
        format!(
            "{} can't be made: it must not be there before",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use fhir::ResourceRef;
    use matrix_appservice::ruma::{event_id, room_id, user_id};

    use super::*;
    use crate::{
        audit::file::AuditFile,
        links::{NewMessage, State},
        servers::testing::Made,
    };

    fn letter(source: &str, lane: &str, key: &str) -> DeadLetter {
        let letter = json!({
            "id": 1, "source": source, "key": key, "lane": lane, "attempts": 1,
            "received_at": "2026-11-21T10:00:00Z", "error": "refused",
        });
        serde_json::from_value(letter).unwrap()
    }

    async fn message(links: &Links, id: &str, thread: &str, room: &str, event: &str) {
        let reference = |text: &str| ResourceRef::parse(text).unwrap();
        let room = matrix_appservice::ruma::RoomId::parse(room).unwrap();
        links.link_room(&reference(thread), &room).await.unwrap();
        let new = NewMessage {
            resource: &reference(id),
            room: &room,
            sender: user_id!("@gp:huisarts"),
            from_matrix: true,
            state: State::Live,
            fingerprint: "canary-hash",
            changed_at: 1,
        };
        links.add_message(&new).await.unwrap();
        let event: matrix_appservice::ruma::OwnedEventId = event.try_into().unwrap();
        links
            .link_part(&reference(id), 0, &event, "canary-hash")
            .await
            .unwrap();
    }

    fn wanted(ids: &[&str]) -> Wanted {
        Wanted {
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            output: None,
            server: None,
            url: None,
            without_dead_letters: true,
        }
    }

    #[tokio::test]
    async fn all_about_a_care_team_is_told_and_nothing_of_others() {
        let made = Made::with(json!({"fhir": {"url": "http://127.0.0.1:9/fhir"}})).await;
        let links = &made.servers.iter().next().unwrap().links;
        let reference = |text: &str| ResourceRef::parse(text).unwrap();
        links
            .link_room(&reference("CareTeam/1"), room_id!("!space:vvt"))
            .await
            .unwrap();
        let request = reference("CommunicationRequest/2");
        links
            .depend(&request, &[reference("CareTeam/1")])
            .await
            .unwrap();
        message(
            links,
            "Communication/3",
            "CommunicationRequest/2",
            "!room:vvt",
            "$three",
        )
        .await;
        message(
            links,
            "Communication/9",
            "CommunicationRequest/8",
            "!other:vvt",
            "$nine",
        )
        .await;
        let task = reference("Task/4");
        let owner = reference("Practitioner/5");
        links
            .add_task(&task, &reference("Communication/3"), &owner, false)
            .await
            .unwrap();
        let mut log = AuditFile::open(&made.config.data.join("audit.log")).unwrap();
        for event in ["$three", "$nine"] {
            log.append(&json!({"entity": [{"what": {"identifier": {"value": event}}}]}))
                .unwrap();
        }
        let letters = [
            letter("fhir", "CommunicationRequest/2", "Communication/6/1"),
            letter("matrix", "!room:vvt", "$late"),
            letter("fhir", "CommunicationRequest/8", "Communication/9/1"),
            letter("fhir:a", "a:CommunicationRequest/2", "Communication/3/1"),
        ];
        let export = async |ids: &[&str]| {
            let mut out = Vec::new();
            let count = export(&made.config, &wanted(ids), &letters, &mut out).await;
            let text = String::from_utf8(out).unwrap();
            assert_eq!(count.unwrap(), text.lines().count() as u64);
            text
        };
        let text = export(&["CareTeam/1"]).await;
        for words in [
            r#""kind":"room""#,
            "!space:vvt",
            "!room:vvt",
            "Communication/3",
            r#""from_matrix":true"#,
            r#""event_id":"$three""#,
            "Task/4",
            r#""kind":"audit""#,
            "Communication/6/1",
            "$late",
        ] {
            assert!(text.contains(words), "{words} is not in\n{text}");
        }
        for words in [
            "Communication/9",
            "$nine",
            "!other:vvt",
            "canary",
            "secret",
            "a:Comm",
        ] {
            assert!(!text.contains(words), "{words} is in\n{text}");
        }
        // A message alone, by its event; a person, by what names them.
        let text = export(&[event_id!("$nine").as_str()]).await;
        assert!(
            text.contains("Communication/9") && !text.contains("Communication/3"),
            "{text}"
        );
        let text = export(&["Practitioner/5"]).await;
        assert!(
            text.contains("Task/4") && !text.contains("$three"),
            "{text}"
        );
        let mut other = wanted(&["CareTeam/1"]);
        other.server = Some("nobody".to_owned());
        let mut out = Vec::new();
        assert!(
            super::export(&made.config, &other, &[], &mut out)
                .await
                .is_err()
        );
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_new_and_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("export.jsonl");
        let mode = new_file(&path)
            .unwrap()
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(
            new_file(&path).is_err(),
            "what is there is not written over"
        );
    }
}
