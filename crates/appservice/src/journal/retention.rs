//! What stays when the work is done.

use std::time::Duration;

/// How long the journal keeps what is done. By default, payloads are erased at once, and keys stay for
/// ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// How long the payload of an entry stays after it was handled. Default: not at all. What is kept
    /// can be read in the database, for an inquiry; the library doesn't use it.
    pub payloads: Duration,
    /// How long an entry's key is remembered, so that the same entry does nothing when it comes again.
    /// `None`, the default, is for ever: about 60 bytes an entry. A homeserver repeats what it had no
    /// answer to, so that weeks are plenty for its events; an application's own entries may need more.
    pub keys: Option<Duration>,
}
