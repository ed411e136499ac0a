//! From the errors of the FHIR side and of the links to what shall become of an entry.

#![allow(
    clippy::needless_pass_by_value,
    reason = "their shape is that of `map_err`"
)]

use matrix_appservice::{HandlerError, Retry};

use crate::links::LinksError;

/// What became of a call to the FHIR server decides whether the entry is tried again.
pub(crate) fn fhir(error: fhir::Error) -> HandlerError {
    let retry = match (error.retry(), &error) {
        (fhir::Retry::Later(Some(pause)), _) => Retry::After(pause),
        // Nothing is wrong with the entry: the server is away, or does not let us in for now.
        (
            _,
            fhir::Error::Unavailable { .. }
            | fhir::Error::Unauthorized { .. }
            | fhir::Error::Credentials { .. },
        ) => Retry::WhenAvailable,
        (fhir::Retry::Later(None), _) => Retry::Backoff,
        (fhir::Retry::Never, _) => Retry::Never,
    };
    HandlerError::new(error.to_string(), retry)
}

/// The links are beside the journal, in a file or in PostgreSQL: when they fail, a person has to look or it is back soon,
/// and meanwhile nothing is given up.
pub(crate) fn links(error: LinksError) -> HandlerError {
    tracing::error!(cause = ?std::error::Error::source(&error).map(ToString::to_string), "{error}");
    HandlerError::unavailable(error.to_string())
}
