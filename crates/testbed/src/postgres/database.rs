//! A database of a test's own.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};

use super::Access;
use crate::{poll, random};

/// How long clients may take to notice that they have been cut off.
const CUT: Duration = Duration::from_secs(30);

/// A database with a user of its own, who owns it and is no superuser. It stays until its server ends.
pub struct Database {
    name: String,
    url: String,
    admin: PgConnectOptions,
}

impl Database {
    pub(super) async fn create(access: &Access) -> Result<Self> {
        let name = format!("test_{}{}", random::tag()?, random::tag()?);
        let password = random::secret()?;
        let url = format!(
            "postgres://{name}:{password}@{}:{}/{name}?sslmode=disable",
            access.address, access.port
        );
        let database = Self {
            name,
            url,
            admin: access.options(),
        };
        let name = &database.name;
        database
            .execute(&[
                format!("CREATE ROLE {name} LOGIN PASSWORD '{password}'"),
                format!("CREATE DATABASE {name} OWNER {name}"),
            ])
            .await?;
        Ok(database)
    }

    /// `postgres://user:password@address:port/name`
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Takes the database away: its connections end, and new ones are refused. Returns when all have ended.
    ///
    /// # Errors
    ///
    /// When the server does not answer.
    pub async fn cut(&self) -> Result<()> {
        let name = &self.name;
        let mut admin = self.admin.connect().await?;
        admin
            .execute(AssertSqlSafe(format!(
                "ALTER DATABASE {name} ALLOW_CONNECTIONS false"
            )))
            .await?;
        let gone = poll::until(CUT, async || {
            let left: i64 = sqlx::query_scalar(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = $1",
            )
            .bind(name)
            .fetch_one(&mut admin)
            .await?;
            Ok((left == 0).then_some(()))
        });
        gone.await?.context("a client holds on to its connection")?;
        admin.close().await?;
        Ok(())
    }

    /// Gives the database back after [`Database::cut`].
    ///
    /// # Errors
    ///
    /// When the server does not answer.
    pub async fn restore(&self) -> Result<()> {
        let name = &self.name;
        self.execute(&[format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")])
            .await
    }

    /// Makes each later insert and update fail as a full disk does (`53100`), in the tables that are there.
    ///
    /// # Errors
    ///
    /// When the database does not answer, or is full already.
    pub async fn fill(&self) -> Result<()> {
        let mut owner = self.owner().await?;
        owner
            .execute(
                "CREATE FUNCTION public.full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = 'disk_full'; END $$;
                 DO $$ DECLARE name text; BEGIN
                     FOR name IN SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
                         WHERE schemaname NOT IN ('pg_catalog', 'information_schema') LOOP
                         EXECUTE 'CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON ' || name
                             || ' EXECUTE FUNCTION public.full_disk()';
                     END LOOP;
                 END $$",
            )
            .await?;
        owner.close().await?;
        Ok(())
    }

    /// Makes room again after [`Database::fill`].
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn make_room(&self) -> Result<()> {
        let mut owner = self.owner().await?;
        owner
            .execute("DROP FUNCTION IF EXISTS public.full_disk CASCADE")
            .await?;
        owner.close().await?;
        Ok(())
    }

    async fn owner(&self) -> Result<PgConnection> {
        let options: PgConnectOptions = self.url.parse()?;
        Ok(options.connect().await?)
    }

    /// Runs statements as the superuser.
    async fn execute(&self, statements: &[String]) -> Result<()> {
        ensure!(!statements.is_empty(), "nothing to do");
        let mut admin = self.admin.connect().await?;
        for statement in statements {
            admin
                .execute(AssertSqlSafe(statement.as_str().to_owned()))
                .await?;
        }
        admin.close().await?;
        Ok(())
    }
}

/// Shows no password.
impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({})", self.name)
    }
}
