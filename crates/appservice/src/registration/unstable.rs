//! Fields that are in no released specification, but that homeservers read.

/// Fields of proposals that homeservers read. `None` means that the file doesn't set it, which is
/// `false` for a homeserver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unstable {
    /// `de.sorunome.msc2409.push_ephemeral`: what [`receive_ephemeral`] was called before it was
    /// specified. Synapse reads only this one up to 1.155.
    ///
    /// [`receive_ephemeral`]: super::Registration::receive_ephemeral
    pub msc2409_push_ephemeral: Option<bool>,
    /// `org.matrix.msc3202`: transactions carry device-list changes, one-time key counts and unused
    /// fallback keys. Needed for end-to-end encryption.
    pub msc3202: Option<bool>,
    /// `io.element.msc4190`: devices are made and deleted without logging in, and registering a ghost
    /// gives no access token.
    pub msc4190: Option<bool>,
    /// `io.element.msc4502.scopes`: extended privileges that the application service asks for.
    pub msc4502_scopes: Vec<String>,
    /// `io.element.msc4512.proxy_prefix`: paths that the homeserver hands on to
    /// [`msc4512_proxy_url`](Self::msc4512_proxy_url). One is useless without the other.
    pub msc4512_proxy_prefix: Option<String>,
    /// `io.element.msc4512.proxy_url`: where to.
    pub msc4512_proxy_url: Option<String>,
    /// `ip_range_whitelist` (Synapse): addresses of the application service that the homeserver may
    /// call although they are on its blocklist, as `10.0.0.0/8` or `::1`.
    pub ip_range_whitelist: Vec<String>,
}

/// Names in the file, in one place for reader, writer and lint.
pub(super) mod names {
    pub(in super::super) const PUSH_EPHEMERAL: &str = "de.sorunome.msc2409.push_ephemeral";
    pub(in super::super) const MSC3202: &str = "org.matrix.msc3202";
    pub(in super::super) const MSC4190: &str = "io.element.msc4190";
    pub(in super::super) const SCOPES: &str = "io.element.msc4502.scopes";
    pub(in super::super) const PROXY_PREFIX: &str = "io.element.msc4512.proxy_prefix";
    pub(in super::super) const PROXY_URL: &str = "io.element.msc4512.proxy_url";
    pub(in super::super) const IP_RANGES: &str = "ip_range_whitelist";
    pub(in super::super) const PREVIEW_URLS: &str = "uk.half-shot.msc4417.preview_urls";
}
