//! The server's process.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::process::Command;
use tokio::sync::Mutex;

use super::{ADMIN, Access, Fsync, account, children, folder, programs};
use crate::process::{Account, Pipes, Process, Spec};
use crate::runs::Run;
use crate::{install, log_file, poll};

/// How long it may take until it answers: about a second; a loaded machine needs tens.
const START: Duration = Duration::from_mins(2);
/// How long it may take to end when asked.
const STOP: Duration = Duration::from_secs(15);
/// What a server says that comes too soon after one that was killed: that one's last processes are still about.
const TOO_SOON: &str = "is still in use";

/// A server that this process runs.
pub(super) struct Server {
    spec: Spec,
    /// Empty while it is stopped.
    process: Mutex<Option<Process>>,
    /// Given up last.
    run: Run,
}

/// What a server is made of.
pub(super) struct Setup<'a> {
    pub(super) run: Run,
    pub(super) account: Option<Account>,
    pub(super) programs: PathBuf,
    pub(super) python: PathBuf,
    pub(super) access: &'a Access,
    pub(super) fsync: Fsync,
}

impl Server {
    /// Makes the data folder. Nothing runs yet.
    pub(super) async fn create(setup: Setup<'_>) -> Result<Self> {
        let Setup {
            run,
            account,
            programs,
            python,
            access,
            fsync,
        } = setup;
        let log = run.folder.join("postgres.log");
        let home = run.folder.join("server");
        folder::owned(&home, account)?;
        let data = home.join("data");
        let password = home.join("password");
        fs::write(&password, &access.password)
            .with_context(|| format!("cannot write {}", password.display()))?;
        if let Some(Account { uid, gid }) = account {
            std::os::unix::fs::chown(&password, Some(uid), Some(gid))?;
        }
        let mut initdb: Command = programs::command(&programs.join("initdb"), account).into();
        initdb
            .current_dir(&home)
            .args([
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C",
                "--auth=scram-sha-256",
            ])
            .arg(format!("--username={ADMIN}"))
            .arg(joined("--pwfile=", &password))
            .arg(joined("--pgdata=", &data));
        install::run("initdb", initdb, &log).await?;
        fs::remove_file(&password)?;

        let fsync = match fsync {
            Fsync::On => "on",
            Fsync::Off => "off",
        };
        let settings = [
            format!("listen_addresses={}", access.address),
            format!("port={}", access.port),
            // None, because a socket's path may be too long for one.
            "unix_socket_directories=".to_owned(),
            "max_connections=200".to_owned(),
            format!("fsync={fsync}"),
            format!("full_page_writes={fsync}"),
        ];
        let mut command: Vec<OsString> =
            vec![programs.join("postgres").into(), "-D".into(), data.into()];
        command.extend(
            settings
                .into_iter()
                .flat_map(|setting| ["-c".into(), setting.into()]),
        );
        Ok(Self {
            spec: Spec {
                name: "PostgreSQL".to_owned(),
                python,
                command,
                env: Vec::new(),
                folder: home,
                log,
                pipes: Pipes::Closed,
                account,
            },
            process: Mutex::new(None),
            run,
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.run.folder
    }

    /// Starts it and waits until it answers; does nothing when it runs.
    pub(super) async fn start(&self, options: &PgConnectOptions) -> Result<()> {
        let mut process = self.process.lock().await;
        if let Some(running) = &*process
            && running.check().is_ok()
        {
            return Ok(());
        }
        *process = Some(Process::start(&self.spec)?);
        let up = poll::until(START, async || {
            if let Some(Err(error)) = process.as_ref().map(Process::check) {
                if !error.to_string().contains(TOO_SOON) {
                    return Err(error);
                }
                log_file::begin(&self.spec.log)?;
                *process = Some(Process::start(&self.spec)?);
            }
            let Ok(connection) = options.connect().await else {
                return Ok(None);
            };
            connection.close().await?;
            Ok(Some(()))
        });
        up.await?.ok_or_else(|| {
            anyhow!(
                "PostgreSQL does not answer after {START:?}; {}",
                log_file::end_of(&self.spec.log)
            )
        })
    }

    pub(super) async fn stop(&self) {
        if let Some(process) = self.process.lock().await.take() {
            process.stop_by(account::STOP, STOP).await;
        }
    }

    /// Kills it with its children, which would go on with what they are at, and commit it.
    pub(super) async fn kill(&self) {
        if let Some(process) = self.process.lock().await.take() {
            let children = children::of(process.id());
            process.kill().await;
            children::kill(&children).await;
        }
    }
}

fn joined(prefix: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(prefix);
    argument.push(path);
    argument
}
