//! What a homeserver's own database holds: the last word on whether a message is there, and how often.

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use crate::homeserver::Homeserver;
use crate::testbed::Testbed;

/// SQLite is in Python's standard library; the database is opened for reading only, beside the running server.
const COUNT: &str = "
import sqlite3, sys
database = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True, timeout=30)
rows = database.execute(
    'SELECT count(*) FROM events WHERE room_id = ? AND type = ? AND NOT outlier', (sys.argv[2], 'm.room.message'))
print(rows.fetchone()[0])
";

/// How many messages of a room are in a homeserver's database.
pub(super) async fn messages(
    testbed: &Testbed,
    homeserver: &Homeserver,
    room: &str,
) -> Result<usize> {
    let output = Command::new(&testbed.venv)
        .args(["-I", "-c", COUNT])
        .arg(homeserver.folder().join("homeserver.db"))
        .arg(room)
        .output()
        .await
        .context("cannot start Python")?;
    ensure!(
        output.status.success(),
        "the database of {} cannot be read: {}",
        homeserver.server_name(),
        String::from_utf8_lossy(&output.stderr)
    );
    let count = String::from_utf8_lossy(&output.stdout);
    count.trim().parse().context("the count is no number")
}
