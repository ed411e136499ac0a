//! Faults that a test asks for.

use super::SqliteStore;

impl SqliteStore {
    /// What a query for a number says.
    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        self.move_all().await.unwrap();
        self.read(&self.aside, |connection| {
            Ok(connection.query_row(sql, [], |row| row.get(0))?)
        })
        .await
        .unwrap()
    }

    async fn set(&self, sql: &'static str) {
        self.writer
            .run(|writer| {
                let connection = writer.relaxed()?;
                Ok(connection.execute_batch(sql)?)
            })
            .await
            .unwrap();
    }

    /// The disk is full: the file can't grow any more.
    pub(crate) async fn set_full(&self, full: bool) {
        self.set(if full {
            "PRAGMA max_page_count = 1"
        } else {
            "PRAGMA max_page_count = 1073741823"
        })
        .await;
    }

    /// Each write fails.
    pub(crate) async fn set_unwritable(&self, unwritable: bool) {
        self.set(if unwritable {
            "PRAGMA query_only = 1"
        } else {
            "PRAGMA query_only = 0"
        })
        .await;
    }

    /// Each read of entries fails, and each look at keys.
    pub(crate) async fn set_unreadable(&self, unreadable: bool) {
        self.settled.filter.give_up();
        let renames = if unreadable {
            [
                "ALTER TABLE entry RENAME TO away",
                "ALTER TABLE seen RENAME TO unseen",
            ]
        } else {
            [
                "ALTER TABLE away RENAME TO entry",
                "ALTER TABLE unseen RENAME TO seen",
            ]
        };
        for rename in renames {
            self.set(rename).await;
        }
    }
}
