//! What the tables promise, in SQLite and in PostgreSQL.

mod about;
mod linked;
mod listing;
mod messages;
mod network;
mod opening;
mod reading;
mod upgraded;

use fhir::ResourceRef;
use matrix_appservice::ruma::{OwnedEventId, OwnedRoomId, RoomId};
use sqlx::postgres::PgConnectOptions;
use testbed::{Database, Postgres};

use super::{Links, Schema};

pub(super) async fn database() -> Database {
    Postgres::shared().await.unwrap().database().await.unwrap()
}

pub(super) fn schema(database: &Database) -> Schema {
    let options: PgConnectOptions = database.url().parse().unwrap();
    Schema::new(options, "fhir_bridge".to_owned())
}

/// Does the same with tables in SQLite and in PostgreSQL.
async fn on_each(test: impl AsyncFn(Links)) {
    let folder = tempfile::tempdir().unwrap();
    test(Links::open(&folder.path().join("links.db")).await.unwrap()).await;
    let database = database().await;
    test(Links::connect(&schema(&database)).await.unwrap()).await;
}

fn thread(id: u32) -> ResourceRef {
    reference(&format!("CommunicationRequest/{id}"))
}

fn reference(text: &str) -> ResourceRef {
    ResourceRef::parse(text).unwrap()
}

fn room(name: &str) -> OwnedRoomId {
    RoomId::parse(format!("!{name}:x")).unwrap()
}

fn event(name: &str) -> OwnedEventId {
    format!("${name}").try_into().unwrap()
}
