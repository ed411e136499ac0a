//! A process that is killed at any moment and started again loses nothing, and repeats only what it
//! had not marked as done.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that can't go on fails, and says by which numbers"
)]

mod common;

use std::{
    collections::{HashMap, HashSet},
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::SystemTime,
};

use common::{
    HS_TOKEN, Running,
    generator::{Dice, Queue, assert_in_order, number, room},
    registration, server,
};
use matrix_appservice::{AppService, Journal};
use serde_json::json;
use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};
use testbed::Postgres;
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;

/// Tells this program that it is the child, and where to work.
const FOLDER: &str = "KILL_TEST_FOLDER";
const JOURNAL: &str = "KILL_TEST_JOURNAL";
const KILLS: usize = 12;

fn log_path(folder: &Path) -> PathBuf {
    folder.join("handled")
}

/// An application service that writes down which events it has handled.
async fn service(folder: &Path, journal: &str) -> AppService {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log_path(folder))
        .unwrap();
    let log = std::sync::Arc::new(log);
    AppService::builder(
        registration(),
        server(),
        "http://127.0.0.1:9".parse().unwrap(),
        Journal::open(journal).await.unwrap(),
    )
    .on_event(move |_, event| {
        let log = log.clone();
        async move {
            tokio::task::yield_now().await;
            let line = format!("{}\n", event.event_id());
            let mut log: &File = &log;
            log.write_all(line.as_bytes())?;
            Ok(())
        }
    })
    .build()
    .unwrap()
}

/// Not a test by itself: what the other test starts and kills.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let journal = std::env::var(JOURNAL).unwrap();
    Runtime::new().unwrap().block_on(async {
        let service = service(Path::new(&folder), &journal).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        writeln!(std::io::stdout(), "\nlistens on {address}").unwrap();
        let router = service.router();
        service
            .run(listener, router, CancellationToken::new())
            .await
            .unwrap();
    });
}

/// The child process; killed when dropped.
struct Process {
    child: Child,
    url: String,
}

impl Process {
    fn start(folder: &Path, journal: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture"])
            .env(FOLDER, folder)
            .env(JOURNAL, journal)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let address = stdout
            .lines()
            .find_map(|line| Some(line.unwrap().strip_prefix("listens on ")?.to_owned()))
            .unwrap();
        Self {
            child,
            url: format!("http://{address}/_matrix/app/v1/transactions"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL on Unix.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn push(queue: &mut Queue, http: &reqwest::Client, url: &str) -> bool {
    let body = json!({"events": queue.next()});
    let answer = http
        .put(format!("{url}/{}", queue.txn_id))
        .bearer_auth(HS_TOKEN)
        .json(&body)
        .send()
        .await;
    let acknowledged = answer.is_ok_and(|answer| answer.status().is_success());
    if acknowledged {
        queue.acknowledge();
    }
    acknowledged
}

async fn yield_often(times: u64) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

fn handled(folder: &Path) -> Vec<String> {
    std::fs::read_to_string(log_path(folder))
        .unwrap_or_default()
        .lines()
        .map(ToOwned::to_owned)
        .collect()
}

/// The events that are remembered and neither wait nor are dead.
async fn marked_as_done(journal: &str, made: &[String]) -> HashSet<String> {
    let mut seen = strings(journal, "SELECT key FROM seen").await;
    if !journal.starts_with("postgres://") {
        // Those that are not in their place yet: of 22 bytes each.
        for keys in strings(journal, "SELECT keys FROM settled").await {
            seen.extend(
                keys.as_bytes()
                    .chunks(22)
                    .map(|key| String::from_utf8(key.to_vec()).unwrap()),
            );
        }
    }
    let open = strings(journal, "SELECT key FROM entry").await;
    made.iter()
        .filter(|event_id| seen.contains(&seen_key(event_id)) && !open.contains(*event_id))
        .cloned()
        .collect()
}

async fn strings(journal: &str, sql: &'static str) -> HashSet<String> {
    let strings: Vec<String> = if journal.starts_with("postgres://") {
        let options: PgConnectOptions = journal.parse().unwrap();
        let options = options.options([("search_path", "matrix_appservice")]);
        let mut database = options.connect().await.unwrap();
        let query = sqlx::query_scalar(sql);
        query.fetch_all(&mut database).await.unwrap()
    } else {
        let database = rusqlite::Connection::open(journal).unwrap();
        let mut found = database.prepare(sql).unwrap();
        let strings = found.query_map([], |row| {
            let bytes = row.get_ref(0)?.as_bytes()?;
            Ok(String::from_utf8(bytes.to_vec()).unwrap())
        });
        strings.unwrap().collect::<Result<_, _>>().unwrap()
    };
    strings.into_iter().collect()
}

/// What the journal remembers an event by.
fn seen_key(event_id: &str) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for part in ["", "matrix", event_id] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..16])
}

/// One life of the process: what it handled, and what had been marked as done before.
struct Life {
    handled: Vec<String>,
    done_before: HashSet<String>,
}

#[tokio::test]
async fn a_process_that_is_killed_at_any_moment_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.db");
    kill_again_and_again(folder.path(), journal.to_str().unwrap()).await;
}

