//! A registration whose tokens stand elsewhere: in files of their own, or in the environment.

use std::{
    ffi::OsString,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use super::{
    Registration, RegistrationError, Token,
    parse::{self, Overrides},
};

/// More than this is no registration.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// More than this is no token.
const MAX_TOKEN_BYTES: u64 = 16 * 1024;

/// A registration file, and where its tokens are taken from when not from it.
///
/// A source that is named is used: what the file says about this token is not looked at, and may be
/// absent from it. A source that is named and gives nothing is an error, so that a forgotten variable
/// can't bring a token of the file back to life. The last source named for a token counts.
///
/// The tokens of a former time are the exception: they come and go, so that
/// [`also_accept_hs_token_from_env`](Self::also_accept_hs_token_from_env) and
/// [`also_accept_hs_token_from_file`](Self::also_accept_hs_token_from_file) may name what isn't there.
///
/// ```
/// use matrix_appservice::registration::RegistrationFile;
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// # std::fs::write(folder.join("irc.yaml"), "id: irc\nurl: null\nsender_localpart: _irc\nnamespaces: {}\n\
/// # as_token: an-example-as-token-of-some-length\n")?;
/// # std::fs::write(folder.join("hs_token"), "an-example-hs-token-of-some-length\n")?;
///
/// let registration = RegistrationFile::new(folder.join("irc.yaml"))
///     .hs_token_from_file(folder.join("hs_token"))
///     .also_accept_hs_token_from_file(folder.join("hs_token.former"))
///     .load()?;
/// assert!(registration.accepts("an-example-hs-token-of-some-length"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is read before `load`"]
pub struct RegistrationFile {
    path: PathBuf,
    as_token: Option<Source>,
    hs_token: Option<Source>,
    accepted_too: Vec<Source>,
}

#[derive(Debug, Clone)]
enum Source {
    Env(String),
    File(PathBuf),
}

impl RegistrationFile {
    /// The registration in this file, with the tokens that it holds.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            as_token: None,
            hs_token: None,
            accepted_too: Vec::new(),
        }
    }

    /// Takes the `as_token` from this environment variable.
    ///
    /// ```no_run
    /// # use matrix_appservice::registration::RegistrationFile;
    /// let registration = RegistrationFile::new("irc.yaml").as_token_from_env("AS_TOKEN").load()?;
    /// # Ok::<(), matrix_appservice::RegistrationError>(())
    /// ```
    pub fn as_token_from_env(mut self, variable: impl Into<String>) -> Self {
        self.as_token = Some(Source::Env(variable.into()));
        self
    }

    /// Takes the `as_token` from this file, which holds it and nothing else but white space around it.
    ///
    /// ```no_run
    /// # use matrix_appservice::registration::RegistrationFile;
    /// let registration = RegistrationFile::new("irc.yaml").as_token_from_file("/run/secrets/as_token").load()?;
    /// # Ok::<(), matrix_appservice::RegistrationError>(())
    /// ```
    pub fn as_token_from_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.as_token = Some(Source::File(path.into()));
        self
    }

    /// Takes the `hs_token` from this environment variable.
    ///
    /// ```no_run
    /// # use matrix_appservice::registration::RegistrationFile;
    /// let registration = RegistrationFile::new("irc.yaml").hs_token_from_env("HS_TOKEN").load()?;
    /// # Ok::<(), matrix_appservice::RegistrationError>(())
    /// ```
    pub fn hs_token_from_env(mut self, variable: impl Into<String>) -> Self {
        self.hs_token = Some(Source::Env(variable.into()));
        self
    }

    /// Takes the `hs_token` from this file, which holds it and nothing else but white space around it.
    ///
    /// ```no_run
    /// # use matrix_appservice::registration::RegistrationFile;
    /// let registration = RegistrationFile::new("irc.yaml").hs_token_from_file("/run/secrets/hs_token").load()?;
    /// # Ok::<(), matrix_appservice::RegistrationError>(())
    /// ```
    pub fn hs_token_from_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.hs_token = Some(Source::File(path.into()));
        self
    }

    /// Accepts the `hs_token` in this environment variable as well, if it is set; see
    /// [`Registration::accept_also`]. May be called for several.
    ///
    /// ```no_run
    /// # use matrix_appservice::registration::RegistrationFile;
    /// let registration = RegistrationFile::new("irc.yaml").also_accept_hs_token_from_env("FORMER_HS_TOKEN").load()?;
    /// # Ok::<(), matrix_appservice::RegistrationError>(())
    /// ```
    pub fn also_accept_hs_token_from_env(mut self, variable: impl Into<String>) -> Self {
        self.accepted_too.push(Source::Env(variable.into()));
        self
    }

    /// Accepts the `hs_token` in this file as well, if there is one; see
    /// [`Registration::accept_also`]. May be called for several.
    ///
    /// ```no_run
    /// # use matrix_appservice::registration::RegistrationFile;
    /// let registration = RegistrationFile::new("irc.yaml").also_accept_hs_token_from_file("hs_token.former").load()?;
    /// # Ok::<(), matrix_appservice::RegistrationError>(())
    /// ```
    pub fn also_accept_hs_token_from_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.accepted_too.push(Source::File(path.into()));
        self
    }

    /// Reads and checks the registration and its tokens.
    ///
    /// # Errors
    ///
    /// As [`Registration::load`]; also when a token's source is named and gives none. The error names
    /// the variable or the file.
    pub fn load(self) -> Result<Registration, RegistrationError> {
        self.load_from(&|name| std::env::var_os(name))
    }

    /// The same with another environment.
    fn load_from(
        self,
        env: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Registration, RegistrationError> {
        let mut modes = Vec::new();
        let mut needed = |field: &str, source: Option<&Source>| {
            source
                .map(|source| {
                    source
                        .read(env, &mut modes)
                        .and_then(|token| token.ok_or_else(|| source.gives_none()))
                        .map_err(|error| error.in_field(field))
                })
                .transpose()
        };
        let overrides = Overrides {
            as_token: needed("as_token", self.as_token.as_ref())?,
            hs_token: needed("hs_token", self.hs_token.as_ref())?,
        };
        let mut accepted_too = Vec::new();
        for source in &self.accepted_too {
            if let Some(token) = source
                .read(env, &mut modes)
                .map_err(|error| error.in_field("hs_token"))?
            {
                accepted_too.push((source, token));
            }
        }

        let path = &self.path;
        let text = read(path, MAX_FILE_BYTES, &mut modes).map_err(|error| {
            RegistrationError::io("the registration can't be read", error).in_file(path)
        })?;
        let mut registration =
            parse::parse(&text, overrides).map_err(|error| error.in_file(path))?;
        for (source, token) in accepted_too {
            registration
                .accept_also(token)
                .map_err(|error| source.tell(error))?;
        }
        registration.origin.file = Some(self.path);
        registration.origin.modes = modes;
        Ok(registration)
    }
}

