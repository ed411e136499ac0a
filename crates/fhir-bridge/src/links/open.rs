//! Opening: a file or a schema, made where there is none, and brought to this version.

use std::{path::Path, str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{
    Links, LinksError,
    tables::{Tables, in_time, query},
};

/// How long PostgreSQL is waited for before its absence is an error.
const ABSENT: Duration = Duration::from_secs(10);

/// Connections to PostgreSQL.
const CONNECTIONS: u32 = 8;

/// A schema in PostgreSQL.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    options: PgConnectOptions,
    name: String,
}

impl Schema {
    /// The schema `name`, in small letters, digits and `_` alone.
    pub(crate) fn new(options: PgConnectOptions, name: String) -> Self {
        let options = options
            .disable_statement_logging()
            // That this process is gone, or the network, is to be noticed in half a minute. And whatever the server's
            // default is: what was noted is durable.
            .options([
                ("tcp_keepalives_idle", "10"),
                ("tcp_keepalives_interval", "5"),
                ("tcp_keepalives_count", "4"),
                ("synchronous_commit", "on"),
            ])
            .options([("search_path", &name)]);
        Self { options, name }
    }
}

impl Links {
    /// Opens the tables in a SQLite file.
    pub(crate) async fn open(path: &Path) -> Result<Self, LinksError> {
        make_private(path).map_err(sqlx::Error::Io)?;
        let options = SqliteConnectOptions::from_str("sqlite://")?
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .connect_with(options)
            .await?;
        sqlx::migrate!("migrations/sqlite").run(&pool).await?;
        Ok(Self {
            tables: Tables::Sqlite(pool),
        })
    }

    /// Opens the tables in PostgreSQL.
    pub(crate) async fn connect(schema: &Schema) -> Result<Self, LinksError> {
        let migrating = async {
            let mut connection = schema.options.connect().await?;
            if !is_there(&mut connection, &schema.name).await? {
                // The name is one of ours.
                let sql = format!("CREATE SCHEMA IF NOT EXISTS {}", schema.name);
                connection.execute(sqlx::AssertSqlSafe(sql)).await?;
            }
            sqlx::migrate!("migrations/postgres")
                .run(&mut connection)
                .await?;
            connection.close().await?;
            Ok::<_, LinksError>(())
        };
        in_time(migrating).await?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(ABSENT)
            .connect_with(schema.options.clone());
        Ok(Self {
            tables: Tables::Postgres(in_time(pool).await?),
        })
    }

    /// Opens the tables in a SQLite file to look into them and change nothing; `None` when there are none yet.
    pub(crate) async fn look(path: &Path) -> Result<Option<Self>, LinksError> {
        if !path.is_file() {
            return Ok(None);
        }
        let options = SqliteConnectOptions::from_str("sqlite://")?
            .filename(path)
            .read_only(true)
            .busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await?;
        Ok(Some(Self {
            tables: Tables::Sqlite(pool),
        }))
    }

    /// The same in PostgreSQL.
    pub(crate) async fn look_at(schema: &Schema) -> Result<Option<Self>, LinksError> {
        let read_only = [("default_transaction_read_only", "on")];
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ABSENT)
            .connect_with(schema.options.clone().options(read_only));
        let tables = Tables::Postgres(in_time(pool).await?);
        let there: bool = query("SELECT to_regclass('look_back') IS NOT NULL")
            .one_value(&tables)
            .await?;
        Ok(there.then_some(Self { tables }))
    }

    /// How many rooms and messages they know.
    pub(crate) async fn counts(&self) -> Result<(i64, i64), LinksError> {
        let counts = query("SELECT (SELECT count(*) FROM room), (SELECT count(*) FROM message)");
        let counts = counts.first(&self.tables).await?;
        Ok(counts.ok_or(sqlx::Error::RowNotFound)?)
    }

    /// Whether a bridge has ever worked with these tables.
    pub(crate) async fn were_used(&self) -> Result<bool, LinksError> {
        query("SELECT EXISTS (SELECT 1 FROM secret)")
            .one_value(&self.tables)
            .await
    }
}

async fn is_there(connection: &mut PgConnection, schema: &str) -> Result<bool, LinksError> {
    Ok(sqlx::query_scalar("SELECT to_regnamespace($1) IS NOT NULL")
        .bind(schema)
        .fetch_one(connection)
        .await?)
}

/// Makes a file that its owner alone can read, when it isn't there: the tables hold the bridge's secrets.
fn make_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(|_| ())
}
