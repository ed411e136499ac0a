//! The testbed's own runtime.
//!
//! A testbed that several tests share outlives each test's runtime, so what serves all of them runs on a runtime that
//! lives as long as the process.

use std::io;
use std::sync::LazyLock;

use anyhow::{Result, anyhow};
use tokio::runtime::{Builder, Handle, Runtime};

static RUNTIME: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("testbed")
        .enable_all()
        .build()
});

/// The handle of the runtime that lives as long as the process.
pub(crate) fn handle() -> Result<&'static Handle> {
    match &*RUNTIME {
        Ok(runtime) => Ok(runtime.handle()),
        Err(error) => Err(anyhow!("cannot start the testbed's runtime: {error}")),
    }
}