#[tokio::test]
async fn a_process_on_postgres_that_is_killed_at_any_moment_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let database = Postgres::shared().await.unwrap().database().await.unwrap();
    kill_again_and_again(folder.path(), database.url()).await;
}

async fn kill_again_and_again(folder: &Path, journal: &str) {
    let seed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .subsec_nanos();
    println!("seed {seed}");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .build()
        .unwrap();
    let mut queue = Queue::new(Dice(u64::from(seed) + 1));
    let mut lives = Vec::new();
    let mut done_before = HashSet::new();
    let mut logged = 0;
    for _ in 0..KILLS {
        let process = Process::start(folder, journal);
        if queue.dice.below(3) == 0 {
            // Homeservers on SQLite begin again at 1.
            queue.txn_id = 0;
        }
        for _ in 0..queue.dice.below(40) {
            assert!(push(&mut queue, &http, &process.url).await);
        }
        // The last push may be cut off anywhere.
        let patience = queue.dice.below(2000);
        tokio::select! {
            biased;
            _ = push(&mut queue, &http, &process.url) => {}
            () = yield_often(patience) => {}
        }
        drop(process);
        let log = handled(folder);
        lives.push(Life {
            handled: log[logged..].to_vec(),
            done_before,
        });
        logged = log.len();
        done_before = marked_as_done(journal, &log).await;
    }

    // The last life is a quiet one.
    let service = Running::start(service(folder, journal).await).await;
    let body = json!({"events": queue.current}).to_string();
    let last = common::request("PUT", "/_matrix/app/v1/transactions/1", body);
    assert!(
        common::call(&service.router, last)
            .await
            .status
            .is_success()
    );
    service.idle().await;
    let stats = service.stop().await.stats().await.unwrap();
    lives.push(Life {
        handled: handled(folder)[logged..].to_vec(),
        done_before,
    });

    let all: HashSet<_> = lives.iter().flat_map(|life| &life.handled).collect();
    for event_id in &queue.acknowledged {
        assert!(all.contains(event_id), "{event_id} is lost");
    }
    assert_eq!(all.len(), queue.made);
    assert_eq!(
        (stats.done, stats.waiting, stats.dead),
        (queue.made as u64, 0, 0)
    );
    assert!(!lives[KILLS].done_before.is_empty(), "nothing was marked");
    for (index, life) in lives.iter().enumerate() {
        let mut last: HashMap<&str, usize> = HashMap::new();
        for event_id in &life.handled {
            assert!(
                !life.done_before.contains(event_id),
                "{event_id} was done and is repeated"
            );
            let (room, number) = (room(event_id), number(event_id));
            let before = last.insert(room, number).unwrap_or_default();
            assert!(
                before < number,
                "{room}: {before}, {number} in life {index}"
            );
        }
    }
    assert_in_order(lives.iter().flat_map(|life| &life.handled));
    let (made, acknowledged) = (queue.made, queue.acknowledged.len());
    let again = lives.iter().map(|life| life.handled.len()).sum::<usize>() - made;
    println!("{made} events, {acknowledged} acknowledged, {again} handled again");
}
