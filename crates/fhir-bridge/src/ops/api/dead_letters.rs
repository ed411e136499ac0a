//! `GET /api/v1/dead-letters`, `GET /api/v1/dead-letters/{id}`, `POST /api/v1/dead-letters/{id}/retry` and `…/skip`
//!
//! What nobody could handle, without what it holds: that is what somebody wrote.

use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
};
use matrix_appservice::Journal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ApiError, time};
use crate::ops::desk::Desk;

/// Which of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// Those behind this id.
    #[serde(default)]
    after: i64,
    #[serde(default = "fifty")]
    limit: u32,
}

fn fifty() -> u32 {
    50
}

/// A dead letter, without what it holds.
#[derive(Debug, Serialize)]
pub(in crate::ops) struct DeadLetter {
    pub(in crate::ops) id: i64,
    /// Where it came from: `matrix`, `fhir`, …
    pub(in crate::ops) source: String,
    /// An event's id, or a resource with its version.
    pub(in crate::ops) key: Option<String>,
    pub(in crate::ops) lane: String,
    pub(in crate::ops) attempts: u32,
    pub(in crate::ops) received_at: String,
    /// The class of the last failure.
    pub(in crate::ops) error: String,
}

impl From<matrix_appservice::DeadLetter> for DeadLetter {
    fn from(letter: matrix_appservice::DeadLetter) -> Self {
        Self {
            id: letter.id,
            source: letter.source,
            key: letter.key,
            lane: letter.lane,
            attempts: letter.attempts,
            received_at: time(letter.received_at),
            error: letter.error,
        }
    }
}

/// Some of them.
#[derive(Debug, Serialize)]
pub(in crate::ops) struct DeadLetters {
    pub(in crate::ops) dead_letters: Vec<DeadLetter>,
    /// What to give as `after` for those behind them.
    pub(in crate::ops) next: Option<i64>,
}

pub(in crate::ops) async fn read(
    journal: &Journal,
    after: i64,
    limit: u32,
) -> Result<DeadLetters, ApiError> {
    let limit = limit.clamp(1, 500);
    // One more shows whether there are more.
    let mut found = journal.dead_letters(after, limit + 1).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().map(|last| last.id).filter(|_| more);
    Ok(DeadLetters {
        dead_letters: found.into_iter().map(DeadLetter::from).collect(),
        next,
    })
}

/// What is done with a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ops) enum Verdict {
    /// It waits again, at the end of its lane.
    Retry,
    /// It is given up, and what it holds is erased.
    Skip,
}

impl Verdict {
    pub(in crate::ops) fn done(self) -> &'static str {
        match self {
            Self::Retry => "retried",
            Self::Skip => "skipped",
        }
    }
}

pub(in crate::ops) async fn settle(
    journal: &Journal,
    id: i64,
    verdict: Verdict,
) -> Result<(), ApiError> {
    let was_there = match verdict {
        Verdict::Retry => journal.retry_dead_letter(id).await?,
        Verdict::Skip => journal.skip_dead_letter(id).await?,
    };
    if !was_there {
        return Err(ApiError::NoDeadLetter);
    }
    tracing::info!(
        entry = id,
        "an operator has {} a dead letter",
        verdict.done()
    );
    Ok(())
}

pub(super) async fn list(
    State(desk): State<Desk>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<DeadLetters>, ApiError> {
    let Query(page) = page.map_err(|_| ApiError::Query)?;
    Ok(Json(read(&desk.journal, page.after, page.limit).await?))
}

pub(super) async fn get(
    State(desk): State<Desk>,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Json<DeadLetter>, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::NoDeadLetter)?;
    let found = desk.journal.dead_letter(id).await?;
    let (letter, _) = found.ok_or(ApiError::NoDeadLetter)?;
    Ok(Json(letter.into()))
}

pub(super) async fn retry(
    state: State<Desk>,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    post(state, id, Verdict::Retry).await
}

pub(super) async fn skip(
    state: State<Desk>,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    post(state, id, Verdict::Skip).await
}

async fn post(
    State(desk): State<Desk>,
    id: Result<Path<i64>, PathRejection>,
    verdict: Verdict,
) -> Result<Json<Value>, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::NoDeadLetter)?;
    settle(&desk.journal, id, verdict).await?;
    Ok(Json(json!({"id": id, "done": verdict.done()})))
}
