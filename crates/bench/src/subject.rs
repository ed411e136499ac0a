//! A program under measurement: started, watched in `/proc`, ended.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::push::{self, Pusher};

pub(crate) const HS_TOKEN: &str = "bench_hs_token_312df522183efd404ec1cd22d2ffa4bbc76a8c1c";
const AS_TOKEN: &str = "bench_as_token_cf541dd692eef281356bb74e30c5b2db1a0e95cc8";
/// `utime` and `stime` are counted in these on every Linux.
const TICKS_A_SECOND: f64 = 100.0;
const PATIENCE: Duration = Duration::from_mins(2);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Bare,
    Lazy,
    Floor,
    Log,
    Sdk,
    /// The SDK, with its journal in PostgreSQL.
    Postgres,
}

impl Kind {
    /// Those that need nothing else.
    pub(crate) const USUAL: [Self; 5] = [Self::Bare, Self::Lazy, Self::Floor, Self::Log, Self::Sdk];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "axum, reads",
            Self::Lazy => "axum, parses lazily",
            Self::Floor => "SQLite floor",
            Self::Log => "log segment",
            Self::Sdk => "the SDK, SQLite",
            Self::Postgres => "… PostgreSQL",
        }
    }

    pub(crate) fn echoes(self) -> bool {
        matches!(self, Self::Lazy | Self::Floor | Self::Sdk | Self::Postgres)
    }

    /// Whether its control port counts what was handled.
    pub(crate) fn counts(self) -> bool {
        self != Self::Bare
    }
}

/// Where the programs are.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) subject: PathBuf,
    pub(crate) sdk: PathBuf,
    /// An empty database for [`Kind::Postgres`].
    pub(crate) database: Option<String>,
}

impl Programs {
    fn command(&self, kind: Kind) -> Command {
        let argument = match kind {
            Kind::Bare => "bare",
            Kind::Lazy => "lazy",
            Kind::Floor => "sqlite",
            Kind::Log => "log",
            Kind::Sdk | Kind::Postgres => {
                let mut command = Command::new(&self.sdk);
                command.env_remove("DATABASE_URL");
                if let (Kind::Postgres, Some(database)) = (kind, &self.database) {
                    command.env("DATABASE_URL", database);
                }
                return command;
            }
        };
        let mut command = Command::new(&self.subject);
        command.arg(argument);
        command
    }
}

pub(crate) struct Subject {
    process: Child,
    pub(crate) address: SocketAddr,
    control: SocketAddr,
    /// From the start to the first 200.
    pub(crate) started_in: Duration,
}

impl Subject {
    /// Starts the program in `folder` and pushes an empty transaction until it is taken.
    pub(crate) fn start(
        programs: &Programs,
        kind: Kind,
        folder: &Path,
        homeserver: SocketAddr,
    ) -> Result<(Self, Pusher)> {
        fs::create_dir_all(folder)?;
        let (address, control) = (free_address()?, free_address()?);
        let log = fs::File::create(folder.join("output.log"))?;
        let began = Instant::now();
        let process = programs
            .command(kind)
            .current_dir(folder)
            .env("AS_PORT", address.port().to_string())
            .env("CTL_PORT", control.port().to_string())
            .env("HS_URL", format!("http://{homeserver}"))
            .env("AS_TOKEN", AS_TOKEN)
            .env("HS_TOKEN", HS_TOKEN)
            .env("HANDLED_LOG", folder.join("handled.log"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} can't be started", kind.name()))?;
        let mut subject = Self {
            process,
            address,
            control,
            started_in: Duration::ZERO,
        };
        let mut pusher = subject.first_connection(began)?;
        pusher.push(br#"{"events":[]}"#)?;
        subject.started_in = began.elapsed();
        Ok((subject, pusher))
    }

    fn first_connection(&mut self, began: Instant) -> Result<Pusher> {
        loop {
            if let Ok(pusher) = Pusher::connect(self.address, HS_TOKEN) {
                return Ok(pusher);
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("the subject ended at its start with {status}");
            }
            ensure!(began.elapsed() < PATIENCE, "the subject does not listen");
            thread::sleep(Duration::from_micros(500));
        }
    }

    pub(crate) fn mode(&self, mode: &str, at_most: usize) -> Result<()> {
        push::get(self.control, &format!("/mode/{mode}/{at_most}"))?;
        Ok(())
    }

    /// How many events were handled since the start.
    pub(crate) fn handled(&self) -> Result<u64> {
        let count: serde_json::Value = serde_json::from_str(&push::get(self.control, "/count")?)?;
        count["handled"].as_u64().context("no count")
    }

    /// Waits until at least so many events were handled, for as long as there are more of them.
    pub(crate) fn wait_for(&self, handled: u64) -> Result<()> {
        let (mut most, mut since) = (0, Instant::now());
        loop {
            let so_far = self.handled()?;
            if so_far >= handled {
                return Ok(());
            }
            if so_far > most {
                (most, since) = (so_far, Instant::now());
            }
            ensure!(
                since.elapsed() < PATIENCE,
                "{so_far} of {handled} were handled"
            );
            // Asking costs the subject CPU that is counted as its own.
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Seconds of CPU that it has used.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // The name, in brackets, may hold spaces; what follows can't.
        let (_, fields) = stat.rsplit_once(") ").context("no stat")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks = |index: usize| -> Result<f64> {
            Ok(fields.get(index).context("a short stat")?.parse()?)
        };
        Ok((ticks(11)? + ticks(12)?) / TICKS_A_SECOND)
    }

    /// Resident memory in MB: now and at its most.
    pub(crate) fn memory(&self) -> Result<(f64, f64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let megabytes = |name: &str| -> Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
            Ok(kilobytes.context("no memory in status")?.parse::<f64>()? / 1024.0)
        };
        Ok((megabytes("VmRSS:")?, megabytes("VmHWM:")?))
    }

    pub(crate) fn runs(&mut self) -> Result<bool> {
        Ok(self.process.try_wait()?.is_none())
    }

    /// `SIGKILL`, now.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// `SIGTERM`, and waits for the end.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, Signal::TERM)?;
        let until = Instant::now() + PATIENCE;
        while self.runs()? {
            ensure!(Instant::now() < until, "it does not end on SIGTERM");
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
