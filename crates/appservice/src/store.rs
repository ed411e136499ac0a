//! Where the journal keeps its rows.

pub(crate) mod sqlite;
