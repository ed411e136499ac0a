//! What the testbed does and how long it takes, for people who wait.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One line for a person who waits while the testbed installs and starts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Something began, such as `install Synapse`.
    Began(String),
    /// It is done, after this long.
    Done(String, Duration),
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Began(what) => write!(f, "{what} …"),
            Self::Done(what, took) => write!(f, "{what}: {:.1} s", took.as_secs_f64()),
        }
    }
}

/// Tells a callback and the log what goes on.
#[derive(Clone, Default)]
pub(crate) struct Reporter(Option<Arc<dyn Fn(Progress) + Send + Sync>>);

impl Reporter {
    pub(crate) fn new(tell: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    /// Runs `work` and tells when it begins and when it has succeeded.
    pub(crate) async fn during<T>(
        &self,
        what: &str,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let began = Instant::now();
        self.tell(Progress::Began(what.to_owned()));
        let result = work.await?;
        self.tell(Progress::Done(what.to_owned(), began.elapsed()));
        Ok(result)
    }

    fn tell(&self, progress: Progress) {
        tracing::info!("{progress}");
        if let Some(tell) = &self.0 {
            tell(progress);
        }
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reporter")
    }
}
