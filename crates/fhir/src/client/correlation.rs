//! One id for all that is asked because of one thing, so that it is found in the server's log and audit trail.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use reqwest::header::{HeaderMap, HeaderValue};

tokio::task_local! {
    static CORRELATION: Arc<str>;
}

/// Runs `work`; every request that it makes bears `id` as `X-Correlation-Id`, and an id of its own that begins with it as
/// `X-Request-Id`. Tasks that it spawns don't. An id that no header can carry is left out.
///
/// Spec: <http://hl7.org/fhir/R4/http.html#custom>
///
/// ```
/// # use fhir::{FhirClient, correlated};
/// # async fn read(client: &FhirClient) {
/// let info = correlated("matrix-17", client.capability()).await;
/// # }
/// ```
pub async fn correlated<F: Future>(id: &str, work: F) -> F::Output {
    CORRELATION.scope(Arc::from(id), work).await
}

/// The headers of a request that is made now.
pub(super) fn headers() -> HeaderMap {
    static REQUESTS: AtomicU64 = AtomicU64::new(0);
    let mut headers = HeaderMap::new();
    let Ok(id) = CORRELATION.try_with(Arc::clone) else {
        return headers;
    };
    let number = REQUESTS.fetch_add(1, Ordering::Relaxed);
    let both = (
        HeaderValue::try_from(&*id),
        HeaderValue::try_from(format!("{id}.{number}")),
    );
    if let (Ok(correlation), Ok(request)) = both {
        headers.insert("x-correlation-id", correlation);
        headers.insert("x-request-id", request);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_asked_within_bears_the_id_and_nothing_else_does() {
        let of = |headers: &HeaderMap, name: &str| {
            headers
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let (first, second) = correlated("matrix-17", async { (headers(), headers()) }).await;
        for headers in [&first, &second] {
            assert_eq!(
                of(headers, "x-correlation-id").as_deref(),
                Some("matrix-17")
            );
            assert!(
                of(headers, "x-request-id")
                    .unwrap()
                    .starts_with("matrix-17.")
            );
        }
        assert_ne!(of(&first, "x-request-id"), of(&second, "x-request-id"));
        assert!(headers().is_empty());
        assert!(
            correlated("no\nheader", async { headers() })
                .await
                .is_empty()
        );
    }
}
