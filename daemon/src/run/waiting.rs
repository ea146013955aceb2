//! While the token is not there: it is tried again and again, and who comes is told to come back.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixStream},
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    body::Body,
    codegen::Service,
    server::NamedService,
    transport::{Server, server::Connected},
};
use tonic_health::ServingStatus;

use super::{Failure, notify};
use crate::{api, listen::Sockets};

/// How long a connection lasts at most, and how often one is accepted: so there are few at a
/// time, whoever makes them.
const AGE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// How long it may take those who are there to leave.
const LEAVE: Duration = Duration::from_secs(1);

/// What the service manager is told to allow, beyond the next attempt.
const GRACE: Duration = Duration::from_secs(90);

/// The attempts to have the token.
#[derive(Debug)]
pub(crate) struct Attempts<'a> {
    waits_at: Option<&'a Sockets>,
    longest_wait: Duration,
    /// Why the last one failed.
    told: Option<String>,
    anteroom: Option<Anteroom>,
}

impl<'a> Attempts<'a> {
    /// One.
    pub(crate) fn one() -> Self {
        Self {
            waits_at: None,
            longest_wait: Duration::ZERO,
            told: None,
            anteroom: None,
        }
    }

    /// As many as it takes, while whoever comes to `sockets` is told to come back.
    pub(super) fn many(sockets: &'a Sockets, longest_wait: Duration) -> Self {
        Self {
            waits_at: Some(sockets),
            longest_wait,
            ..Self::one()
        }
    }

    /// Tells that an attempt failed, if another may do better.
    ///
    /// # Errors
    ///
    /// That failure.
    pub(super) fn after(&mut self, error: hsm::Error) -> Result<(), Failure> {
        let Some(sockets) = self.waits_at.filter(|_| error.may_pass()) else {
            return Err(error.into());
        };
        if self.anteroom.is_none() {
            self.anteroom = Some(Anteroom::open(sockets)?);
        }
        let problem = error.to_string();
        let allowed = u32::try_from((self.longest_wait + GRACE).as_micros()).unwrap_or(u32::MAX);
        notify(&[
            NotifyState::Status(&format!("waiting for the token: {problem}")),
            NotifyState::ExtendTimeoutUsec(allowed),
        ]);
        if self.told.as_ref() != Some(&problem) {
            tracing::warn!(%problem, "the token is not usable yet; it is tried again");
            self.told = Some(problem);
        }
        Ok(())
    }

    /// The token is there: who comes waits until they are served.
    pub(super) async fn succeeded(self) {
        if let Some(anteroom) = self.anteroom {
            tracing::info!("the token is there");
            notify(&[NotifyState::Status("")]);
            anteroom.close().await;
        }
    }
}

/// Where everybody is told that there is no token yet.
#[derive(Debug)]
struct Anteroom {
    closing: watch::Sender<bool>,
    servers: JoinHandle<()>,
}

impl Anteroom {
    /// Answers on the sockets, until it is closed.
    fn open(sockets: &Sockets) -> Result<Self, Failure> {
        let (closing, closed) = watch::channel(false);
        let [manager, provider] = sockets.again().map_err(Failure::Runtime)?;
        let servers = [manager, provider].map(|listener| serve(listener, closed.clone()));
        let servers = tokio::spawn(async move {
            let [manager, provider] = servers;
            tokio::join!(manager, provider);
        });
        Ok(Self { closing, servers })
    }

    /// Leaves the sockets to others.
    async fn close(self) {
        self.closing.send_replace(true);
        let abort = self.servers.abort_handle();
        if tokio::time::timeout(LEAVE, self.servers).await.is_err() {
            abort.abort();
        }
    }
}

async fn serve(listener: UnixListener, mut closed: watch::Receiver<bool>) {
    let (reporter, health) = tonic_health::server::health_reporter();
    for service in ["", Manager::NAME, Provider::NAME] {
        reporter
            .set_service_status(service, ServingStatus::NotServing)
            .await;
    }
    let served = Server::builder()
        .add_service(health)
        .add_service(Manager)
        .add_service(Provider)
        .serve_with_incoming_shutdown(few(listener, closed.clone()), async move {
            // An error means that whoever would tell us is gone.
            drop(closed.wait_for(|closed| *closed).await);
        })
        .await;
    if let Err(error) = served {
        tracing::warn!(%error, "nobody is told that the token is waited for");
    }
}

/// Connections, a few at a time.
fn few(
    listener: UnixListener,
    mut closed: watch::Receiver<bool>,
) -> ReceiverStream<io::Result<Guest>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = closed.wait_for(|closed| *closed) => return,
            };
            if let Ok((stream, _)) = accepted
                && sender
                    .send(Ok(Guest::new(stream, closed.clone())))
                    .await
                    .is_err()
            {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    ReceiverStream::new(receiver)
}

/// A connection that ends after a while, and when the anteroom is closed.
struct Guest {
    stream: UnixStream,
    leave: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Guest {
    fn new(stream: UnixStream, mut closed: watch::Receiver<bool>) -> Self {
        let leave = async move {
            let closed = closed.wait_for(|closed| *closed);
            drop(tokio::time::timeout(AGE, closed).await);
        };
        Self {
            stream,
            leave: Box::pin(leave),
        }
    }
}

impl Connected for Guest {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.leave.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Pin::new(&mut self.stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Guest {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A service that answers every call so.
macro_rules! absent {
    ($name:ident, $service:literal) => {
        #[derive(Clone, Copy, Debug)]
        struct $name;

        impl NamedService for $name {
            const NAME: &'static str = $service;
        }

        impl Service<http::Request<Body>> for $name {
            type Response = http::Response<Body>;
            type Error = Infallible;
            type Future = Ready<Result<Self::Response, Infallible>>;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, _: http::Request<Body>) -> Self::Future {
                ready(Ok(api::status::no_token().into_http()))
            }
        }
    };
}

absent!(Manager, "custody.v1.Manager");
absent!(Provider, "custody.v1.Provider");
