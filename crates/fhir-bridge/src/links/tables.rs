//! SQLite or PostgreSQL, asked in one way.
//!
//! A statement has one text for both. Its parameters are `$1`, `$2`, …, and in `ON CONFLICT … DO UPDATE` columns bear
//! their table's name, as PostgreSQL wants both and SQLite knows both.

use std::{borrow::Cow, io, time::Duration};

use sqlx::{
    Arguments as _, Database, Encode, FromRow, PgConnection, PgPool, Postgres, Sqlite,
    SqliteConnection, SqlitePool, Transaction, Type, postgres::PgRow, sqlite::SqliteRow,
};

use super::LinksError;

/// How long PostgreSQL may take for anything. A network that swallows everything looks like one that is slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tells our advisory locks from others in the same database: "fhbr".
const KIND: i64 = 0x6668_6272;

/// Where the tables are.
#[derive(Clone, Debug)]
pub(super) enum Tables {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// What is written together or not at all. Dropped before [`Commit::end`], it is not.
pub(super) enum Commit {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Tables {
    pub(super) async fn begin(&self) -> Result<Commit, LinksError> {
        match self {
            Self::Sqlite(pool) => Ok(Commit::Sqlite(pool.begin().await?)),
            Self::Postgres(pool) => Ok(Commit::Postgres(in_time(pool.begin()).await?)),
        }
    }

    /// The same, for messages, so that whoever sees one of them sees all that have lower numbers.
    pub(super) async fn begin_in_order(&self) -> Result<Commit, LinksError> {
        let mut commit = self.begin().await?;
        if matches!(self, Self::Postgres(_)) {
            let _held: bool = query(
                "SELECT pg_advisory_xact_lock(($1 << 32) | 'message'::regclass::oid::bigint) IS NULL",
            )
            .bind(KIND)
            .one_value(&mut commit)
            .await?;
        }
        Ok(commit)
    }

    /// The same, for what reads which room belongs to whom and then changes it: one at a time.
    pub(super) async fn begin_alone(&self) -> Result<Commit, LinksError> {
        match self {
            Self::Sqlite(pool) => Ok(Commit::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?)),
            Self::Postgres(_) => {
                let mut commit = self.begin().await?;
                query("LOCK TABLE room IN SHARE ROW EXCLUSIVE MODE")
                    .run(&mut commit)
                    .await?;
                Ok(commit)
            }
        }
    }
}

impl Commit {
    pub(super) async fn end(self) -> Result<(), LinksError> {
        match self {
            Self::Sqlite(commit) => Ok(commit.commit().await?),
            Self::Postgres(commit) => in_time(commit.commit()).await,
        }
    }
}

/// Where a statement is run: on any connection, or in a commit.
pub(super) enum On<'a> {
    Sqlite(&'a SqlitePool),
    Postgres(&'a PgPool),
    InSqlite(&'a mut SqliteConnection),
    InPostgres(&'a mut PgConnection),
}

impl<'a> From<&'a Tables> for On<'a> {
    fn from(tables: &'a Tables) -> Self {
        match tables {
            Tables::Sqlite(pool) => Self::Sqlite(pool),
            Tables::Postgres(pool) => Self::Postgres(pool),
        }
    }
}

impl<'a> From<&'a mut Commit> for On<'a> {
    fn from(commit: &'a mut Commit) -> Self {
        match commit {
            Commit::Sqlite(commit) => Self::InSqlite(commit),
            Commit::Postgres(commit) => Self::InPostgres(commit),
        }
    }
}

/// A value that goes into a statement.
#[derive(Clone)]
pub(super) enum Value {
    Text(Option<String>),
    Number(Option<i64>),
    Truth(bool),
}

macro_rules! value {
    ($($from:ty => |$value:ident| $to:expr;)*) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $to
            }
        }
    )*};
}

value! {
    &str => |text| Self::Text(Some(text.to_owned()));
    String => |text| Self::Text(Some(text));
    &String => |text| Self::Text(Some(text.clone()));
    Option<&str> => |text| Self::Text(text.map(ToOwned::to_owned));
    Option<String> => |text| Self::Text(text);
    i64 => |number| Self::Number(Some(number));
    Option<i64> => |number| Self::Number(number);
    u32 => |number| Self::Number(Some(number.into()));
    bool => |truth| Self::Truth(truth);
}

/// A row of either.
pub(super) trait Read:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T> Read for T where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

/// A statement with its values.
pub(super) struct Query {
    sqlite: &'static str,
    postgres: &'static str,
    values: Vec<Value>,
}

pub(super) fn query(sql: &'static str) -> Query {
    Query {
        sqlite: sql,
        postgres: sql,
        values: Vec::new(),
    }
}

