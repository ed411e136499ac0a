//! The log file of a process: opened for it, and its end shown when the process fails.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use anyhow::{Context as _, Result};

/// How many lines of a log an error shows.
const LINES: usize = 15;
/// How much of a log is read to find them, in bytes.
const TAIL_BYTES: u64 = 16 * 1024;

/// Opens a log to append to.
pub(crate) fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open the log {}", path.display()))
}

/// Removes what an earlier run left.
pub(crate) fn begin(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The last lines of a log and where it is, to be the end of an error message.
pub(crate) fn end_of(path: &Path) -> String {
    let lines = match read_end(path) {
        Ok(text) => last_lines(&text),
        Err(error) => format!("    (cannot be read: {error})"),
    };
    format!("the end of its log, {}:\n{lines}", path.display())
}

fn read_end(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    if lines.is_empty() {
        return "    (empty)".to_owned();
    }
    lines[lines.len().saturating_sub(LINES)..]
        .iter()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_the_last_lines_only_and_says_where_the_rest_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huisarts.log");
        let lines: Vec<String> = (0..100).map(|n| format!("line {n}")).collect();
        std::fs::write(&path, lines.join("\n")).unwrap();

        let shown = end_of(&path);

        assert!(shown.contains(&path.display().to_string()));
        assert!(shown.ends_with("    line 99"));
        assert!(!shown.contains("line 84\n"));
    }

    #[test]
    fn a_missing_log_is_no_second_failure() {
        assert!(end_of(Path::new("/nowhere/x.log")).contains("cannot be read"));
    }
}