impl Source {
    /// The token, or `None` when there is no such variable or file.
    fn read(
        &self,
        env: &dyn Fn(&str) -> Option<OsString>,
        modes: &mut Vec<(PathBuf, u32)>,
    ) -> Result<Option<Token>, RegistrationError> {
        let text = match self {
            Self::Env(name) => match env(name).map(OsString::into_string) {
                None => return Ok(None),
                // What isn't UTF-8 is refused below, in the words for all that isn't ASCII.
                Some(Err(_)) => "\u{fffd}".to_owned(),
                Some(Ok(text)) => text,
            },
            Self::File(path) => match read(path, MAX_TOKEN_BYTES, modes) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(error) => {
                    return Err(self.tell(RegistrationError::io("can't be read", error)));
                }
            },
        };
        Token::parse(text.trim())
            .map(Some)
            .map_err(|error| self.tell(error))
    }

    fn gives_none(&self) -> RegistrationError {
        self.tell(RegistrationError::new(match self {
            Self::Env(_) => "shall be taken, but it isn't set",
            Self::File(_) => "shall be taken from this file, but there is none",
        }))
    }

    fn tell(&self, error: RegistrationError) -> RegistrationError {
        match self {
            Self::Env(name) => error.told_of(&format!("from ${name}")),
            Self::File(path) => error.in_file(path),
        }
    }
}

