//! A process that is killed at any moment and started again loses nothing, and repeats only what it
//! had not marked as done.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on fails"
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

use common::{HS_TOKEN, Running, message, registration, server};
use matrix_appservice::{AppService, Journal};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;

/// Tells this program that it is the child, and where to work.
const FOLDER: &str = "KILL_TEST_FOLDER";
const ROOMS: [&str; 4] = ["!a", "!b", "!c", "!d"];
const KILLS: usize = 12;

fn log_path(folder: &Path) -> PathBuf {
    folder.join("handled")
}

fn journal_path(folder: &Path) -> PathBuf {
    folder.join("journal.db")
}

/// An application service that writes down which events it has handled.
async fn service(folder: &Path) -> AppService {
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
        Journal::open(journal_path(folder)).await.unwrap(),
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
    Runtime::new().unwrap().block_on(async {
        let service = service(Path::new(&folder)).await;
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
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture"])
            .env(FOLDER, folder)
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

/// Random numbers that a failed run can be asked for again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A homeserver's queue of transactions, oldest first.
struct Queue {
    dice: Dice,
    made: usize,
    /// The transaction in flight: pushed again until it is acknowledged.
    current: Vec<Value>,
    acknowledged: Vec<String>,
    txn_id: u64,
}

impl Queue {
    fn make(&mut self) {
        for _ in 0..=self.dice.below(4) {
            let room = ROOMS[usize::try_from(self.dice.below(4)).unwrap()];
            self.made += 1;
            let id = format!("${}-{room}", self.made);
            self.current.push(message(&id, room, "@arts:hs.test", "x"));
        }
        self.txn_id += 1;
    }

    async fn push(&mut self, http: &reqwest::Client, url: &str) -> bool {
        if self.current.is_empty() {
            self.make();
        }
        let answer = http
            .put(format!("{url}/{}", self.txn_id))
            .bearer_auth(HS_TOKEN)
            .json(&json!({"events": self.current}))
            .send()
            .await;
        let acknowledged = answer.is_ok_and(|answer| answer.status().is_success());
        if acknowledged {
            self.acknowledged.extend(
                self.current
                    .drain(..)
                    .map(|event| event["event_id"].as_str().unwrap().to_owned()),
            );
        }
        acknowledged
    }
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
async fn marked_as_done(folder: &Path, made: &[String]) -> HashSet<String> {
    let url = format!("sqlite://{}", journal_path(folder).display());
    let database = sqlx::SqlitePool::connect(&url).await.unwrap();
    let seen: HashSet<String> = sqlx::query_scalar("SELECT key FROM seen")
        .fetch_all(&database)
        .await
        .unwrap()
        .into_iter()
        .collect();
    let open: HashSet<String> = sqlx::query_scalar("SELECT key FROM entry")
        .fetch_all(&database)
        .await
        .unwrap()
        .into_iter()
        .collect();
    database.close().await;
    made.iter()
        .filter(|event_id| seen.contains(&seen_key(event_id)) && !open.contains(*event_id))
        .cloned()
        .collect()
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

fn number(event_id: &str) -> usize {
    event_id[1..].split('-').next().unwrap().parse().unwrap()
}

fn room(event_id: &str) -> &str {
    event_id.split_once('-').unwrap().1
}

/// One life of the process: what it handled, and what had been marked as done before.
struct Life {
    handled: Vec<String>,
    done_before: HashSet<String>,
}

#[tokio::test]
async fn a_process_that_is_killed_at_any_moment_loses_nothing() {
    let seed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .subsec_nanos();
    println!("seed {seed}");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .build()
        .unwrap();
    let mut queue = Queue {
        dice: Dice(u64::from(seed) + 1),
        made: 0,
        current: Vec::new(),
        acknowledged: Vec::new(),
        txn_id: 0,
    };
    let mut lives = Vec::new();
    let mut done_before = HashSet::new();
    let mut logged = 0;
    for _ in 0..KILLS {
        let process = Process::start(folder);
        if queue.dice.below(3) == 0 {
            // Homeservers on SQLite begin again at 1.
            queue.txn_id = 0;
        }
        for _ in 0..queue.dice.below(40) {
            assert!(queue.push(&http, &process.url).await);
        }
        // The last push may be cut off anywhere.
        let patience = queue.dice.below(2000);
        tokio::select! {
            biased;
            _ = queue.push(&http, &process.url) => {}
            () = yield_often(patience) => {}
        }
        drop(process);
        let log = handled(folder);
        lives.push(Life {
            handled: log[logged..].to_vec(),
            done_before,
        });
        logged = log.len();
        done_before = marked_as_done(folder, &log).await;
    }

    // The last life is a quiet one.
    let service = Running::start(service(folder).await).await;
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
    // What is handled for the first time comes in order, over all lives.
    let mut met = HashSet::new();
    let mut newest: HashMap<&str, usize> = HashMap::new();
    for event_id in lives.iter().flat_map(|life| &life.handled) {
        if met.insert(event_id) {
            let newest = newest.entry(room(event_id)).or_default();
            assert!(*newest < number(event_id), "{event_id} is out of order");
            *newest = number(event_id);
        }
    }
    let (made, acknowledged) = (queue.made, queue.acknowledged.len());
    let again = lives.iter().map(|life| life.handled.len()).sum::<usize>() - made;
    println!("{made} events, {acknowledged} acknowledged, {again} handled again");
}
