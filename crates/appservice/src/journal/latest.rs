//! What only counts until something newer of its kind comes.

/// Joins the payload that waits with the one that came, to one that says what both say.
pub(crate) type Merge = fn(old: &[u8], new: &[u8]) -> Vec<u8>;

/// An entry that takes the place of the one in the same slot, whether that one waits, is dead or is
/// being worked on. It has no natural key, and its row goes when it is done.
pub(crate) struct Latest {
    pub(crate) source: &'static str,
    pub(crate) lane: String,
    /// At most one entry has it.
    pub(crate) slot: String,
    pub(crate) payload: Vec<u8>,
    /// For what has to be kept of the entry that is replaced; otherwise it is forgotten.
    pub(crate) merge: Option<Merge>,
    /// Nobody asks for it yet.
    pub(crate) kept: bool,
}

/// Which entries a dispatcher works off. The two share no worker, so that neither holds the other
/// back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    /// Entries that are handled each.
    Each,
    /// Entries of which the latest counts.
    Latest,
}
