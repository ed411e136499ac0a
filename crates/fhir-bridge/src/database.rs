//! Where the journal and the links are: in SQLite files in the folder `data`, or in PostgreSQL.

pub(crate) mod moving;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr as _,
};

use anyhow::{Context as _, bail};
use matrix_appservice::{Journal, JournalError};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{
    ConnectOptions as _, Connection as _,
    postgres::{PgConnectOptions, PgSslMode},
};

use crate::{
    config::{Config, Fhir},
    links::{Links, LinksError, Schema},
};

/// The schema of the links, and what those of FHIR servers with a name begin with.
const SCHEMA: &str = "fhir_bridge";
/// What tells, in the folder `data`, that the databases are elsewhere.
const MARK: &str = "in-postgresql";

/// Where the databases are.
#[derive(Clone)]
pub(crate) enum Place {
    /// In this folder.
    Files(PathBuf),
    /// In PostgreSQL.
    Postgres(Address),
}

/// What PostgreSQL says of itself.
pub(crate) struct Asked {
    pub(crate) version: String,
    /// Whether a bridge has worked there.
    pub(crate) has_journal: bool,
    pub(crate) may_make_schemas: bool,
}

/// How PostgreSQL is reached.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) url: SecretString,
    options: Box<PgConnectOptions>,
}

impl Place {
    /// The place that a configuration names, without asking it anything.
    ///
    /// # Errors
    ///
    /// When its address can't be had or read. None of them tells what is in it.
    pub(crate) fn of(config: &Config) -> anyhow::Result<Self> {
        let Some(url) = config.database.url()? else {
            return Ok(Self::Files(config.data.clone()));
        };
        let text = url.expose_secret();
        let key = if config.database.url_file.is_some() {
            "database.url_file"
        } else {
            "database.url_env"
        };
        let is_postgres = ["postgres://", "postgresql://"].map(|scheme| text.starts_with(scheme));
        let options = PgConnectOptions::from_str(text).ok().map(Box::new);
        let Some(options) = options.filter(|_| is_postgres.contains(&true)) else {
            bail!(
                "`{key}` doesn't hold an address: postgres://user:password@host:5432/database is expected"
            );
        };
        if options
            .get_options()
            .is_some_and(|options| options.contains("search_path"))
        {
            bail!(
                "`{key}` must not set a search_path: the bridge has schemas of its own in its database"
            );
        }
        Ok(Self::Postgres(Address { url, options }))
    }

    pub(crate) async fn journal(&self) -> Result<Journal, JournalError> {
        match self {
            Self::Files(data) => Journal::open(journal_file(data)).await,
            Self::Postgres(address) => Journal::connect(address.url.expose_secret()).await,
        }
    }

    /// Opens the links of a FHIR server.
    pub(crate) async fn links(&self, server: &Fhir) -> Result<Links, LinksError> {
        match self {
            Self::Files(data) => Links::open(&server.links_file(data)).await,
            Self::Postgres(address) => Links::connect(&address.schema(server)).await,
        }
    }

    /// The same to look into them and change nothing; `None` when there are none yet.
    pub(crate) async fn look(&self, server: &Fhir) -> Result<Option<Links>, LinksError> {
        match self {
            Self::Files(data) => Links::look(&server.links_file(data)).await,
            Self::Postgres(address) => Links::look_at(&address.schema(server)).await,
        }
    }

