//! Writes a secret file: nobody else can read it at any moment, and it is there whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::super::token::hex;

/// Writes a new file. Where there is one already it stays, and the error is `AlreadyExists`.
pub(in super::super) fn create(path: &Path, text: &str) -> io::Result<()> {
    let draft = Draft::write(path, text)?;
    draft.link_to(path)?;
    sync_folder(path)
}

/// Writes a file in the place of the one that is there, if any.
pub(in super::super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    // A link stays a link; what it points to is replaced.
    let path = match fs::canonicalize(path) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    let draft = Draft::write(&path, text)?;
    fs::rename(&draft.0, &path)?;
    sync_folder(&path)
}

/// The file under another name in the same folder, gone when it is dropped.
struct Draft(PathBuf);

impl Draft {
    fn write(path: &Path, text: &str) -> io::Result<Self> {
        let Some(name) = path.file_name() else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "this is no file's name",
            ));
        };
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let mut draft_name = std::ffi::OsString::from(".");
        draft_name.push(name);
        draft_name.push(format!(".{}.tmp", hex(&bytes)));
        let draft = Self(path.with_file_name(draft_name));

        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        private(&mut options);
        let mut file = options.open(&draft.0)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        Ok(draft)
    }

    /// Gives the file its name if nobody has it.
    fn link_to(&self, path: &Path) -> io::Result<()> {
        match fs::hard_link(&self.0, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            // A file system without hard links: reserve the name, then fill it.
            Err(_) => self.reserve_and_rename(path),
            Ok(()) => Ok(()),
        }
    }

    fn reserve_and_rename(&self, path: &Path) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        private(&mut options);
        options.open(path)?;
        fs::rename(&self.0, path)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Gone already when it was renamed; and there is nobody to tell of anything else.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600);
}

#[cfg(not(unix))]
fn private(_: &mut OpenOptions) {}

/// The name is durable when its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_is_left_behind_by_success_or_failure() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        create(&path, "one").unwrap();
        let error = create(&path, "two").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        replace(&path, "three").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three");
        assert!(create(&folder.path().join("none/a.yaml"), "x").is_err());
        assert_eq!(names(folder.path()), ["a.yaml"]);
    }

    #[test]
    fn a_file_system_without_hard_links_does_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        let draft = Draft::write(&path, "one").unwrap();
        draft.reserve_and_rename(&path).unwrap();
        drop(draft);
        let draft = Draft::write(&path, "two").unwrap();
        let error = draft.reserve_and_rename(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        drop(draft);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(names(folder.path()), ["a.yaml"]);
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_for_its_owner_only_whatever_stood_there_before() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let path = folder.path().join("a.yaml");
        create(&path, "x").unwrap();
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        replace(&path, "y").unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link_and_is_never_followed_to_create() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert_eq!(
            create(&link, "x").unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        create(&target, "x").unwrap();
        replace(&link, "y").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "y");
    }
}
