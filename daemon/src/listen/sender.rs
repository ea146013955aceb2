//! Reading from a connection only what the process sent that made it.

use std::{
    io::{self, IoSliceMut},
    os::fd::{AsFd, AsRawFd as _},
};

use custody::caller::observation::{Credentials, Drift};
use nix::{
    cmsg_space,
    errno::Errno,
    sys::socket::{
        ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, setsockopt, sockopt::PassCred,
    },
};

/// From now on the kernel says of everything that `socket` receives who sent it. What
/// is accepted from a listener is asked for the same.
pub(super) fn ask_for_senders(socket: &impl AsFd) -> io::Result<()> {
    Ok(setsockopt(socket, PassCred, &true)?)
}

/// What one read came to.
#[derive(Debug)]
pub(super) enum Received {
    /// So many bytes of the process that connected; none at the end.
    Own(usize),
    /// Something that nobody may see.
    Foreign(Drift),
}

/// Room for what the kernel says of a sender, and for nothing more: no descriptor that
/// is passed along is ever taken in.
#[derive(Debug)]
pub(super) struct Slip(Vec<u8>);

impl Slip {
    pub(super) fn new() -> Self {
        Self(cmsg_space!(UnixCredentials))
    }

    /// Reads what one process sent: the kernel ends a read where the sender changes.
    pub(super) fn receive(
        &mut self,
        socket: &impl AsFd,
        connected: Credentials,
        buffer: &mut [u8],
    ) -> io::Result<Received> {
        let mut parts = [IoSliceMut::new(buffer)];
        let descriptor = socket.as_fd().as_raw_fd();
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<()>(descriptor, &mut parts, Some(&mut self.0), flags)?;
        if message.bytes == 0 {
            return Ok(Received::Own(0));
        }
        let said = match message.cmsgs() {
            Ok(mut said) => said.next(),
            // There was more than the sender to be told.
            Err(Errno::ENOBUFS) => return Ok(Received::Foreign(Drift::Descriptors)),
            Err(error) => return Err(error.into()),
        };
        Ok(match said {
            Some(ControlMessageOwned::ScmCredentials(sender))
                if (sender.pid(), sender.uid(), sender.gid())
                    == (connected.pid, connected.uid, connected.gid) =>
            {
                Received::Own(message.bytes)
            }
            _ => Received::Foreign(Drift::Sender),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{IoSlice, Write as _},
        os::{fd::OwnedFd, unix::net::UnixStream},
        process::{Command, Stdio},
    };

    use nix::{
        sys::socket::{ControlMessage, sendmsg},
        unistd::{getgid, getpid, getuid},
    };

    use super::*;

    /// Two ends, the second of which asks who sends; and who we are.
    fn pair() -> (UnixStream, UnixStream, Credentials) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ask_for_senders(&theirs).unwrap();
        let own = Credentials {
            pid: getpid().as_raw(),
            uid: getuid().as_raw(),
            gid: getgid().as_raw(),
        };
        (ours, theirs, own)
    }

    fn receive(from: &UnixStream, connected: Credentials) -> Received {
        Slip::new().receive(from, connected, &mut [0; 64]).unwrap()
    }

    #[test]
    fn what_the_one_sent_who_connected_is_received() {
        let (mut ours, theirs, own) = pair();
        let nothing = Slip::new().receive(&theirs, own, &mut [0; 64]);
        assert_eq!(nothing.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        ours.write_all(b"hello").unwrap();
        assert!(matches!(receive(&theirs, own), Received::Own(5)));
        drop(ours);
        assert!(matches!(receive(&theirs, own), Received::Own(0)));
    }

    #[test]
    fn what_anyone_else_sent_is_not() {
        let (mut ours, theirs, own) = pair();
        for other in [
            Credentials { pid: 1, ..own },
            Credentials {
                uid: own.uid + 1,
                ..own
            },
            Credentials {
                gid: own.gid + 1,
                ..own
            },
        ] {
            ours.write_all(b"hello").unwrap();
            let received = receive(&theirs, other);
            assert!(matches!(received, Received::Foreign(Drift::Sender)));
        }
    }

    #[test]
    fn what_a_child_sends_after_its_parent_is_not_received_with_what_the_parent_sent() {
        let (mut ours, theirs, own) = pair();
        ours.write_all(b"hello").unwrap();
        let child = Command::new("echo")
            .stdout(Stdio::from(OwnedFd::from(ours)))
            .status();
        assert!(child.unwrap().success());
        assert!(matches!(receive(&theirs, own), Received::Own(5)));
        let received = receive(&theirs, own);
        assert!(matches!(received, Received::Foreign(Drift::Sender)));
    }

    #[test]
    fn without_a_word_on_who_sent_it_nothing_is_received() {
        let (mut ours, theirs, own) = pair();
        setsockopt(&theirs, PassCred, &false).unwrap();
        ours.write_all(b"hello").unwrap();
        let received = receive(&theirs, own);
        assert!(matches!(received, Received::Foreign(Drift::Sender)));
    }

    #[test]
    fn descriptors_are_refused_and_not_taken_in() {
        let (ours, theirs, own) = pair();
        let (passed, other_end) = UnixStream::pair().unwrap();
        let rights = [passed.as_raw_fd(); 3];
        let message = [IoSlice::new(b"hello")];
        let control = [ControlMessage::ScmRights(&rights)];
        sendmsg::<()>(
            ours.as_raw_fd(),
            &message,
            &control,
            MsgFlags::empty(),
            None,
        )
        .unwrap();
        drop(passed);
        let received = receive(&theirs, own);
        assert!(matches!(received, Received::Foreign(Drift::Descriptors)));
        // Nobody holds the one that was passed: its other end has nobody to read from.
        other_end.set_nonblocking(true).unwrap();
        let read = io::Read::read(&mut &other_end, &mut [0; 1]);
        assert_eq!(read.unwrap(), 0);
    }
}
