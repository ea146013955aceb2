//! A connection whose peer is pinned, and which ends with it.

use std::{
    future::Future as _,
    io,
    os::fd::AsFd as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use custody::{caller::observation::Drift, journal::Surface};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::UnixStream,
    time::{Sleep, sleep},
};
use tonic::transport::server::Connected;

use super::{
    Doors,
    places::Place,
    sender::{Received, Slip, ask_for_senders},
};
use crate::{
    attest::{Life, Peer},
    config::Senders,
};

/// A connection whose peer is pinned. All of what is read was sent by that process, if
/// senders are checked; and nothing is read or written once it has ended.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    peer: Arc<Peer>,
    life: Life,
    /// Where the kernel writes who sends, if that is checked.
    slip: Option<Slip>,
    greeting: Option<Greeting>,
    over: bool,
    surface: Surface,
    doors: Arc<Doors>,
    _place: Place,
}

/// How long the client's connection preface is, which comes first (RFC 9113 §3.4).
const PREFACE: usize = 24;

/// What a client owes that has just connected.
#[derive(Debug)]
struct Greeting {
    missing: usize,
    deadline: Pin<Box<Sleep>>,
}

impl Greeting {
    fn within(time: Duration) -> Self {
        Self {
            missing: PREFACE,
            deadline: Box::pin(sleep(time)),
        }
    }
}

impl Connection {
    /// Takes over `stream`, which `peer` made.
    pub(super) fn new(
        stream: UnixStream,
        peer: Peer,
        surface: Surface,
        doors: Arc<Doors>,
        place: Place,
    ) -> io::Result<Self> {
        let peer = Arc::new(peer);
        let slip = match doors.attestation.senders {
            Senders::Checked => {
                // One that waited before the listener was asked may not have inherited it.
                ask_for_senders(&stream)?;
                Some(Slip::new())
            }
            Senders::Unchecked => None,
        };
        Ok(Self {
            life: peer.life()?,
            greeting: Some(Greeting::within(doors.limits().handshake)),
            over: false,
            stream,
            peer,
            slip,
            surface,
            doors,
            _place: place,
        })
    }

    /// An error once the peer has ended, or was found not to be the only one who sends;
    /// until then wakes whoever asks when it ends.
    fn go_on(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if !self.over && self.life.poll_end(context).is_ready() {
            self.over = true;
        }
        if self.over {
            let gone = "the process that connected is not there alone";
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, gone));
        }
        Ok(())
    }

    /// An error if the client still has not said that it speaks HTTP/2.
    fn be_greeted(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let overdue = |greeting: &mut Greeting| greeting.deadline.as_mut().poll(context).is_ready();
        if self.greeting.as_mut().is_some_and(overdue) {
            self.over = true;
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }

    fn received(&mut self, bytes: usize) {
        if let Some(greeting) = &mut self.greeting {
            greeting.missing = greeting.missing.saturating_sub(bytes);
            if greeting.missing == 0 {
                self.greeting = None;
            }
        }
    }

    fn refuse(&mut self, drift: Drift) -> io::Error {
        self.over = true;
        self.doors
            .turn_away(self.surface, self.peer.connected(), drift);
        io::Error::new(io::ErrorKind::PermissionDenied, drift)
    }

    fn receive(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(slip) = &mut self.slip else {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        };
        let connected = self.peer.connected();
        loop {
            ready!(self.stream.poll_read_ready(context))?;
            let unfilled = buffer.initialize_unfilled();
            let received = self.stream.try_io(Interest::READABLE, || {
                slip.receive(&self.stream.as_fd(), connected, unfilled)
            });
            match received {
                Ok(Received::Own(bytes)) => {
                    buffer.advance(bytes);
                    return Poll::Ready(Ok(()));
                }
                Ok(Received::Foreign(drift)) => return Poll::Ready(Err(self.refuse(drift))),
                // It is known by now that there is nothing to read.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
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
        self.go_on(context)?;
        let before = buffer.filled().len();
        match self.receive(context, buffer) {
            Poll::Ready(Ok(())) => {
                self.received(buffer.filled().len() - before);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.be_greeted(context)?;
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.go_on(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.go_on(context)?;
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