    /// What to check when there is something wrong with it.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::Files(_) => "check the folder `data`",
            Self::Postgres(_) => "check `database`",
        }
    }

    /// Refuses to begin anew where a bridge's links and journal are at another place: rooms, what was read and what waits
    /// would be unknown, and everything would be carried over once more.
    pub(crate) async fn check(&self, config: &Config) -> anyhow::Result<()> {
        let mark = config.data.join(MARK);
        let Self::Postgres(_) = self else {
            if let Ok(before) = std::fs::read_to_string(&mark) {
                bail!(
                    "the databases of the bridge with the folder {} are in {}, but `database` isn't set: put it back. To begin anew without what is known there of rooms and messages, remove {}",
                    config.data.display(),
                    before.trim(),
                    mark.display()
                );
            }
            return Ok(());
        };
        let mut all_fresh = true;
        for server in config.servers() {
            let look = self.look(server).await;
            let there = match look.with_context(|| format!("{self} can't be read"))? {
                Some(links) => links.were_used().await?,
                None => false,
            };
            all_fresh &= !there;
            if !there {
                refuse_files(self, config, server).await?;
            }
        }
        let journal = journal_file(&config.data);
        if journal.is_file() {
            bail!(
                "{} holds what has come in and is not done, and {self} doesn't: {MOVE}",
                journal.display()
            );
        }
        if !all_fresh {
            return Ok(());
        }
        if let Ok(before) = std::fs::read_to_string(&mark) {
            bail!(
                "{self} is empty, but the databases of the bridge with the folder {} are in {}: is it the right one? To begin anew, remove {}",
                config.data.display(),
                before.trim(),
                mark.display()
            );
        }
        Ok(())
    }

    /// Notes in the folder `data` that the databases are not there.
    pub(crate) fn mark(&self, data: &Path) -> anyhow::Result<()> {
        if let Self::Postgres(_) = self {
            let mark = data.join(MARK);
            let text = format!("{self}\n");
            if std::fs::read_to_string(&mark).ok().as_deref() != Some(&text) {
                std::fs::write(&mark, text)
                    .with_context(|| format!("{} can't be written", mark.display()))?;
            }
        }
        Ok(())
    }
}

/// What to do with files that are still there.
const MOVE: &str = "take them over with `fhir-bridge database move`, or move the file away to begin anew without them";

/// Refuses to leave a server's links behind in a file.
async fn refuse_files(place: &Place, config: &Config, server: &Fhir) -> anyhow::Result<()> {
    let file = server.links_file(&config.data);
    let Some(links) = Links::look(&file)
        .await
        .with_context(|| format!("{} can't be read", file.display()))?
    else {
        return Ok(());
    };
    let (rooms, messages) = links.counts().await?;
    bail!(
        "{} knows {rooms} rooms and {messages} messages, and {place} none of them: {MOVE}",
        file.display()
    )
}

pub(crate) fn journal_file(data: &Path) -> PathBuf {
    data.join("journal.db")
}

impl Address {
    /// Where a FHIR server's links are.
    pub(crate) fn schema(&self, server: &Fhir) -> Schema {
        let name = match &server.name {
            None => SCHEMA.to_owned(),
            // A name holds `-` but no `_`.
            Some(name) => format!("{SCHEMA}_{}", name.replace('-', "_")),
        };
        Schema::new((*self.options).clone(), name)
    }

    /// Asks PostgreSQL what it is and what the bridge may do there, and changes nothing.
    pub(crate) async fn ask(&self) -> Result<Asked, sqlx::Error> {
        let mut connection = self
            .options
            .as_ref()
            .clone()
            .disable_statement_logging()
            .connect()
            .await?;
        let (version, has_journal, may_make_schemas) = sqlx::query_as(
            "SELECT current_setting('server_version'),
                    to_regclass('matrix_appservice.holder') IS NOT NULL,
                    has_database_privilege(current_database(), 'CREATE')",
        )
        .fetch_one(&mut connection)
        .await?;
        connection.close().await?;
        Ok(Asked {
            version,
            has_journal,
            may_make_schemas,
        })
    }

    /// Whether what goes there may be read on the way: it is not this machine, and TLS is not required.
    pub(crate) fn is_open(&self) -> bool {
        let near = ["localhost", "127.0.0.1", "::1", "[::1]"].contains(&self.options.get_host())
            || self.options.get_socket().is_some()
            || self.options.get_host().starts_with('/');
        let plain = matches!(
            self.options.get_ssl_mode(),
            PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer
        );
        plain && !near
    }
}

/// Without who reads it and how he gets in.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(data) => write!(f, "{}", data.display()),
            Self::Postgres(Address { options, .. }) => {
                let database = options.get_database().unwrap_or(options.get_username());
                match options.get_socket() {
                    Some(socket) => write!(f, "postgres://{}/{database}", socket.display()),
                    None => write!(
                        f,
                        "postgres://{}:{}/{database}",
                        options.get_host(),
                        options.get_port()
                    ),
                }
            }
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}
