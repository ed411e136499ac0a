//! Opening: the schema, its tables, and the options of the connections.

use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};

use super::link::patiently;
use crate::journal::JournalError;

/// The schema of the journal's tables, where the URL names none.
const SCHEMA: &str = "matrix_appservice";

/// The options of all connections, those of the one whose commits wait for the disk, and that one. Makes the tables where there are
/// none: they are what is locked.
pub(super) async fn prepare(
    options: PgConnectOptions,
) -> Result<(PgConnectOptions, PgConnectOptions, PgConnection), JournalError> {
    let own = !options
        .get_options()
        .is_some_and(|options| options.contains("search_path"));
    let mut options = options
        // That this process is gone, or the network, is to be noticed in half a minute.
        .options([
            ("tcp_keepalives_idle", "10"),
            ("tcp_keepalives_interval", "5"),
            ("tcp_keepalives_count", "4"),
        ]);
    if own {
        options = options.options([("search_path", SCHEMA)]);
    }
    // Whatever the server's default is.
    let durable = options.clone().options([("synchronous_commit", "on")]);
    let connection = patiently(async {
        let mut connection = durable.connect().await?;
        if own {
            make_schema(&mut connection).await?;
        }
        let made: bool = sqlx::query_scalar("SELECT to_regclass('holder') IS NOT NULL")
            .fetch_one(&mut connection)
            .await?;
        if !made {
            migrate(&mut connection).await?;
        }
        let fsync: String = sqlx::query_scalar("SELECT current_setting('fsync')")
            .fetch_one(&mut connection)
            .await?;
        if fsync != "on" {
            tracing::warn!(
                "PostgreSQL runs with fsync = off: what is acknowledged may be lost when the machine fails"
            );
        }
        Ok(connection)
    });
    let connection = connection.await?;
    Ok((options, durable, connection))
}

async fn make_schema(connection: &mut PgConnection) -> Result<(), JournalError> {
    // Only where there is none: making it takes a right that a user may not have who was given the schema.
    let there: bool = sqlx::query_scalar("SELECT to_regnamespace($1) IS NOT NULL")
        .bind(SCHEMA)
        .fetch_one(&mut *connection)
        .await?;
    if there {
        return Ok(());
    }
    let made = sqlx::query("CREATE SCHEMA IF NOT EXISTS matrix_appservice")
        .execute(connection)
        .await;
    match made {
        // Somebody else has just made it.
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(()),
        made => Ok(made.map(|_| ())?),
    }
}

pub(super) async fn migrate(connection: &mut PgConnection) -> Result<(), JournalError> {
    let migrated = sqlx::migrate!("migrations/postgres").run(connection).await;
    migrated.map_err(|error| match error {
        sqlx::migrate::MigrateError::Execute(error) => error.into(),
        error => JournalError::Schema(error.into()),
    })
}

/// Where the journal is, without who reads it and how he gets in.
pub(super) fn place(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    match options.get_socket() {
        Some(socket) => format!("postgres://{}/{database}", socket.display()),
        None => format!(
            "postgres://{}:{}/{database}",
            options.get_host(),
            options.get_port()
        ),
    }
}
