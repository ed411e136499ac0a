//! The floor: the body as one row in a commit of its own, full sync, answered behind the commit.
//!
//! As cheap as SQLite gets: one thread that owns the connection, one prepared statement, checkpoints by
//! another connection. No retry, no deduplication, no lanes.

use std::{sync::mpsc, thread, time::Duration};

use anyhow::Result;
use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::put};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::{control::Control, events};

type Row = (Bytes, oneshot::Sender<rusqlite::Result<usize>>);

/// A write-ahead log is at its longest what is written in this time.
const CHECKPOINTS: Duration = Duration::from_millis(250);

pub(crate) fn router(control: Control) -> Result<Router> {
    let (rows, taken) = mpsc::channel();
    let writer = open()?;
    writer
        .execute_batch("CREATE TABLE inbox (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT")?;
    let checkpointer = open()?;
    thread::spawn(move || write(&writer, taken));
    thread::spawn(move || checkpoint(&checkpointer));
    Ok(crate::transactions(put(take)).with_state((control, rows)))
}

fn open() -> Result<Connection> {
    let connection = Connection::open("floor.db")?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0",
    )?;
    Ok(connection)
}

fn write(connection: &Connection, rows: mpsc::Receiver<Row>) -> rusqlite::Result<()> {
    let mut insert = connection.prepare("INSERT INTO inbox (body) VALUES (?)")?;
    for (body, done) in rows {
        let _ = done.send(insert.execute([&body[..]]));
    }
    Ok(())
}

fn checkpoint(connection: &Connection) {
    loop {
        thread::sleep(CHECKPOINTS);
        // Busy, or nothing to do: the next one comes soon.
        let _ = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    }
}

async fn take(
    State((control, rows)): State<(Control, mpsc::Sender<Row>)>,
    body: Bytes,
) -> Result<&'static str, StatusCode> {
    let (done, committed) = oneshot::channel();
    let failed = StatusCode::INTERNAL_SERVER_ERROR;
    rows.send((body.clone(), done)).map_err(|_| failed)?;
    // Beside the commit.
    let heads = events::heads(&body);
    match committed.await {
        Ok(Ok(_)) => {
            for event in &heads {
                control.handle(event);
            }
            Ok("{}")
        }
        _ => Err(failed),
    }
}
