use std::{env, fmt, fs, path::PathBuf};

use secrecy::SecretString;

/// A secret, and where it comes from. `Debug` shows where, and not the secret.
#[derive(Clone)]
#[non_exhaustive]
pub enum Secret {
    /// The secret itself.
    Given(SecretString),
    /// A file that holds it and nothing else; white space at its ends doesn't count. It is read again when a server
    /// refuses what it held.
    File(PathBuf),
    /// A variable of the environment.
    Env(String),
}

/// A secret that can't be had. It names the place, and never what is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The file can't be read.
    #[error("{} can't be read: {}", .0.display(), .1)]
    File(PathBuf, std::io::ErrorKind),
    /// The variable is not set, or no text.
    #[error("the environment has no variable {0}")]
    Env(String),
    /// There is nothing in it.
    #[error("{0} is empty")]
    Empty(String),
}

impl Secret {
    /// The secret as it is now.
    ///
    /// # Errors
    ///
    /// When it can't be read, or is empty.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        let (text, place) = match self {
            Self::Given(secret) => return Ok(secret.clone()),
            Self::File(file) => {
                let text = fs::read_to_string(file)
                    .map_err(|error| SecretError::File(file.clone(), error.kind()))?;
                (text, file.display().to_string())
            }
            Self::Env(name) => {
                let text = env::var(name).map_err(|_| SecretError::Env(name.clone()))?;
                (text, format!("the variable {name}"))
            }
        };
        let secret = text.trim();
        if secret.is_empty() {
            return Err(SecretError::Empty(place));
        }
        Ok(secret.to_owned().into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(_) => f.write_str("Given"),
            Self::File(file) => f.debug_tuple("File").field(file).finish(),
            Self::Env(name) => f.debug_tuple("Env").field(name).finish(),
        }
    }
}
