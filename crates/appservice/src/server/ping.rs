//! `POST /_matrix/app/v1/ping`
//!
//! [Specification](https://spec.matrix.org/v1.17/application-service-api/#post_matrixappv1ping)

use super::{Answer, ok};

/// The homeserver wants to know whether it reaches us. The body says only which call of ours made it
/// ask, so it isn't read.
pub(super) async fn post() -> Answer {
    ok()
}
