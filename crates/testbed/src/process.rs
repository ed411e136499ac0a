//! Processes that end when the testbed does.
//!
//! Each one is the leader of a group of its own, so that a Ctrl-C in the terminal reaches the testbed only, which then
//! stops them in order. When the testbed is dropped they are killed; when it dies itself, even by SIGKILL, the kernel
//! kills them (`python/with_parent.py`).

mod spawner;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::{log_file, paths};

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// What it is called in messages.
    pub(crate) name: String,
    /// The Python that starts it.
    pub(crate) python: PathBuf,
    /// The program and its arguments.
    pub(crate) command: Vec<OsString>,
    /// Variables to set besides those of this process.
    pub(crate) env: Vec<(String, String)>,
    /// Its working directory.
    pub(crate) folder: PathBuf,
    /// Where its output goes; with [`Pipes::Open`] its standard error only.
    pub(crate) log: PathBuf,
    /// Whether somebody talks to it.
    pub(crate) pipes: Pipes,
    /// Whom it runs as; as ourselves where there is nobody.
    pub(crate) account: Option<Account>,
}

/// A user of this machine, and its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Whether a process's standard input and output are pipes to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pipes {
    Open,
    Closed,
}

/// A running process. Dropping it kills the process and everything in its group.
pub(crate) struct Process {
    name: String,
    log: PathBuf,
    pid: Pid,
    /// Empty once the process has been reaped: its number may belong to somebody else from then on.
    child: Arc<Mutex<Option<Child>>>,
    exited: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Starts a process.
    pub(crate) fn start(spec: &Spec) -> Result<Self> {
        let child = spawner::spawn(command(spec)?)
            .with_context(|| format!("cannot start {}", spec.name))?;
        let pid = Pid::from_child(&child);
        let child = Arc::new(Mutex::new(Some(child)));
        let (sender, exited) = watch::channel(None);
        let reaped = Arc::clone(&child);
        thread::Builder::new()
            .name(format!("wait for {}", spec.name))
            .spawn(move || reap(pid, &reaped, &sender))
            .context("cannot start a thread")?;
        tracing::debug!(name = spec.name, pid = pid.as_raw_nonzero(), "started");
        Ok(Self {
            name: spec.name.clone(),
            log: spec.log.clone(),
            pid,
            child,
            exited,
        })
    }

    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Its standard input and output, once, when they are pipes.
    pub(crate) fn take_pipes(
        &self,
    ) -> Option<(std::process::ChildStdin, std::process::ChildStdout)> {
        let mut child = held(&self.child);
        let child = child.as_mut()?;
        Some((child.stdin.take()?, child.stdout.take()?))
    }

    /// An error with the end of the log, when the process has ended.
    pub(crate) fn check(&self) -> Result<()> {
        match *self.exited.borrow() {
            None => Ok(()),
            Some(status) => Err(anyhow!(
                "{} ended ({status}); {}",
                self.name,
                log_file::end_of(&self.log)
            )),
        }
    }

    /// Asks the process to end (SIGTERM), and kills it when it has not after `patience`.
    pub(crate) async fn stop(&self, patience: Duration) {
        self.stop_by(Signal::TERM, patience).await;
    }

    /// Asks the process to end by a signal of its own, and kills it when it has not after `patience`.
    pub(crate) async fn stop_by(&self, signal: Signal, patience: Duration) {
        self.signal(signal);
        if !self.ends_within(patience).await {
            tracing::warn!(
                name = self.name,
                ?patience,
                "did not end when asked; killing it"
            );
            self.kill().await;
        }
    }

    /// Kills the process and its group (SIGKILL), and waits until it is gone.
    pub(crate) async fn kill(&self) {
        self.signal(Signal::KILL);
        if !self.ends_within(Duration::from_secs(10)).await {
            tracing::error!(name = self.name, "still there ten seconds after SIGKILL");
        }
    }

    async fn ends_within(&self, patience: Duration) -> bool {
        let mut exited = self.exited.clone();
        timeout(patience, exited.wait_for(Option::is_some))
            .await
            .is_ok()
    }

