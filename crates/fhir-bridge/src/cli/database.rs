//! `fhir-bridge database`: where the journal and the links are.

use clap::Subcommand;
use serde_json::json;

use super::{ConfigFile, Output};
use crate::{config::Config, database::moving};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Move the journal and the links from SQLite files in the folder `data` into PostgreSQL.
    ///
    /// Stop the bridge, back up the folder, set `database` in the configuration, run this, and start the bridge. All goes
    /// over: what waits, dead letters, what was seen before, how far the FHIR servers were read, and which resource is
    /// which room, event and account. The files are kept under names that end in `.moved`; remove them when all is well:
    /// they hold what waited. Interrupted, run it again.
    Move {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        output: Output,
    },
}

impl Command {
    pub(super) fn config(&self) -> &ConfigFile {
        let Self::Move { config, .. } = self;
        config
    }
}

pub(super) async fn run(config: &Config, command: &Command) -> anyhow::Result<()> {
    let Command::Move { output, .. } = command;
    let moved = moving::take_over(config).await?;
    let journal = moved.journal.unwrap_or_default();
    if output.json {
        println!(
            "{}",
            json!({
                "rooms": moved.rooms, "messages": moved.messages, "transactions": journal.transactions,
                "entries": journal.entries, "keys": journal.keys, "cursors": journal.cursors,
            })
        );
    } else {
        println!(
            "Moved: {} rooms and {} messages; {} transactions and {} entries that wait or are dead letters, {} keys of what was seen, {} places up to which FHIR servers were read.",
            moved.rooms,
            moved.messages,
            journal.transactions,
            journal.entries,
            journal.keys,
            journal.cursors
        );
        println!("The files are kept as *.moved. Start the bridge; remove them when all is well.");
    }
    Ok(())
}
