//! Messages between client and worker: protobuf, each behind its length in four bytes.

use std::{fmt, ops::Range};

use prost::{Message, Oneof};
use zeroize::{Zeroize as _, Zeroizing};

pub(crate) mod problem;

pub(crate) use problem::Problem;

/// Version of these messages.
pub(crate) const PROTOCOL: u32 = 1;
/// The most bytes that a message has.
pub(crate) const MAX_FRAME: usize = 64 * 1024;
/// The most random bytes that are asked for at once: a seed is much shorter.
pub(crate) const MAX_RANDOM: usize = 256;

/// The first message to a worker. The descriptors for the PIN travel along with it.
#[derive(Message)]
pub(crate) struct Hello {
    #[prost(uint32, tag = "1")]
    pub(crate) protocol: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) parent: u32,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) module: Vec<u8>,
    #[prost(string, tag = "4")]
    pub(crate) token: String,
    #[prost(oneof = "PinFrom", tags = "5, 6, 7, 8")]
    pub(crate) pin: Option<PinFrom>,
    #[prost(bytes = "vec", tag = "9")]
    pub(crate) pin_latch: Vec<u8>,
    #[prost(uint32, tag = "10")]
    pub(crate) sessions: u32,
    #[prost(string, repeated, tag = "11")]
    pub(crate) wrappings: Vec<String>,
}

/// Where the worker finds the PIN.
#[derive(Oneof)]
pub(crate) enum PinFrom {
    #[prost(string, tag = "5")]
    Credential(String),
    #[prost(bytes, tag = "6")]
    File(Vec<u8>),
    /// The second descriptor that came along.
    #[prost(bool, tag = "7")]
    Descriptor(bool),
    #[prost(bool, tag = "8")]
    Prompt(bool),
}

/// What a worker says before it serves.
#[derive(Message)]
pub(crate) struct Boot {
    #[prost(oneof = "Stage", tags = "1, 2, 3, 4")]
    pub(crate) stage: Option<Stage>,
}

/// How far a worker has come.
#[derive(Oneof)]
pub(crate) enum Stage {
    /// Somebody is being asked for the PIN.
    #[prost(bool, tag = "1")]
    Asking(bool),
    /// The PIN is there.
    #[prost(bool, tag = "2")]
    Asked(bool),
    /// It serves.
    #[prost(message, tag = "3")]
    Ready(Token),
    #[prost(message, tag = "4")]
    Problem(Problem),
}

/// A token's description.
#[derive(Message)]
pub(crate) struct Token {
    #[prost(string, tag = "1")]
    pub(crate) label: String,
    #[prost(string, tag = "2")]
    pub(crate) serial: String,
    #[prost(string, tag = "3")]
    pub(crate) manufacturer: String,
    #[prost(string, tag = "4")]
    pub(crate) model: String,
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) module: Vec<u8>,
}

/// Something for a worker to do.
#[derive(Message)]
pub(crate) struct Request {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(oneof = "Op", tags = "2, 3, 4, 5, 6, 7, 8")]
    pub(crate) op: Option<Op>,
}

/// What to do.
#[derive(Oneof)]
pub(crate) enum Op {
    #[prost(message, tag = "2")]
    Protect(Protect),
    #[prost(message, tag = "3")]
    Reveal(Reveal),
    #[prost(message, tag = "4")]
    Sign(Sign),
    #[prost(message, tag = "5")]
    Load(Load),
    #[prost(message, tag = "6")]
    Generate(Generate),
    /// Open the canary of the key with this identifier.
    #[prost(bytes, tag = "7")]
    CheckCanary(Vec<u8>),
    /// Give so many random bytes.
    #[prost(uint32, tag = "8")]
    Random(u32),
}

/// Wrap a DEK.
#[derive(Message)]
pub(crate) struct Protect {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) gmk: Vec<u8>,
    #[prost(message, required, tag = "2")]
    pub(crate) dek: Secret,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) context: Vec<u8>,
}

/// Unwrap a DEK.
#[derive(Message)]
pub(crate) struct Reveal {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) gmk: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) blob: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) context: Vec<u8>,
}

/// Sign a digest.
#[derive(Message)]
pub(crate) struct Sign {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) digest: Vec<u8>,
}

/// Find a key, check it and remember it.
#[derive(Message)]
pub(crate) struct Load {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) id: Vec<u8>,
    #[prost(oneof = "Proof", tags = "2, 3")]
    pub(crate) proof: Option<Proof>,
}

/// What shows that a key is the right one.
#[derive(Oneof)]
pub(crate) enum Proof {
    #[prost(message, tag = "2")]
    Gmk(Gmk),
    /// The public key of a journal key.
    #[prost(bytes, tag = "3")]
    Journal(Vec<u8>),
}

/// A group master key: as proof, and as the answer to its generation.
#[derive(Message)]
pub(crate) struct Gmk {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) id: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(crate) wrapping: String,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) canary: Vec<u8>,
}

/// A journal key, generated.
#[derive(Message)]
pub(crate) struct Journal {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) public_key: Vec<u8>,
}

/// Make a key.
#[derive(Message)]
pub(crate) struct Generate {
    #[prost(bool, tag = "1")]
    pub(crate) journal: bool,
    #[prost(string, tag = "2")]
    pub(crate) label: String,
}

/// What came of a request.
#[derive(Message)]
pub(crate) struct Answer {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(oneof = "Done", tags = "2, 3, 4, 5, 6, 7, 8, 9")]
    pub(crate) done: Option<Done>,
}

