//! Fields that this version of the library doesn't know, kept as they stood.

use std::fmt;

use serde_yaml::{Mapping, Value};

/// Fields of the file that this version of the library doesn't know: kept, and written back.
///
/// `Debug` shows their names only: a value may be a token whose field's name was misspelt.
#[derive(Clone, Default, PartialEq)]
pub struct UnknownFields(Mapping);

impl UnknownFields {
    pub(super) fn new(fields: Mapping) -> Self {
        Self(fields)
    }

    /// What stands in the field `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Sets a field, and gives what stood there before.
    ///
    /// A field that the library knows belongs in its own place: set here, it would stand in the file
    /// twice, and the registration is refused when it is written.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        self.0.insert(Value::String(name.into()), value.into())
    }

    /// The fields' names, in the file's order. YAML allows names that are no strings; these are kept
    /// too, but left out here.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().filter_map(Value::as_str)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Value, &Value)> {
        self.0.iter()
    }
}

impl fmt::Debug for UnknownFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
