//! The two sockets: handed over by systemd, or bound here; and who comes through them.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::UnixListener as StdListener,
    },
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use custody::journal::Surface;
use listenfd::ListenFd;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::transport::server::Connected;

use crate::{attest::Peer, custodian::Custodian};

/// A socket that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be {what}", .path.display())]
pub(crate) struct Error {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Finds each of `paths` among the sockets that systemd handed over, or binds it.
pub(crate) fn sockets<const N: usize>(paths: [&Path; N]) -> Result<[UnixListener; N], Error> {
    let mut handed = handed_over();
    let mut listeners = Vec::with_capacity(N);
    for path in paths {
        let found = handed.iter().position(|(bound, _)| bound == path);
        let listener = match found {
            Some(at) => handed.swap_remove(at).1,
            None => bind(path)?,
        };
        listeners.push(adopt(listener, path)?);
    }
    for (path, _) in handed {
        tracing::warn!(socket = %path.display(), "a socket was handed over that the configuration does not name");
    }
    Ok(listeners
        .try_into()
        .unwrap_or_else(|_| unreachable!("one for each path")))
}

fn handed_over() -> Vec<(PathBuf, StdListener)> {
    let mut descriptors = ListenFd::from_env();
    (0..descriptors.len())
        .filter_map(|at| {
            let listener = descriptors.take_unix_listener(at).ok()??;
            let path = listener.local_addr().ok()?.as_pathname()?.to_owned();
            Some((path, listener))
        })
        .collect()
}

/// Anyone may knock: who is let in is decided by attestation, not by the file's mode.
const MODE: u32 = 0o666;

fn bind(path: &Path) -> Result<StdListener, Error> {
    let failed = |what| {
        move |source| Error {
            what,
            path: path.to_owned(),
            source,
        }
    };
    // A daemon that was killed leaves its socket behind. There is one daemon to a state
    // directory, and it holds its lock by now.
    let socket = |found: fs::Metadata| found.file_type().is_socket();
    if fs::symlink_metadata(path).is_ok_and(socket) {
        fs::remove_file(path).map_err(failed("replaced"))?;
    }
    let listener = StdListener::bind(path).map_err(failed("bound"))?;
    fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(failed("opened to all"))?;
    Ok(listener)
}

fn adopt(listener: StdListener, path: &Path) -> Result<UnixListener, Error> {
    let failed = |source| Error {
        what: "used",
        path: path.to_owned(),
        source,
    };
    listener.set_nonblocking(true).map_err(failed)?;
    UnixListener::from_std(listener).map_err(failed)
}

/// A connection whose peer is pinned.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    peer: Arc<Peer>,
    _place: OwnedSemaphorePermit,
}

/// After an accept that failed for want of descriptors or memory, a short rest.
const REST: Duration = Duration::from_millis(50);

/// Accepts connections as long as anyone takes them, at most `limit` at a time. A peer
/// that cannot be attested is put on record and turned away; no error ends it.
pub(crate) fn connections(
    listener: UnixListener,
    surface: Surface,
    custodian: Arc<Custodian>,
    limit: usize,
) -> impl Stream<Item = io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(1);
    let places = Arc::new(Semaphore::new(limit));
    tokio::spawn(async move {
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = sender.closed() => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(REST).await;
                    continue;
                }
            };
            match Peer::of(&stream, custodian.attestor()).await {
                Ok(peer) => {
                    let connection = Connection {
                        stream,
                        peer: Arc::new(peer),
                        _place: place,
                    };
                    if sender.send(Ok(connection)).await.is_err() {
                        break;
                    }
                }
                Err((connected, doubt)) => {
                    tracing::warn!(?surface, ?connected, %doubt, "a peer was turned away");
                    let recorded = custodian
                        .unattested(surface, connected.pid, connected.uid, doubt.into())
                        .await;
                    if let Err(error) = recorded {
                        tracing::warn!(%error, "a refusal is not on record");
                    }
                }
            }
        }
    });
    ReceiverStream::new(receiver)
}

impl Connected for Connection {
    type ConnectInfo = Arc<Peer>;

    fn connect_info(&self) -> Arc<Peer> {
        Arc::clone(&self.peer)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
