//! A gRPC channel over a Unix socket.

use std::{
    error::Error as StdError,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, time::sleep};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::Error;

/// How long one answer may take. Longer than custodyd waits for its token, so that its
/// own refusal arrives first.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long to queue for a listener whose backlog is full.
const PATIENCE: Duration = Duration::from_secs(2);

/// Connects now, so that a wrong path is told at once, and again by itself whenever
/// the connection is lost.
pub(crate) async fn connect(path: PathBuf) -> Result<Channel, Error> {
    let socket = path.clone();
    let connector = service_fn(move |_| {
        let socket = socket.clone();
        async move { open(&socket).await.map(TokioIo::new) }
    });
    // The name is never resolved: the connector knows where to go.
    Endpoint::from_static("http://custodyd")
        .timeout(DEADLINE)
        .connect_with_connector(connector)
        .await
        .map_err(|error| Error::Connect {
            path,
            source: cause(&error),
        })
}

async fn open(socket: &Path) -> io::Result<UnixStream> {
    let start = Instant::now();
    loop {
        match UnixStream::connect(socket).await {
            // EAGAIN, unix(7): the backlog is full. There is nothing to poll for.
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && start.elapsed() < PATIENCE =>
            {
                sleep(Duration::from_millis(10)).await;
            }
            outcome => return outcome,
        }
    }
}

/// The kernel's error at the bottom of tonic's.
fn cause(error: &tonic::transport::Error) -> io::Error {
    let mut link: Option<&(dyn StdError + 'static)> = Some(error);
    let mut last = error.to_string();
    while let Some(error) = link {
        if let Some(code) = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
        {
            return io::Error::from_raw_os_error(code);
        }
        last = error.to_string();
        link = error.source();
    }
    io::Error::other(last)
}
