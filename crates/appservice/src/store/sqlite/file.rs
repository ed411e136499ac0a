//! The journal's file: readable by its owner only, and one process's at a time.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::Path,
};

use crate::journal::JournalError;

/// Makes the file when it isn't there, and locks the one beside it. The lock ends with the process,
/// however it ends.
pub(super) fn claim(path: &Path) -> Result<File, JournalError> {
    let file_error = |source: io::Error| JournalError::File {
        path: path.to_owned(),
        source,
    };
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(file_error)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let lock = options.open(&beside).map_err(file_error)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse(path.display().to_string())),
        Err(TryLockError::Error(error)) => Err(file_error(error)),
    }
}
