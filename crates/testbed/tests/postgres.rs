//! A real PostgreSQL: quickly there, a database for each test, gone and back with all that it had.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Executor as _};
use testbed::{Database, Fsync, Postgres};

async fn connect(database: &Database) -> anyhow::Result<PgConnection> {
    let options: PgConnectOptions = database.url().parse()?;
    Ok(options.connect().await?)
}

async fn setting(client: &mut PgConnection, name: &str) -> anyhow::Result<String> {
    let value = sqlx::query_scalar("SELECT current_setting($1)").bind(name);
    Ok(value.fetch_one(client).await?)
}

/// The SQLSTATE of an error that the database made.
fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

#[tokio::test]
async fn each_test_has_a_database_of_its_own_and_no_more_rights_than_that() -> anyhow::Result<()> {
    let postgres = Postgres::shared().await?;
    let (one, other) = (postgres.database().await?, postgres.database().await?);
    let (mut first, mut second) = (connect(&one).await?, connect(&other).await?);
    first.execute("CREATE TABLE t (n bigint)").await?;
    second.execute("CREATE TABLE t (n bigint)").await?;

    assert_eq!(setting(&mut first, "fsync").await?, "off");
    assert_eq!(setting(&mut first, "is_superuser").await?, "off");
    let superuser = first.execute("CREATE ROLE somebody").await.unwrap_err();
    assert_eq!(code(&superuser).as_deref(), Some("42501"));
    let password = one.url().split([':', '@']).nth(2).unwrap();
    assert!(!format!("{one:?} {postgres:?}").contains(password));
    let wrong: PgConnectOptions = one.url().replace(password, "guess").parse()?;
    let refused = wrong.connect().await.unwrap_err();
    assert_eq!(code(&refused).as_deref(), Some("28P01"));
    Ok(())
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_stop_and_after_a_kill() -> anyhow::Result<()> {
    let postgres = Postgres::start(Fsync::On).await?;
    let database = postgres.database().await?;
    let mut client = connect(&database).await?;
    assert_eq!(setting(&mut client, "fsync").await?, "on");
    client.execute("CREATE TABLE t (n bigint)").await?;

    for round in 0..6_i64 {
        client
            .execute(sqlx::query("INSERT INTO t VALUES ($1)").bind(round))
            .await?;
        if round % 2 == 0 {
            postgres.kill().await?;
        } else {
            postgres.stop().await?;
        }
        assert!(client.execute("SELECT 1").await.is_err());
        assert!(connect(&database).await.is_err());

        postgres.start_again().await?;
        client = connect(&database).await?;
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM t")
            .fetch_one(&mut client)
            .await?;
        assert_eq!(count, round + 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_database_can_be_gone_and_back_while_its_server_serves_others() -> anyhow::Result<()> {
    let postgres = Postgres::shared().await?;
    let database = postgres.database().await?;
    let mut client = connect(&database).await?;
    let mut bystander = connect(&postgres.database().await?).await?;

    database.cut().await?;
    assert!(client.execute("SELECT 1").await.is_err());
    assert!(connect(&database).await.is_err());
    bystander.execute("SELECT 1").await?;

    database.restore().await?;
    connect(&database).await?.execute("SELECT 1").await?;
    Ok(())
}

#[tokio::test]
async fn a_full_disk_refuses_what_is_written_and_shows_what_is_there() -> anyhow::Result<()> {
    let database = Postgres::shared().await?.database().await?;
    let mut client = connect(&database).await?;
    client
        .execute("CREATE TABLE t (n bigint); INSERT INTO t VALUES (1)")
        .await?;

    database.fill().await?;
    for write in ["INSERT INTO t VALUES (2)", "UPDATE t SET n = 2"] {
        let full = client.execute(write).await.unwrap_err();
        assert_eq!(code(&full).as_deref(), Some("53100"), "{write}");
    }
    let n: i64 = sqlx::query_scalar("SELECT n FROM t")
        .fetch_one(&mut client)
        .await?;
    assert_eq!(n, 1);

    database.make_room().await?;
    client.execute("INSERT INTO t VALUES (2)").await?;
    Ok(())
}

#[tokio::test]
#[ignore = "run by the next test, which kills it"]
async fn helper_that_starts_a_server_and_waits() -> anyhow::Result<()> {
    let postgres = Postgres::start(Fsync::Off).await?;
    let url = postgres.database().await?.url().to_owned();
    writeln!(std::io::stdout(), "\nurl {url}")?;
    std::future::pending().await
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_server_ends_with_a_test_that_was_killed() -> anyhow::Result<()> {
    let mut helper = Command::new(std::env::current_exe()?)
        .args(["--ignored", "--exact", "--nocapture"])
        .arg("helper_that_starts_a_server_and_waits")
        .stdout(Stdio::piped())
        .spawn()?;
    let said = BufReader::new(helper.stdout.take().context("no pipe")?);
    let url = said
        .lines()
        .find_map(|line| Some(line.ok()?.strip_prefix("url ")?.to_owned()))
        .context("it did not start")?;
    let options: PgConnectOptions = url.parse()?;
    let mut client = options.connect().await?;

    helper.kill()?;
    helper.wait()?;

    // It is the server that ends this, long before the time is over.
    let ended = client.execute("SELECT pg_sleep(600)");
    let ended = tokio::time::timeout(Duration::from_mins(1), ended).await?;
    assert!(ended.is_err());
    Ok(())
}
