//! `audit.log`: one JSON object in a line, never changed, each with the hash of the line before.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What stands for the line before the first one.
const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// As much of the file's end as is looked at for its last line.
const END: u64 = 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct Line {
    /// SHA-256 of the line before, in hexadecimal.
    previous: String,
    event: Value,
}

/// The file, open for appending.
#[derive(Debug)]
pub(crate) struct AuditFile {
    file: File,
    /// The hash of the last line.
    last: String,
    /// The last line is not whole: a crash has cut it.
    torn: bool,
}

impl AuditFile {
    /// Opens the file, which is made, for its owner only, when it isn't there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).append(true).read(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(END)))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        let torn = end.last().is_some_and(|byte| *byte != b'\n');
        let whole = &end[..end.iter().rposition(|byte| *byte == b'\n').unwrap_or(0)];
        let last = whole
            .rsplit(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let last = if last.is_empty() {
            BEGINNING.to_owned()
        } else {
            hash(last)
        };
        Ok(Self { file, last, torn })
    }

    /// Appends an event; it is on disk when this returns.
    pub(crate) fn append(&mut self, event: &Value) -> io::Result<()> {
        let line = Line {
            previous: self.last.clone(),
            event: event.clone(),
        };
        let line = serde_json::to_string(&line)?;
        // In one piece, so that a full disk or a crash leaves at most one line torn.
        let end = if self.torn { "\n" } else { "" };
        let written = self
            .file
            .write_all(format!("{end}{line}\n").as_bytes())
            .and_then(|()| self.file.sync_data());
        // When it failed, nobody knows how much of it is there.
        self.torn = written.is_err();
        written?;
        self.last = hash(line.as_bytes());
        Ok(())
    }
}

/// Gives each event of the file that `is_meant` to `tell`. Lines that are torn, as a crash leaves them, are left out: what
/// was in them stands further down.
pub(crate) fn events(
    path: &Path,
    is_meant: &dyn Fn(&Value) -> bool,
    tell: &mut dyn FnMut(Value) -> io::Result<()>,
) -> io::Result<()> {
    for line in BufReader::new(File::open(path)?).split(b'\n') {
        if let Ok(line) = serde_json::from_slice::<Line>(&line?)
            && is_meant(&line.event)
        {
            tell(line.event)?;
        }
    }
    Ok(())
}

fn hash(line: &[u8]) -> String {
    format!("{:x}", Sha256::digest(line))
}

/// What a check of the file has found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Checked {
    /// Events that stand in the file.
    pub(crate) events: usize,
    /// Lines that are torn, as a crash leaves them: the event was delivered again, and stands in the next line.
    pub(crate) torn: usize,
}

/// Checks that no line was changed, taken out or put in since. Returns the number of the first line that doesn't
/// follow from the one before.
pub(crate) fn check(path: &Path) -> io::Result<Result<Checked, usize>> {
    let mut checked = Checked::default();
    let mut last = BEGINNING.to_owned();
    for (number, line) in BufReader::new(File::open(path)?).split(b'\n').enumerate() {
        let line = line?;
        match serde_json::from_slice::<Line>(&line) {
            Ok(parsed) if parsed.previous == last => {
                last = hash(&line);
                checked.events += 1;
            }
            Ok(_) => return Ok(Err(number + 1)),
            Err(_) => checked.torn += 1,
        }
    }
    Ok(Ok(checked))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn events(path: &Path, numbers: std::ops::Range<u32>) {
        let mut file = AuditFile::open(path).unwrap();
        for number in numbers {
            file.append(&json!({"id": number})).unwrap();
        }
    }

    #[test]
    fn each_line_follows_from_the_one_before_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        events(&path, 0..2);
        events(&path, 2..4);
        let whole = Checked { events: 4, torn: 0 };
        assert_eq!(check(&path).unwrap(), Ok(whole));

        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let without_second = [lines[0], lines[2], lines[3]].join("\n");
        for (changed, first_wrong) in [
            (text.replace(r#"{"id":1}"#, r#"{"id":7}"#), 3),
            (without_second, 2),
            ([lines[1], lines[0]].join("\n"), 1),
        ] {
            std::fs::write(&path, changed).unwrap();
            assert_eq!(check(&path).unwrap(), Err(first_wrong));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let other = folder.path().join("other.log");
            events(&other, 0..1);
            let mode = other.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_torn_line_costs_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        events(&path, 0..2);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 5]).unwrap();
        events(&path, 1..3);
        assert_eq!(check(&path).unwrap(), Ok(Checked { events: 3, torn: 1 }));
    }
}
