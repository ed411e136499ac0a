//! What was logged.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use tracing_subscriber::{
    fmt::{MakeWriter, format::FmtSpan},
    util::SubscriberInitExt,
};

/// All that the process logs, by whomever and at any level: to find out that no content is in it.
#[derive(Debug, Clone)]
pub struct CapturedLog(Buffer);

#[derive(Debug, Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl CapturedLog {
    /// Collects from now on, for the whole process: `tracing`, the `log` crate, all levels, spans too.
    /// A second call gives the same log. Panics when a subscriber is set already.
    ///
    /// Tests of one process that run at the same time are all in it: let content be canaries that are
    /// different for each.
    pub fn start() -> Self {
        static LOG: OnceLock<CapturedLog> = OnceLock::new();
        LOG.get_or_init(|| {
            let buffer = Buffer::default();
            tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_span_events(FmtSpan::FULL)
                .with_ansi(false)
                .with_writer(buffer.clone())
                .finish()
                .init();
            Self(buffer)
        })
        .clone()
    }

    /// All of it.
    #[must_use]
    pub fn text(&self) -> String {
        let bytes = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Panics, with the lines, when one of these words is in it.
    pub fn assert_without(&self, words: &[&str]) {
        let text = self.text();
        let leaks: Vec<_> = text
            .lines()
            .filter(|line| words.iter().any(|word| line.contains(word)))
            .collect();
        assert!(
            leaks.is_empty(),
            "content in {} lines of the log: {:#?}",
            leaks.len(),
            &leaks[..leaks.len().min(20)]
        );
    }
}

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Buffer {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
