//! What only counts until something newer of its kind comes.

use crate::store::Merge;

/// An entry that takes the place of the one in the same slot, whether that one waits, is dead or is
/// being worked on. It has no natural key, and its row goes when it is done.
#[derive(Debug)]
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