/// An answer's content.
#[derive(Oneof)]
pub(crate) enum Done {
    #[prost(bool, tag = "2")]
    Good(bool),
    #[prost(message, tag = "3")]
    Revealed(Secret),
    #[prost(bytes, tag = "4")]
    Wrapped(Vec<u8>),
    #[prost(bytes, tag = "5")]
    Signed(Vec<u8>),
    #[prost(message, tag = "6")]
    Gmk(Gmk),
    #[prost(message, tag = "7")]
    Journal(Journal),
    #[prost(message, tag = "8")]
    Problem(Problem),
    #[prost(message, tag = "9")]
    Random(Secret),
}

/// Key bytes, or what keys are made of; wiped when dropped.
#[derive(Message)]
#[prost(skip_debug)]
pub(crate) struct Secret {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) bytes: Vec<u8>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// Bytes that are no message of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadFrame {
    #[error("a message of {0} bytes is over the limit of {MAX_FRAME}")]
    TooLong(usize),
    #[error("a message cannot be decoded")]
    Undecodable,
}

/// Appends `message` behind its length.
pub(crate) fn put(out: &mut Vec<u8>, message: &impl Message) -> Result<(), BadFrame> {
    let len = message.encoded_len();
    let prefix = u32::try_from(len)
        .ok()
        .filter(|_| len <= MAX_FRAME)
        .ok_or(BadFrame::TooLong(len))?;
    out.reserve(4 + len);
    out.extend_from_slice(&prefix.to_be_bytes());
    message.encode_raw(out);
    Ok(())
}

/// Bytes that arrived, until they are taken out as messages. What was taken is wiped.
pub(crate) struct Inbox {
    bytes: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Zeroizing::new(vec![0; 2 * (MAX_FRAME + 4)]),
            start: 0,
            end: 0,
        }
    }

    /// Room to read into; never empty as long as complete messages are taken out.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.bytes.len() - self.end < MAX_FRAME + 4 {
            let (start, end) = (self.start, self.end);
            self.bytes.copy_within(start..end, 0);
            self.bytes[end - start..end].zeroize();
            (self.start, self.end) = (0, end - start);
        }
        &mut self.bytes[self.end..]
    }

    /// Says that `count` bytes of the room were filled.
    pub(crate) fn filled(&mut self, count: usize) {
        self.end += count;
    }

    /// How many messages are complete, counting to `most`.
    pub(crate) fn complete(&self, most: usize) -> Result<usize, BadFrame> {
        let (mut count, mut at) = (0, self.start);
        while count < most
            && let Some(frame) = self.frame_at(at)?
        {
            count += 1;
            at = frame.end;
        }
        Ok(count)
    }

    /// Takes the first complete message out.
    pub(crate) fn take<M: Message + Default>(&mut self) -> Result<Option<M>, BadFrame> {
        let Some(frame) = self.frame_at(self.start)? else {
            return Ok(None);
        };
        let message = M::decode(&self.bytes[frame.clone()]);
        self.start = frame.end;
        self.bytes[frame].zeroize();
        message.map(Some).map_err(|_| BadFrame::Undecodable)
    }

    fn frame_at(&self, at: usize) -> Result<Option<Range<usize>>, BadFrame> {
        let Some(prefix) = self.bytes[at..self.end].first_chunk::<4>() else {
            return Ok(None);
        };
        let len = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
        if len > MAX_FRAME {
            return Err(BadFrame::TooLong(len));
        }
        let frame = at + 4..at + 4 + len;
        Ok((frame.end <= self.end).then_some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(id: u64) -> Answer {
        Answer {
            id,
            done: Some(Done::Revealed(Secret { bytes: vec![7; 32] })),
        }
    }

    #[test]
    fn messages_come_out_whole_however_they_came_in() {
        let mut out = Vec::new();
        for id in 1..=2000 {
            put(&mut out, &answer(id)).unwrap();
        }
        let (mut inbox, mut expected) = (Inbox::new(), 1);
        for piece in out.chunks(1009) {
            let space = inbox.space();
            space[..piece.len()].copy_from_slice(piece);
            inbox.filled(piece.len());
            while let Some(message) = inbox.take::<Answer>().unwrap() {
                assert_eq!(message.id, expected);
                expected += 1;
            }
        }
        assert_eq!(expected, 2001);
    }

    #[test]
    fn what_was_taken_is_wiped() {
        let mut out = Vec::new();
        put(&mut out, &answer(1)).unwrap();
        let mut inbox = Inbox::new();
        inbox.space()[..out.len()].copy_from_slice(&out);
        inbox.filled(out.len());
        inbox.take::<Answer>().unwrap().unwrap();
        assert!(!inbox.bytes.contains(&7));
    }

    #[test]
    fn a_message_over_the_limit_is_refused_by_its_length() {
        let mut inbox = Inbox::new();
        inbox.space()[..4].copy_from_slice(&u32::MAX.to_be_bytes());
        inbox.filled(4);
        let refused = Err(BadFrame::TooLong(4_294_967_295));
        assert_eq!(inbox.complete(1), refused);
        let long = Request {
            id: 1,
            op: Some(Op::CheckCanary(vec![0; MAX_FRAME])),
        };
        assert!(put(&mut Vec::new(), &long).is_err());
    }

    #[test]
    fn key_bytes_do_not_print() {
        assert!(!format!("{:?}", answer(1)).contains('7'));
    }
}
