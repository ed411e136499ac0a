//! From SQLite files to PostgreSQL.

use std::path::Path;

use anyhow::{Context as _, bail};
use matrix_appservice::store::{PostgresStore, SqliteStore, TakenOver};
use secrecy::ExposeSecret as _;

use super::{Place, journal_file};
use crate::{config::Config, links::Links};

/// What was moved.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    pub(crate) journal: Option<TakenOver>,
    pub(crate) rooms: i64,
    pub(crate) messages: i64,
}

/// Moves the links, then the journal, from the folder `data` into PostgreSQL. Each is one commit, behind which its file is
/// renamed: interrupted, it goes on where it was, and the bridge doesn't start before all of it is moved.
///
/// # Errors
///
/// When a bridge is at work with either, or something is there already; what was not moved is where it was.
pub(crate) async fn take_over(config: &Config) -> anyhow::Result<Moved> {
    let place = Place::of(config)?;
    let Place::Postgres(address) = &place else {
        bail!("`database` isn't set: set it to the PostgreSQL that everything is to be moved to");
    };
    let journal = journal_file(&config.data);
    if !journal.is_file() {
        bail!(
            "there is nothing to move: {} isn't there",
            journal.display()
        );
    }
    // Both are held until the end, so that no bridge works with either meanwhile.
    let from = SqliteStore::open(&journal)
        .await
        .context("stop the bridge first")?;
    let to = PostgresStore::open(address.url.expose_secret())
        .await
        .context("`database`")?;
    let mut moved = Moved::default();
    for server in config.servers() {
        let file = server.links_file(&config.data);
        if !file.is_file() {
            continue;
        }
        let links: Links = place.links(server).await.context("the links")?;
        if links.were_used().await? {
            bail!(
                "{place} holds the links of {} already: if they were moved and this was interrupted right behind it, move the file away; else name an empty database",
                file.display()
            );
        }
        let taken = links.take_over(&file).await;
        taken.with_context(|| format!("{} can't be moved", file.display()))?;
        let (rooms, messages) = links.counts().await?;
        moved.rooms += rooms;
        moved.messages += messages;
        set_aside(&file)?;
    }
    let taken = to.take_over(&from).await;
    moved.journal = Some(taken.with_context(|| format!("{} can't be moved", journal.display()))?);
    drop(from);
    set_aside(&journal)?;
    place.mark(&config.data)?;
    Ok(moved)
}

/// Keeps a file under another name, with what SQLite has beside it.
fn set_aside(file: &Path) -> anyhow::Result<()> {
    for beside in ["-wal", "-shm", ""] {
        let mut from = file.as_os_str().to_owned();
        from.push(beside);
        let mut to = file.as_os_str().to_owned();
        to.push(".moved");
        to.push(beside);
        match std::fs::rename(&from, &to) {
            Err(error) if !(beside.len() > 1 && error.kind() == std::io::ErrorKind::NotFound) => {
                return Err(error).with_context(|| format!("{} can't be renamed", file.display()));
            }
            _ => {}
        }
    }
    Ok(())
}
