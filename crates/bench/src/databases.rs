//! Empty databases in a PostgreSQL of the testbed's.

use anyhow::Result;
use testbed::{Fsync, Postgres};
use tokio::runtime::Runtime;

/// A server that syncs as in production, and ends with the bench.
#[derive(Debug)]
pub(crate) struct Databases {
    runtime: Runtime,
    server: Postgres,
}

impl Databases {
    pub(crate) fn start() -> Result<Self> {
        let runtime = Runtime::new()?;
        let server = runtime.block_on(Postgres::start(Fsync::On))?;
        Ok(Self { runtime, server })
    }

    /// The address of a new one.
    pub(crate) fn fresh(&self) -> Result<String> {
        let database = self.runtime.block_on(self.server.database())?;
        Ok(database.url().to_owned())
    }
}

impl Drop for Databases {
    fn drop(&mut self) {
        // It ends with this process anyway.
        let _ = self.runtime.block_on(self.server.stop());
    }
}
