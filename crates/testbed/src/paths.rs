//! Where the testbed keeps its things: below `testbed/` in cargo's target folder, so that `cargo clean` removes all of it.

use std::env;
use std::path::{Path, PathBuf};

/// The folder of this crate: its scripts, templates and lock files are read from here.
pub(crate) fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `target/testbed`: installations, run folders, the shared testbed's state.
///
/// Cargo's target folder is `CARGO_TARGET_DIR` where that is set (relative to the workspace), else `target` in the
/// workspace.
#[must_use]
pub fn root() -> PathBuf {
    let source = source();
    let workspace = source.ancestors().nth(2).unwrap_or(source);
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    workspace.join(target).join("testbed")
}
