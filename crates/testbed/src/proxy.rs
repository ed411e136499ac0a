//! TLS in front of the homeservers, and the links between them.
//!
//! Each homeserver has a listener of its own on port 8448. The proxy ends TLS there and passes the bytes on to the
//! homeserver's plain HTTP port. A link can be cut and restored, to see what a homeserver's absence does to the others.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::ServerConfig;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::background;

/// Connections that a homeserver may have at a time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 512;
/// How long a peer may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The TLS proxy of a testbed.
#[derive(Debug)]
pub struct Proxy {
    links: BTreeMap<String, watch::Sender<Link>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Up,
    Cut,
}

/// Where a homeserver is reached by others, and where it listens itself.
pub(crate) struct Route {
    pub(crate) name: String,
    pub(crate) listener: StdListener,
    pub(crate) backend: SocketAddr,
}

impl Proxy {
    /// Serves the routes until [`Proxy::stop`], on the testbed's own runtime.
    pub(crate) fn start(tls: &Arc<ServerConfig>, routes: Vec<Route>) -> Result<Self> {
        let runtime = background::handle()?;
        let _entered = runtime.enter();
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let mut links = BTreeMap::new();
        for route in routes {
            route.listener.set_nonblocking(true)?;
            let (link, changes) = watch::channel(Link::Up);
            let server = Server {
                listener: TcpListener::from_std(route.listener)?,
                backend: route.backend,
                tls: TlsAcceptor::from(Arc::clone(tls)),
                link: changes,
                stop: stop.clone(),
                tasks: tasks.clone(),
            };
            tasks.spawn_on(server.run(), runtime);
            links.insert(route.name, link);
        }
        Ok(Self { links, stop, tasks })
    }

    /// Cuts a homeserver off from the others: its connections break, and new ones are closed at once.
    ///
    /// What the homeserver itself opens to the others goes through *their* links.
    ///
    /// # Errors
    ///
    /// When there is no homeserver of that name.
    pub fn cut(&self, homeserver: &str) -> Result<()> {
        self.set(homeserver, Link::Cut)
    }

    /// Makes a homeserver reachable again.
    ///
    /// # Errors
    ///
    /// When there is no homeserver of that name.
    pub fn restore(&self, homeserver: &str) -> Result<()> {
        self.set(homeserver, Link::Up)
    }

    /// Closes the listeners and all connections.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn set(&self, homeserver: &str, link: Link) -> Result<()> {
        self.links
            .get(homeserver)
            .with_context(|| format!("the proxy knows no homeserver {homeserver}"))?
            .send_replace(link);
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Server {
    listener: TcpListener,
    backend: SocketAddr,
    tls: TlsAcceptor,
    link: watch::Receiver<Link>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    async fn run(self) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.accept()).await;
    }

    async fn accept(&self) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, or the peer was gone already: neither ends the proxy.
                    tracing::warn!(%error, "the proxy could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let mut link = self.link.clone();
            let connection = forward(stream, self.tls.clone(), self.backend);
            let stop = self.stop.clone();
            self.tasks.spawn(async move {
                tokio::select! {
                    // In this order: behind a cut link not even what has come already is read, such as the first
                    // words of a handshake.
                    biased;
                    () = stop.cancelled() => {}
                    // The sender going away ends the connection, too.
                    _ = link.wait_for(|link| *link == Link::Cut) => {}
                    result = connection => {
                        if let Err(error) = result {
                            tracing::debug!(%error, "a connection through the proxy ended early");
                        }
                    }
                }
                drop(place);
            });
        }
    }
}

async fn forward(stream: TcpStream, tls: TlsAcceptor, backend: SocketAddr) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut outside = timeout(HANDSHAKE, tls.accept(stream)).await??;
    let mut inside = TcpStream::connect(backend).await?;
    inside.set_nodelay(true)?;
    copy_bidirectional(&mut outside, &mut inside).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;

    use super::*;
    use crate::ca::{Ca, tests::client_config};

    struct Setup {
        ca: Ca,
        proxy: Proxy,
        address: SocketAddr,
        _folder: tempfile::TempDir,
    }

    /// A proxy in front of a server that sends back what it gets.
    async fn setup() -> Setup {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::create(folder.path(), "127.7.8".parse().unwrap()).unwrap();
        let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let route = Route {
            name: "huisarts".to_owned(),
            listener,
            backend: backend.local_addr().unwrap(),
        };
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = backend.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        let proxy = Proxy::start(&ca.server_config().unwrap(), vec![route]).unwrap();
        Setup {
            ca,
            proxy,
            address,
            _folder: folder,
        }
    }

    impl Setup {
        async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
            let stream = TcpStream::connect(self.address).await?;
            let name = ServerName::try_from("huisarts").unwrap();
            TlsConnector::from(client_config(&self.ca))
                .connect(name, stream)
                .await
        }
    }

    async fn say(stream: &mut TlsStream<TcpStream>, text: &str) -> std::io::Result<String> {
        stream.write_all(text.as_bytes()).await?;
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer).await?;
        Ok(String::from_utf8(answer).unwrap())
    }

    #[tokio::test]
    async fn what_comes_over_tls_reaches_the_homeserver_and_back() {
        let setup = setup().await;
        let mut stream = setup.connect().await.unwrap();
        assert_eq!(say(&mut stream, "hello").await.unwrap(), "hello");
        assert_eq!(say(&mut stream, "again").await.unwrap(), "again");
    }

    #[tokio::test]
    async fn a_cut_link_breaks_open_connections_and_lets_no_new_ones_in_until_it_is_restored() {
        let setup = setup().await;
        let mut stream = setup.connect().await.unwrap();
        assert_eq!(say(&mut stream, "before").await.unwrap(), "before");

        setup.proxy.cut("huisarts").unwrap();
        say(&mut stream, "during").await.unwrap_err();
        setup.connect().await.unwrap_err();

        setup.proxy.restore("huisarts").unwrap();
        let mut stream = setup.connect().await.unwrap();
        assert_eq!(say(&mut stream, "after").await.unwrap(), "after");
        setup.proxy.cut("ziekenhuis").unwrap_err();
    }

    #[tokio::test]
    async fn a_stopped_proxy_listens_no_longer() {
        let setup = setup().await;
        let mut stream = setup.connect().await.unwrap();
        setup.proxy.stop().await;
        say(&mut stream, "hello").await.unwrap_err();
        StdListener::bind(setup.address).unwrap();
    }
}