    fn signal(&self, signal: Signal) {
        if held(&self.child).is_some() {
            // It can only fail when the group is empty already.
            let _ = kill_process_group(self.pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({}, {})", self.name, self.id())
    }
}

fn command(spec: &Spec) -> Result<Command> {
    let log = log_file::open(&spec.log)?;
    let account = spec.account.map_or_else(
        || "same".to_owned(),
        |Account { uid, gid }| format!("{uid}:{gid}"),
    );
    let mut command = python(&spec.python);
    command
        .args(["-I", "-S"])
        .arg(paths::source().join("python/with_parent.py"))
        .arg(std::process::id().to_string())
        .arg(account)
        .args(&spec.command)
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&spec.folder);
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    match spec.pipes {
        Pipes::Open => command.stdin(Stdio::piped()).stdout(Stdio::piped()),
        Pipes::Closed => command.stdin(Stdio::null()).stdout(log.try_clone()?),
    };
    command.stderr(log);
    Ok(command)
}

/// A Python that writes byte code: without, every start of Synapse compiles 1,100 modules.
pub(crate) fn python(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_remove("PYTHONDONTWRITEBYTECODE")
        .env_remove("PYTHONPATH")
        .env_remove("PYTHONHOME");
    command
}

/// Waits for the process, ends what it left in its group, and only then lets its number go.
fn reap(pid: Pid, child: &Mutex<Option<Child>>, exited: &watch::Sender<Option<ExitStatus>>) {
    while let Err(error) = waitid(
        WaitId::Pid(pid),
        WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
    ) {
        if error != rustix::io::Errno::INTR {
            break;
        }
    }
    let mut child = held(child);
    let _ = kill_process_group(pid, Signal::KILL);
    if let Some(mut child) = child.take() {
        match child.wait() {
            Ok(status) => {
                exited.send_replace(Some(status));
            }
            Err(error) => tracing::error!(%error, "cannot learn how a process ended"),
        }
    }
}

fn held(child: &Mutex<Option<Child>>) -> MutexGuard<'_, Option<Child>> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(folder: &Path, script: &str) -> Process {
        Process::start(&Spec {
            name: "script".into(),
            python: "python3".into(),
            command: ["sh", "-c", script].map(OsString::from).to_vec(),
            env: Vec::new(),
            folder: folder.to_owned(),
            log: folder.join("script.log"),
            pipes: Pipes::Closed,
            account: None,
        })
        .unwrap()
    }

    fn alive(pid: &str) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
    }

    /// The text of a file, once the script has written a whole line.
    async fn line_of(path: &Path) -> String {
        crate::poll::until(Duration::from_secs(10), async || {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            Ok(text.strip_suffix('\n').map(str::to_owned))
        })
        .await
        .unwrap()
        .unwrap()
    }

    #[tokio::test]
    async fn a_process_that_ends_says_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let process = sh(folder.path(), "echo no such database >&2; exit 3");

        assert!(process.ends_within(Duration::from_secs(10)).await);

        let error = process.check().unwrap_err().to_string();
        assert!(error.contains("no such database"), "{error}");
        assert!(error.contains('3'), "{error}");
    }

    #[tokio::test]
    async fn a_process_that_ignores_the_request_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let ready = folder.path().join("ready");
        let process = sh(
            folder.path(),
            "trap '' TERM; echo $$ > ready; while :; do sleep 1; done",
        );
        let pid = line_of(&ready).await;

        process.stop(Duration::from_millis(200)).await;

        assert!(!alive(&pid));
        assert!(process.check().is_err());
    }

    #[tokio::test]
    async fn what_a_process_started_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let process = sh(folder.path(), "sleep 600 & echo $! > child; wait");
        let child = line_of(&folder.path().join("child")).await;
        assert!(alive(&child));

        drop(process);

        let gone = crate::poll::until(Duration::from_secs(10), async || {
            Ok((!alive(&child)).then_some(()))
        });
        assert!(gone.await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_process_outlives_the_thread_that_asked_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let started = folder.path().to_owned();
        let process = thread::spawn(move || sh(&started, "echo $$ > pid; exec sleep 600"))
            .join()
            .unwrap();
        line_of(&folder.path().join("pid")).await;

        assert!(!process.ends_within(Duration::from_millis(300)).await);
    }

    /// Where the test below tells its helper to work.
    const FOLDER: &str = "TESTBED_TEST_FOLDER";

    #[test]
    #[ignore = "run by the next test, which kills it"]
    fn helper_that_starts_a_process_and_waits() {
        let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
        let _process = sh(&folder, "echo $$ > pid; exec sleep 600");
        thread::sleep(Duration::from_mins(10));
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn a_process_dies_with_a_testbed_that_was_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut helper = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact"])
            .arg("process::tests::helper_that_starts_a_process_and_waits")
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pid = line_of(&folder.path().join("pid")).await;
        assert!(alive(&pid));

        helper.kill().unwrap();
        helper.wait().unwrap();

        let gone = crate::poll::until(Duration::from_secs(10), async || {
            Ok((!alive(&pid)).then_some(()))
        });
        assert!(gone.await.unwrap().is_some());
    }
}
