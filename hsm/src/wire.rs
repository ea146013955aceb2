//! Messages between client and worker: protobuf, each behind its length in four bytes.

use std::fmt;

use custody::{envelope::KeyWrap, group::Blob, name::KeyId};
use prost::{Message, Oneof};
use zeroize::Zeroize as _;

use crate::PinSource;

mod frame;
pub(crate) mod problem;
pub(crate) mod visit;

pub(crate) use frame::{BadFrame, Inbox, MAX_FRAME, put};
pub(crate) use problem::Problem;

/// Version of these messages.
pub(crate) const PROTOCOL: u32 = 1;
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
    /// The profile's name; empty if the module says itself what it is.
    #[prost(string, tag = "12")]
    pub(crate) profile: String,
    #[prost(string, repeated, tag = "13")]
    pub(crate) overrides: Vec<String>,
    #[prost(message, optional, tag = "14")]
    pub(crate) next_pin: Option<NextPin>,
    #[prost(bool, tag = "15")]
    pub(crate) keeps_pins: bool,
    #[prost(uint32, tag = "16")]
    pub(crate) unwrapped_keys: u32,
}

/// Where the worker finds the PIN that the token is to have next.
#[derive(Message)]
pub(crate) struct NextPin {
    #[prost(oneof = "PinFrom", tags = "5, 6, 7, 8")]
    pub(crate) from: Option<PinFrom>,
}

/// Where the worker finds the PIN.
#[derive(Clone, Oneof)]
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

impl From<&PinSource> for PinFrom {
    fn from(source: &PinSource) -> Self {
        match source {
            PinSource::Credential(name) => Self::Credential(name.clone()),
            PinSource::File(path) => Self::File(problem::bytes(path)),
            PinSource::Descriptor(_) => Self::Descriptor(true),
            PinSource::Prompt => Self::Prompt(true),
        }
    }
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
    #[prost(oneof = "Op", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10")]
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
    #[prost(message, tag = "9")]
    Rewrap(Rewrap),
    /// Destroy the group master key with this identifier.
    #[prost(bytes, tag = "10")]
    Destroy(Vec<u8>),
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
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub(crate) struct Reveal {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) gmk: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) blob: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) context: Vec<u8>,
}

/// Unwrap a DEK, and wrap it under another key.
#[derive(Message)]
pub(crate) struct Rewrap {
    #[prost(message, required, tag = "1")]
    pub(crate) from: Reveal,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) to: Vec<u8>,
    /// What the new wrap is bound to.
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
#[derive(Clone, Message)]
pub(crate) struct Load {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) id: Vec<u8>,
    #[prost(oneof = "Proof", tags = "2, 3")]
    pub(crate) proof: Option<Proof>,
}

/// What shows that a key is the right one.
#[derive(Clone, Oneof)]
pub(crate) enum Proof {
    #[prost(message, tag = "2")]
    Gmk(Gmk),
    /// The public key of a journal key.
    #[prost(bytes, tag = "3")]
    Journal(Vec<u8>),
}

/// A group master key: as proof, and as the answer to its generation.
#[derive(Clone, Message)]
pub(crate) struct Gmk {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) id: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(crate) wrapping: String,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) canary: Vec<u8>,
    /// The key itself, if it is no object of the token.
    #[prost(message, optional, boxed, tag = "4")]
    pub(crate) kept: Option<Box<Kept>>,
}

/// A group master key that is kept outside the token.
#[derive(Clone, Message)]
pub(crate) struct Kept {
    /// What unwraps it.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) root: Vec<u8>,
    /// How, by name.
    #[prost(string, tag = "2")]
    pub(crate) by: String,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) wrapped: Vec<u8>,
}

impl From<&Blob> for Kept {
    fn from(blob: &Blob) -> Self {
        Self {
            root: blob.root.as_bytes().to_vec(),
            by: blob.by.name().to_owned(),
            wrapped: blob.wrapped.clone(),
        }
    }
}

impl Kept {
    /// `None` if what it says makes no sense.
    pub(crate) fn blob(&self) -> Option<Blob> {
        Some(Blob {
            root: KeyId::from_bytes(&self.root)?,
            by: KeyWrap::from_name(&self.by)?,
            wrapped: self.wrapped.clone(),
        })
    }
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
    /// Whether it is to leave the token, wrapped.
    #[prost(bool, tag = "3")]
    pub(crate) wrapped: bool,
    /// By which key then; empty if that is to be made, too.
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) root: Vec<u8>,
}

/// What came of a request.
#[derive(Message)]
pub(crate) struct Answer {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(oneof = "Done", tags = "2, 3, 4, 5, 6, 7, 8, 9")]
    /// Missing if the worker has lost its token, and ends.
    pub(crate) done: Option<Done>,
    /// What the token answered amiss meanwhile, whether or not that was got over.
    #[prost(message, repeated, tag = "10")]
    pub(crate) amiss: Vec<Amiss>,
}

/// What the token answered to a call.
#[derive(Message)]
pub(crate) struct Amiss {
    /// The `C_` function.
    #[prost(string, tag = "1")]
    pub(crate) function: String,
    /// The `CKR_` code.
    #[prost(string, tag = "2")]
    pub(crate) code: String,
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
