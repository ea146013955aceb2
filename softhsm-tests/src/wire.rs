//! HTTP/2 by hand, a frame at a time: for clients that stop in the middle, change in the
//! middle, or give their connection away.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use prost::Message;

/// What a client says first (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection.
#[derive(Debug)]
pub struct Wire(UnixStream);

/// How long the other side may say nothing where it must speak or hang up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A frame, as it came.
#[derive(Debug)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// The stream it belongs to; 0 for the connection.
    pub stream: u32,
    /// What is in it.
    pub payload: Vec<u8>,
}

/// DATA (RFC 9113 §6.1).
pub const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
/// The last frame of its stream (RFC 9113 §6.1, §6.2).
pub const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

impl Wire {
    /// Connects, and says nothing.
    pub fn connect(socket: impl AsRef<Path>) -> io::Result<Self> {
        UnixStream::connect(socket).map(Self::over)
    }

    /// Goes on with a connection that exists.
    pub fn over(stream: UnixStream) -> Self {
        let patience = stream.set_read_timeout(Some(PATIENCE));
        patience.expect("a socket takes a timeout");
        Self(stream)
    }

    /// The connection, to be used in another way.
    pub fn stream(&mut self) -> &mut UnixStream {
        &mut self.0
    }

    /// Says that it speaks HTTP/2.
    pub fn greet(&mut self) -> io::Result<()> {
        self.0.write_all(PREFACE)?;
        self.send(SETTINGS, 0, 0, &[])
    }

    /// Calls a method such as "/custody.v1.Provider/Watch" on a stream: an odd number,
    /// higher than the last.
    pub fn call(&mut self, stream: u32, method: &str, message: &impl Message) -> io::Result<()> {
        let mut headers = vec![
            0x83, // :method POST
            0x86, // :scheme http
        ];
        literal(&mut headers, ":path", method);
        literal(&mut headers, ":authority", "custodyd");
        literal(&mut headers, "content-type", "application/grpc");
        literal(&mut headers, "te", "trailers");
        self.send(HEADERS, END_HEADERS, stream, &headers)?;
        let message = message.encode_to_vec();
        let length = u32::try_from(message.len()).expect("a short message");
        let mut body = vec![0];
        body.extend(length.to_be_bytes());
        body.extend(message);
        self.send(DATA, END_STREAM, stream, &body)
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).expect("a short frame");
        let mut frame = length.to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame)
    }

    /// The next frame; `None` once the other side has closed the connection.
    pub fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.read(&mut head)?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]);
        let mut payload = vec![0; usize::try_from(length).expect("it fits")];
        self.read(&mut payload)?;
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes(stream),
            payload,
        })
    }

    fn read(&mut self, buffer: &mut [u8]) -> Option<()> {
        match self.0.read_exact(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                panic!("the other side neither speaks nor hangs up")
            }
            outcome => outcome.ok(),
        }
    }

    /// The first piece of data that comes on `stream`; `None` if the stream or the
    /// connection ends without.
    pub fn data(&mut self, stream: u32) -> Option<Vec<u8>> {
        loop {
            let frame = self.frame()?;
            if frame.stream == stream && frame.kind == DATA {
                return Some(frame.payload);
            }
            if frame.stream == stream && frame.flags & END_STREAM != 0 {
                return None;
            }
        }
    }

    /// Reads until the other side closes the connection; gives what came.
    pub fn to_the_end(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.frame()).collect()
    }
}

/// A field that is not in any table, as it is (RFC 7541 §6.2.2).
fn literal(headers: &mut Vec<u8>, name: &str, value: &str) {
    headers.push(0);
    for text in [name, value] {
        headers.push(u8::try_from(text.len()).expect("a short text"));
        headers.extend(text.as_bytes());
    }
}
