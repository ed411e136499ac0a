//! What the tables hold about somebody or something, row by row.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};
use sqlx::{AssertSqlSafe, ColumnIndex, Decode, FromRow, Row, Type};

use super::{
    Links, LinksError,
    columns::{Holds, TABLES},
    tables::{Read, Tables, in_time, query},
};

/// Columns that are no ids and are of no use to anybody else: hashes with a key of the bridge's own.
const HASHES: [&str; 3] = ["fingerprint", "pending", "proof"];
/// Columns that hold text and no id.
const WORDS: [(&str, &str); 2] = [("message", "state"), ("phase", "phase")];
/// What nobody is told.
const SECRET: &str = "secret";
/// Rows of what waits for a message, by the message.
const OF_MESSAGE: [(&str, &str); 4] = [
    ("event", "resource"),
    ("edit", "resource"),
    ("file", "resource"),
    ("task", "message"),
];

/// Is given a row and the name of its table.
pub(crate) type Tell<'a> = dyn FnMut(&str, Map<String, Json>) -> std::io::Result<()> + Send + 'a;

/// What is asked about, with what belongs to it.
#[derive(Debug, Default)]
pub(crate) struct About {
    /// Ids of resources, rooms, users and events.
    pub(crate) ids: BTreeSet<String>,
    /// Messages in their rooms, which are looked up by themselves.
    messages: BTreeSet<String>,
}

impl About {
    /// Whether an id, or a message of one, is this one.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.ids.contains(id) || self.messages.contains(id)
    }
}

impl Links {
    /// What belongs to these ids: the conversations of a care team, the care teams and conversations in which a client
    /// takes part, their rooms, and the messages and events in those; of an event its message; of an account its person.
    pub(crate) async fn about(&self, ids: &[String]) -> Result<About, LinksError> {
        let mut about = About::default();
        let mut next: Vec<String> = ids.to_vec();
        while let Some(id) = next.pop() {
            if !about.ids.insert(id.clone()) {
                continue;
            }
            let is_team_or_client = ["CareTeam/", "Patient/"].map(|kind| id.starts_with(kind));
            if is_team_or_client.contains(&true) {
                let dependents = query("SELECT resource FROM depends WHERE on_what = $1");
                next.extend(
                    dependents
                        .bind(&id)
                        .all_values::<String>(&self.tables)
                        .await?,
                );
            }
            for sql in [
                "SELECT room_id FROM room WHERE resource = $1",
                "SELECT resource FROM room WHERE room_id = $1",
                "SELECT room_id FROM unlinked WHERE resource = $1",
                "SELECT resource FROM event WHERE event_id = $1",
                "SELECT resource FROM edit WHERE event_id = $1",
                "SELECT event_id FROM event WHERE resource = $1",
                "SELECT resource FROM account WHERE user_id = $1",
                "SELECT user_id FROM account WHERE resource = $1",
                "SELECT user_id FROM identity WHERE person = $1",
            ] {
                next.extend(
                    query(sql)
                        .bind(&id)
                        .all_values::<String>(&self.tables)
                        .await?,
                );
            }
            for sql in [
                "SELECT resource FROM message WHERE room_id = $1",
                "SELECT event_id FROM event WHERE resource IN (SELECT resource FROM message WHERE room_id = $1)",
            ] {
                about.messages.extend(
                    query(sql)
                        .bind(&id)
                        .all_values::<String>(&self.tables)
                        .await?,
                );
            }
        }
        Ok(about)
    }

    /// Gives each row in which one of these ids stands to `tell`, once, with the name of its table. Nothing but ids, times
    /// and states.
    pub(crate) async fn rows_about(
        &self,
        about: &About,
        tell: &mut Tell<'_>,
    ) -> Result<(), ExportError> {
        for (table, columns) in TABLES.iter().filter(|(table, _)| *table != SECRET) {
            let mut told = BTreeSet::new();
            for (column, holds) in *columns {
                if *holds != Holds::Text
                    || HASHES.contains(column)
                    || WORDS.contains(&(table, column))
                {
                    continue;
                }
                let of_message = OF_MESSAGE.contains(&(table, column));
                let messages = of_message.then_some(&about.messages).into_iter().flatten();
                for id in about.ids.iter().chain(messages) {
                    for row in self.rows(table, columns, column, id).await? {
                        if told.insert(Json::Object(row.clone()).to_string()) {
                            tell(table, row)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    async fn rows(
        &self,
        table: &str,
        columns: &'static [(&'static str, Holds)],
        column: &str,
        id: &str,
    ) -> Result<Vec<Map<String, Json>>, LinksError> {
        let shown = || columns.iter().filter(|(name, _)| !HASHES.contains(name));
        let names: Vec<&str> = shown().map(|(name, _)| *name).collect();
        // All names are those of `columns`.
        let sql = format!(
            "SELECT {} FROM {table} WHERE {column} = $1",
            names.join(", ")
        );
        let rows: Vec<Shown> = match &self.tables {
            Tables::Sqlite(pool) => {
                let asked = sqlx::query_as(AssertSqlSafe(sql)).bind(id);
                asked.fetch_all(pool).await?
            }
            Tables::Postgres(pool) => {
                let asked = sqlx::query_as(AssertSqlSafe(sql)).bind(id);
                in_time(asked.fetch_all(pool)).await?
            }
        };
        Ok(rows
            .into_iter()
            .map(|Shown(values)| {
                let pairs = shown().zip(values);
                pairs
                    .filter(|(_, value)| !value.is_null())
                    .map(|((name, holds), value)| {
                        let value = match (holds, value) {
                            // SQLite has numbers for it.
                            (Holds::Truth, Json::Number(number)) => {
                                (number.as_i64() != Some(0)).into()
                            }
                            (_, value) => value,
                        };
                        ((*name).to_owned(), value)
                    })
                    .collect()
            })
            .collect())
    }
}

/// The values of a row, whatever they are.
struct Shown(Vec<Json>);

impl<'r, R: Row> FromRow<'r, R> for Shown
where
    usize: ColumnIndex<R>,
    Option<String>: Decode<'r, R::Database> + Type<R::Database>,
    Option<i64>: Decode<'r, R::Database> + Type<R::Database>,
    Option<bool>: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        let values = (0..row.len()).map(|index| {
            if let Ok(text) = row.try_get::<Option<String>, _>(index) {
                return Ok(text.into());
            }
            if let Ok(number) = row.try_get::<Option<i64>, _>(index) {
                return Ok(number.into());
            }
            row.try_get::<Option<bool>, _>(index).map(Json::from)
        });
        Ok(Self(values.collect::<sqlx::Result<_>>()?))
    }
}

/// Why rows could not be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// The tables failed.
    #[error(transparent)]
    Links(#[from] LinksError),
    /// What they were to be written to failed.
    #[error("the export can't be written")]
    Write(#[from] std::io::Error),
}

const _: fn() = || {
    fn is_read<T: Read>() {}
    is_read::<Shown>();
};