/// Calls a function of sqlx's on whichever it is.
macro_rules! ask {
    ($self:ident, $on:ident, $make:ident, <$($generic:ty),*>, $call:ident) => {
        match $on.into() {
            On::Sqlite(pool) => {
                let asked = sqlx::$make::<Sqlite $(, $generic)*, _>($self.sqlite, arguments::<Sqlite>($self.values)?);
                Ok(asked.$call(pool).await?)
            }
            On::InSqlite(commit) => {
                let asked = sqlx::$make::<Sqlite $(, $generic)*, _>($self.sqlite, arguments::<Sqlite>($self.values)?);
                Ok(asked.$call(commit).await?)
            }
            On::Postgres(pool) => {
                let asked = sqlx::$make::<Postgres $(, $generic)*, _>($self.postgres, arguments::<Postgres>($self.values)?);
                in_time(asked.$call(pool)).await
            }
            On::InPostgres(commit) => {
                let asked = sqlx::$make::<Postgres $(, $generic)*, _>($self.postgres, arguments::<Postgres>($self.values)?);
                in_time(asked.$call(commit)).await
            }
        }
    };
}

impl Query {
    /// Another text for PostgreSQL.
    pub(super) fn in_postgres(mut self, sql: &'static str) -> Self {
        self.postgres = sql;
        self
    }

    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Runs it, and says how many rows it has changed.
    pub(super) async fn run<'a>(self, on: impl Into<On<'a>>) -> Result<u64, LinksError> {
        match on.into() {
            On::Sqlite(pool) => {
                let asked =
                    sqlx::query_with::<Sqlite, _>(self.sqlite, arguments::<Sqlite>(self.values)?);
                Ok(asked.execute(pool).await?.rows_affected())
            }
            On::InSqlite(commit) => {
                let asked =
                    sqlx::query_with::<Sqlite, _>(self.sqlite, arguments::<Sqlite>(self.values)?);
                Ok(asked.execute(commit).await?.rows_affected())
            }
            On::Postgres(pool) => {
                let asked = sqlx::query_with::<Postgres, _>(
                    self.postgres,
                    arguments::<Postgres>(self.values)?,
                );
                Ok(in_time(asked.execute(pool)).await?.rows_affected())
            }
            On::InPostgres(commit) => {
                let asked = sqlx::query_with::<Postgres, _>(
                    self.postgres,
                    arguments::<Postgres>(self.values)?,
                );
                Ok(in_time(asked.execute(commit)).await?.rows_affected())
            }
        }
    }

    /// All rows.
    pub(super) async fn all<'a, T: Read>(
        self,
        on: impl Into<On<'a>>,
    ) -> Result<Vec<T>, LinksError> {
        ask!(self, on, query_as_with, <T>, fetch_all)
    }

    /// The first row, where there is one.
    pub(super) async fn first<'a, T: Read>(
        self,
        on: impl Into<On<'a>>,
    ) -> Result<Option<T>, LinksError> {
        ask!(self, on, query_as_with, <T>, fetch_optional)
    }

    /// The only column of all rows.
    pub(super) async fn all_values<'a, T>(self, on: impl Into<On<'a>>) -> Result<Vec<T>, LinksError>
    where
        (T,): Read,
    {
        let rows = self.all::<(T,)>(on).await?;
        Ok(rows.into_iter().map(|(value,)| value).collect())
    }

    /// The only column of the first row, where there is one.
    pub(super) async fn first_value<'a, T>(
        self,
        on: impl Into<On<'a>>,
    ) -> Result<Option<T>, LinksError>
    where
        (T,): Read,
    {
        Ok(self.first::<(T,)>(on).await?.map(|(value,)| value))
    }

    /// The only column of the row that is there in any case.
    pub(super) async fn one_value<'a, T>(self, on: impl Into<On<'a>>) -> Result<T, LinksError>
    where
        (T,): Read,
    {
        let value = self.first_value(on).await?;
        Ok(value.ok_or(sqlx::Error::RowNotFound)?)
    }
}

pub(super) fn arguments<D: Database>(values: Vec<Value>) -> Result<D::Arguments, LinksError>
where
    Option<String>: for<'q> Encode<'q, D> + Type<D>,
    Option<i64>: for<'q> Encode<'q, D> + Type<D>,
    bool: for<'q> Encode<'q, D> + Type<D>,
{
    let mut arguments = D::Arguments::default();
    for value in values {
        let added = match value {
            Value::Text(text) => {
                arguments.add(text.map(|text| without_nul(text.into()).into_owned()))
            }
            Value::Number(number) => arguments.add(number),
            Value::Truth(truth) => arguments.add(truth),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

/// PostgreSQL refuses NUL in texts, and no id that a server gives has it. What a stranger put into one (a pseudonym, say)
/// must not hold up a room for ever.
fn without_nul(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}").into()
    } else {
        text
    }
}

/// Gives up in time.
pub(super) async fn in_time<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<T, LinksError>
where
    LinksError: From<E>,
{
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into()).into()),
    }
}
