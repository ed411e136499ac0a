//! A file that is there in full before the first transaction comes: a write and one `fdatasync` each. What the
//! disk allows to anybody.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    sync::mpsc,
    thread,
};

use anyhow::Result;
use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::put};
use tokio::sync::oneshot;

use crate::{control::Control, events};

type Record = (Bytes, oneshot::Sender<io::Result<()>>);

const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

pub(crate) fn router(control: Control) -> Result<Router> {
    let segment = zeroed()?;
    let (records, taken) = mpsc::channel();
    thread::spawn(move || write(&segment, taken));
    Ok(crate::transactions(put(take)).with_state((control, records)))
}

/// Blocks that were never written have to be entered in the file system when they are: written ahead, only the
/// data is left to sync.
fn zeroed() -> io::Result<File> {
    let mut file = File::create("segment")?;
    let zeros = vec![0; 1024 * 1024];
    for _ in 0..SEGMENT_BYTES / (1024 * 1024) {
        file.write_all(&zeros)?;
    }
    file.sync_all()?;
    Ok(file)
}

fn write(segment: &File, records: mpsc::Receiver<Record>) {
    let mut at = 0;
    for (body, done) in records {
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        if at + length > SEGMENT_BYTES {
            at = 0;
        }
        let written = segment
            .write_all_at(&body, at)
            .and_then(|()| segment.sync_data());
        at += length;
        let _ = done.send(written);
    }
}

async fn take(
    State((control, records)): State<(Control, mpsc::Sender<Record>)>,
    body: Bytes,
) -> Result<&'static str, StatusCode> {
    let (done, synced) = oneshot::channel();
    let failed = StatusCode::INTERNAL_SERVER_ERROR;
    records.send((body.clone(), done)).map_err(|_| failed)?;
    let heads = events::heads(&body);
    match synced.await {
        Ok(Ok(())) => {
            control.count(heads.len());
            Ok("{}")
        }
        _ => Err(failed),
    }
}
