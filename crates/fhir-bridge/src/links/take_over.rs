//! The tables move from a SQLite file into PostgreSQL.

use std::{fmt::Write as _, path::Path};

use sqlx::{
    AssertSqlSafe, Postgres, Row as _, Sqlite, SqlitePool, Transaction, postgres::PgArguments,
    sqlite::SqliteRow,
};

use super::{
    Links, LinksError,
    columns::{Holds, TABLES},
    tables::{Commit, Tables, Value, arguments, in_time, query},
};

/// Numbers that PostgreSQL gives by itself: the next one is above all that were taken over.
const NUMBERED: [&str; 2] = [
    "SELECT setval(pg_get_serial_sequence('message', 'seq'), greatest(max(seq), 1)) FROM message",
    "SELECT setval(pg_get_serial_sequence('edit', 'rowid'), greatest(max(rowid), 1)) FROM edit",
];

impl Links {
    /// Takes over everything that the tables in a file hold, in one commit, into tables of PostgreSQL that are empty. The
    /// file is brought to this version and else left as it is. Nobody may work with either meanwhile.
    pub(crate) async fn take_over(&self, file: &Path) -> Result<(), LinksError> {
        let Tables::Sqlite(from) = Self::open(file).await?.tables else {
            return Ok(());
        };
        let commit = self.tables.begin().await?;
        let Commit::Postgres(mut commit) = commit else {
            return Ok(());
        };
        for (table, columns) in TABLES {
            copy(&from, &mut commit, table, columns).await?;
        }
        let mut commit = Commit::Postgres(commit);
        for sql in NUMBERED {
            let _: Option<i64> = query(sql).one_value(&mut commit).await?;
        }
        commit.end().await?;
        from.close().await;
        Ok(())
    }
}

async fn copy(
    from: &SqlitePool,
    commit: &mut Transaction<'static, Postgres>,
    table: &str,
    columns: &[(&str, Holds)],
) -> Result<(), LinksError> {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let names = names.join(", ");
    let mut places = String::new();
    for number in 1..=columns.len() {
        let _ = write!(places, "{}${number}", if number == 1 { "" } else { ", " });
    }
    let insert = format!("INSERT INTO {table} ({names}) VALUES ({places})");
    // The names are those above.
    let select = AssertSqlSafe(format!("SELECT {names} FROM {table}"));
    let rows: Vec<SqliteRow> = sqlx::query::<Sqlite>(select).fetch_all(from).await?;
    for row in rows {
        let values: Result<Vec<Value>, sqlx::Error> = columns
            .iter()
            .enumerate()
            .map(|(index, (_, holds))| {
                Ok(match holds {
                    Holds::Text => Value::Text(row.try_get(index)?),
                    Holds::Number => Value::Number(row.try_get(index)?),
                    Holds::Truth => Value::Truth(row.try_get(index)?),
                })
            })
            .collect();
        let values: PgArguments = arguments::<Postgres>(values?)?;
        let insert = sqlx::query_with(AssertSqlSafe(insert.clone()), values);
        in_time(insert.execute(&mut **commit)).await?;
    }
    Ok(())
}
