//! A real PostgreSQL for tests.
//!
//! The programs are the machine's own where it has any; otherwise they are fetched from Maven Central, once, below
//! `target/testbed`. A start takes about two seconds, a database of a test's own some tens of milliseconds.

mod account;
mod children;
mod database;
mod folder;
mod install;
mod programs;
mod server;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::sync::OnceCell;

pub use database::Database;
pub(crate) use install::check;

use crate::progress::Reporter;
use crate::runs::Run;
use crate::{files, net::Net, python, random, shared};
use server::Server;

/// The last number of a server's address, as for the other servers of a testbed.
const HOST: u8 = 30;
const PORT: u16 = 5432;
/// How often a random address is tried that turns out to be taken.
const ADDRESS_TRIES: usize = 20;
/// The superuser.
const ADMIN: &str = "testbed";

/// Whether what is committed reaches the disk before the commit is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// It does, as in production: for what measures, and for a machine that loses its power.
    On,
    /// The operating system writes it when it likes, which saves most of a test's time. A server that is killed
    /// loses nothing by this; a machine that loses its power would.
    #[default]
    Off,
}

/// A PostgreSQL server.
///
/// It listens on a loopback address of its own and wants a password. It ends when this is dropped, and with this
/// process however that ends. One that another process runs ([`Postgres::shared`]) is only used, and goes on.
pub struct Postgres {
    access: Access,
    /// Only where this process runs it.
    own: Option<Server>,
}

/// How a server is reached; kept in its folder for other processes.
#[derive(Clone, Serialize, Deserialize)]
struct Access {
    address: Ipv4Addr,
    port: u16,
    password: String,
}

impl Postgres {
    /// The server that all tests share, without fsync.
    ///
    /// That is the one of the testbed that another process has announced (`cargo xtask test` does), else one that this
    /// process starts at the first call and that ends with it. Each test takes a [`Database`] of its own. A test that
    /// stops or kills the server starts its own by [`Postgres::start`].
    ///
    /// # Errors
    ///
    /// As [`Postgres::start`].
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED
            .get_or_try_init(async || match shared::postgres()? {
                Some(folder) => Self::attach(&folder),
                None => Self::start(Fsync::Off).await,
            })
            .await
    }

    /// Starts a server that nobody else uses; returns when it answers.
    ///
    /// # Errors
    ///
    /// When PostgreSQL is neither there nor can be fetched (and how to get it), or does not start (the end of its log is
    /// shown).
    pub async fn start(fsync: Fsync) -> Result<Self> {
        Self::start_with(fsync, &Reporter::default()).await
    }

    pub(crate) async fn start_with(fsync: Fsync, reporter: &Reporter) -> Result<Self> {
        let python = python::find().await?;
        let account = account::unprivileged()?;
        let programs = install::programs(account, &python, reporter).await?;
        let run = Run::fresh_in(&folder::of_runs(account)?)?;
        folder::open_to(&run.folder, account)?;
        let programs = install::within_reach(programs, account, &run.folder).await?;
        let (address, port) = free_address()?;
        let access = Access {
            address,
            port,
            password: random::secret()?,
        };
        let server = reporter
            .during("start PostgreSQL", async {
                let server = Server::create(server::Setup {
                    run,
                    account,
                    programs,
                    python: python.program.clone(),
                    access: &access,
                    fsync,
                })
                .await?;
                server.start(&access.options()).await?;
                Ok(server)
            })
            .await?;
        files::write_private(
            &access_path(server.folder()),
            &serde_json::to_string(&access)?,
        )?;
        Ok(Self {
            access,
            own: Some(server),
        })
    }

    /// A server that another process runs.
    fn attach(folder: &Path) -> Result<Self> {
        let path = access_path(folder);
        let text =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let access = serde_json::from_slice(&text)
            .with_context(|| format!("{} is damaged; remove it", path.display()))?;
        Ok(Self { access, own: None })
    }

    /// A new, empty database with a user of its own, who owns it and is no superuser.
    ///
    /// # Errors
    ///
    /// When the server does not answer.
    pub async fn database(&self) -> Result<Database> {
        Database::create(&self.access).await
    }

    /// Ends the server in order: what its clients have begun is rolled back, their connections end. Does nothing when
    /// it does not run.
    ///
    /// # Errors
    ///
    /// When another process runs it.
    pub async fn stop(&self) -> Result<()> {
        self.own()?.stop().await;
        Ok(())
    }

    /// Kills the server and what serves its clients (SIGKILL); returns when all of it is gone. Does nothing when it does
    /// not run.
    ///
    /// # Errors
    ///
    /// When another process runs it.
    pub async fn kill(&self) -> Result<()> {
        self.own()?.kill().await;
        Ok(())
    }

    /// Starts the server again, on the same address and with the data that it had; returns when it answers. Does
    /// nothing when it runs.
    ///
    /// # Errors
    ///
    /// When it does not start, or another process runs it.
    pub async fn start_again(&self) -> Result<()> {
        self.own()?.start(&self.access.options()).await
    }

    /// Its folder, to tell other processes.
    pub(crate) fn folder(&self) -> Result<PathBuf> {
        Ok(self.own()?.folder().to_owned())
    }

    fn own(&self) -> Result<&Server> {
        self.own.as_ref().context(
            "PostgreSQL is shared and belongs to another process; a test that stops it starts one of its own",
        )
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Postgres({}:{})", self.access.address, self.access.port)
    }
}

impl Access {
    /// The superuser, in the database that is always there.
    fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host(&self.address.to_string())
            .port(self.port)
            .username(ADMIN)
            .password(&self.password)
            .database("postgres")
            .ssl_mode(PgSslMode::Disable)
    }
}

fn access_path(folder: &Path) -> PathBuf {
    folder.join("access.json")
}

/// An address that nobody uses: a random one of `127.0.0.0/8`, so that nobody takes it while the server is stopped.
///
/// Where the machine has only one loopback address, a port of that.
fn free_address() -> Result<(Ipv4Addr, u16)> {
    for _ in 0..ADDRESS_TRIES {
        let address = Net::random()?.address(HOST);
        if TcpListener::bind(SocketAddr::from((address, PORT))).is_ok() {
            return Ok((address, PORT));
        }
    }
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    match listener.local_addr()? {
        SocketAddr::V4(address) => Ok((*address.ip(), address.port())),
        SocketAddr::V6(_) => bail!("the loopback address is no IPv4 address"),
    }
}