/// Reads a file up to a limit, and notes who else may read it.
fn read(path: &Path, max_bytes: u64, modes: &mut Vec<(PathBuf, u32)>) -> std::io::Result<String> {
    let file = File::open(path)?;
    if let Some(mode) = mode(&file) {
        modes.push((path.to_owned(), mode));
    }
    let mut text = String::new();
    file.take(max_bytes + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|len| len > max_bytes) {
        return Err(std::io::Error::new(
            std::io::ErrorKind::FileTooLarge,
            format!("it has more than {max_bytes} bytes"),
        ));
    }
    Ok(text)
}

#[cfg(unix)]
fn mode(file: &File) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    Some(file.metadata().ok()?.permissions().mode() & 0o7777)
}

#[cfg(not(unix))]
fn mode(_: &File) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const AS_TOKEN: &str = "as-token-from-elsewhere";
    const HS_TOKEN: &str = "hs-token-from-elsewhere";
    const FORMER: &str = "hs-token-of-former-times";

    /// A folder with a registration, whose tokens are no tokens.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("a.yaml"),
            "id: a\nurl: null\nhs_token: null\nsender_localpart: a\nnamespaces: {}\n",
        )
        .unwrap();
        folder
    }

    fn load(
        file: RegistrationFile,
        env: &[(&str, &str)],
    ) -> Result<Registration, RegistrationError> {
        file.load_from(&|name| {
            env.iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn tokens_come_from_the_environment_and_from_files() {
        let folder = folder();
        let token = folder.path().join("token");
        std::fs::write(&token, format!("\n {HS_TOKEN}\r\n")).unwrap();
        let file = RegistrationFile::new(folder.path().join("a.yaml"))
            .as_token_from_env("AS")
            .hs_token_from_file(&token)
            .also_accept_hs_token_from_env("FORMER");
        let env = [("AS", AS_TOKEN), ("FORMER", FORMER)];
        let registration = load(file.clone(), &env).unwrap();
        assert_eq!(registration.as_token.expose(), AS_TOKEN);
        assert_eq!(registration.hs_token.expose(), HS_TOKEN);
        assert!(registration.accepts(FORMER));
        let registration = load(file, &env[..1]).unwrap();
        assert!(!registration.accepts(FORMER), "the rotation is over");
    }

    #[test]
    fn a_source_that_gives_nothing_is_an_error_that_names_it() {
        let folder = folder();
        let file = RegistrationFile::new(folder.path().join("a.yaml")).as_token_from_env("AS");
        for (file, env, words) in [
            (file.clone(), &[][..], ["$AS", "`as_token`", "isn't set"]),
            (
                file.clone(),
                &[("AS", "")],
                ["$AS", "`as_token`", "0 characters"],
            ),
            (
                file.clone(),
                &[("AS", AS_TOKEN)],
                ["a.yaml:3", "`hs_token`", "null"],
            ),
            (
                file.clone().hs_token_from_file("/nowhere/at/all"),
                &[("AS", AS_TOKEN)],
                ["/nowhere/at/all", "`hs_token`", "there is none"],
            ),
            (
                file.clone().hs_token_from_file(folder.path()),
                &[("AS", AS_TOKEN)],
                ["", "`hs_token`", "can't be read"],
            ),
            (
                file.clone().hs_token_from_env("HS"),
                &[("AS", AS_TOKEN), ("HS", AS_TOKEN)],
                ["a.yaml", "`hs_token`", "must differ"],
            ),
            (
                file.hs_token_from_env("HS")
                    .also_accept_hs_token_from_env("FORMER"),
                &[("AS", AS_TOKEN), ("HS", HS_TOKEN), ("FORMER", AS_TOKEN)],
                ["$FORMER", "`hs_token`", "must differ"],
            ),
        ] {
            let error = load(file, env).unwrap_err().to_string();
            for word in words {
                assert!(error.contains(word), "{error}");
            }
            assert!(!error.contains("elsewhere"), "{error}");
        }
    }

    #[test]
    fn a_file_without_end_is_not_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long");
        std::fs::write(&path, vec![b'a'; 2 * 1024 * 1024]).unwrap();
        let error = RegistrationFile::new(&path).load().unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("1048576 bytes"), "{source}");
    }
}
