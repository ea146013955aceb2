//! Messages between daemon and helper: protobuf, several to a datagram.

use std::{os::unix::ffi::OsStrExt as _, path::PathBuf};

use custody::caller::observation::{Doubt, Exe, ExeDoubt, Namespaces};
use prost::{Message, Oneof};

use super::super::{
    digest::Digest as Digested,
    look::Look as Looked,
    surroundings::{FileFacts, Owned as OwnedBy},
};

/// No datagram is larger.
pub(super) const DATAGRAM: usize = 64 * 1024;
/// As many bytes of answers are sent at once; one more answer still fits a datagram.
pub(super) const ENOUGH: usize = 32 * 1024;

/// What the daemon sends.
#[derive(Message)]
pub(super) struct Request {
    /// By which the answer is known. There is none to a `Forget`.
    #[prost(uint64, tag = "1")]
    pub(super) number: u64,
    #[prost(oneof = "Ask", tags = "2, 3, 4, 5, 6, 7, 8")]
    pub(super) ask: Option<Ask>,
}

/// What is asked; of a process, by the id that the daemon gave it.
#[derive(Oneof)]
pub(super) enum Ask {
    /// A process to look at for the first time. Its pidfd travels along.
    #[prost(uint64, tag = "2")]
    Meet(u64),
    /// Whether it looks the same as at first.
    #[prost(uint64, tag = "3")]
    Again(u64),
    #[prost(uint64, tag = "4")]
    Look(u64),
    #[prost(message, tag = "5")]
    Sha256(Hash),
    #[prost(message, tag = "6")]
    Verity(Hash),
    #[prost(message, tag = "7")]
    File(File),
    #[prost(uint64, tag = "8")]
    Forget(u64),
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Hash {
    #[prost(uint64, tag = "1")]
    pub(super) process: u64,
    /// On whose account.
    #[prost(uint32, tag = "2")]
    pub(super) uid: u32,
    #[prost(uint64, tag = "3")]
    pub(super) limit: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct File {
    #[prost(string, tag = "1")]
    pub(super) path: String,
    #[prost(uint64, optional, tag = "2")]
    pub(super) limit: Option<u64>,
}

/// What the helper sends.
#[derive(Message)]
pub(super) struct Answers {
    #[prost(message, repeated, tag = "1")]
    pub(super) answers: Vec<Answer>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Answer {
    #[prost(uint64, tag = "1")]
    pub(super) number: u64,
    /// Missing if there is nothing to say.
    #[prost(oneof = "Said", tags = "2, 3, 4, 5, 6")]
    pub(super) said: Option<Said>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Said {
    #[prost(bool, tag = "2")]
    Same(bool),
    #[prost(message, tag = "3")]
    Look(Look),
    #[prost(uint32, tag = "4")]
    Doubt(u32),
    #[prost(message, tag = "5")]
    Digest(Digest),
    #[prost(message, tag = "6")]
    File(Found),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Look {
    #[prost(bool, optional, tag = "1")]
    mnt: Option<bool>,
    #[prost(bool, optional, tag = "2")]
    user: Option<bool>,
    #[prost(bool, optional, tag = "3")]
    pid: Option<bool>,
    #[prost(uint64, tag = "4")]
    device: u64,
    #[prost(uint64, tag = "5")]
    inode: u64,
    /// If there is one, in place of the next.
    #[prost(string, optional, tag = "6")]
    path: Option<String>,
    #[prost(uint32, tag = "7")]
    doubt: u32,
    /// Whether there is neither device nor inode.
    #[prost(bool, tag = "8")]
    unseen: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Digest {
    #[prost(uint64, tag = "1")]
    device: u64,
    #[prost(uint64, tag = "2")]
    inode: u64,
    #[prost(string, tag = "3")]
    text: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Found {
    #[prost(bytes = "vec", tag = "1")]
    path: Vec<u8>,
    /// Of the path's ancestors, from the root.
    #[prost(message, repeated, tag = "2")]
    way: Vec<Owned>,
    #[prost(string, optional, tag = "3")]
    sha256: Option<String>,
    #[prost(string, optional, tag = "4")]
    verity: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Owned {
    #[prost(uint32, tag = "1")]
    uid: u32,
    #[prost(uint32, tag = "2")]
    gid: u32,
    #[prost(uint32, tag = "3")]
    mode: u32,
}

const EXE_DOUBTS: [ExeDoubt; 5] = [
    ExeDoubt::Unreadable,
    ExeDoubt::Deleted,
    ExeDoubt::Memory,
    ExeDoubt::OtherMounts,
    ExeDoubt::OtherFile,
];

fn exe_doubt(number: u32) -> ExeDoubt {
    let at = usize::try_from(number).unwrap_or(usize::MAX);
    EXE_DOUBTS.get(at).copied().unwrap_or(ExeDoubt::Unreadable)
}

fn number(doubt: ExeDoubt) -> u32 {
    (0..)
        .zip(EXE_DOUBTS)
        .find(|(_, known)| *known == doubt)
        .map_or(0, |(number, _)| number)
}

impl From<Doubt> for Said {
    fn from(doubt: Doubt) -> Self {
        Self::Doubt(u32::from(doubt == Doubt::Gone))
    }
}

/// The only doubts there are about a process that is just looked at.
pub(super) fn doubt(number: u32) -> Doubt {
    match number {
        1 => Doubt::Gone,
        _ => Doubt::Unobservable,
    }
}

impl From<Looked> for Look {
    fn from(look: Looked) -> Self {
        let Namespaces { mnt, user, pid } = look.namespaces;
        let seen = look.exe.as_ref().ok();
        let path = look.exe.as_ref().map(|exe| &exe.path);
        let doubt = match path {
            Ok(Ok(_)) => 0,
            Ok(Err(doubt)) | Err(doubt) => number(*doubt),
        };
        Self {
            mnt,
            user,
            pid,
            device: seen.map_or(0, |exe| exe.device),
            inode: seen.map_or(0, |exe| exe.inode),
            path: path.ok().and_then(|path| path.clone().ok()),
            doubt,
            unseen: seen.is_none(),
        }
    }
}

impl From<Look> for Looked {
    fn from(look: Look) -> Self {
        let Look { mnt, user, pid, .. } = look;
        let doubt = exe_doubt(look.doubt);
        let exe = Exe {
            device: look.device,
            inode: look.inode,
            path: look.path.ok_or(doubt),
        };
        Self {
            exe: if look.unseen { Err(doubt) } else { Ok(exe) },
            namespaces: Namespaces { mnt, user, pid },
        }
    }
}

impl From<Digested> for Digest {
    fn from(digest: Digested) -> Self {
        let (device, inode) = digest.file;
        let text = digest.text;
        Self {
            device,
            inode,
            text,
        }
    }
}

impl From<Digest> for Digested {
    fn from(digest: Digest) -> Self {
        Self {
            file: (digest.device, digest.inode),
            text: digest.text,
        }
    }
}

impl From<FileFacts> for Found {
    fn from(found: FileFacts) -> Self {
        let way = found.way.iter().map(|owned| Owned {
            uid: owned.uid,
            gid: owned.gid,
            mode: owned.mode,
        });
        Self {
            way: way.collect(),
            path: found.path.as_os_str().as_bytes().to_owned(),
            sha256: found.sha256,
            verity: found.verity,
        }
    }
}

impl From<Found> for FileFacts {
    fn from(found: Found) -> Self {
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(&found.path));
        let mut ancestors: Vec<_> = path.ancestors().map(ToOwned::to_owned).collect();
        ancestors.reverse();
        let way = ancestors
            .into_iter()
            .zip(found.way)
            .map(|(path, owned)| OwnedBy {
                path,
                uid: owned.uid,
                gid: owned.gid,
                mode: owned.mode,
            });
        Self {
            way: way.collect(),
            path,
            sha256: found.sha256,
            verity: found.verity,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survives(look: &Looked) {
        let bytes = Look::from(look.clone()).encode_to_vec();
        assert_eq!(Looked::from(Look::decode(&bytes[..]).unwrap()), *look);
    }

    #[test]
    fn what_was_looked_at_arrives_as_it_was_sent() {
        let namespaces = Namespaces {
            mnt: Some(true),
            user: Some(false),
            pid: None,
        };
        let exe = |path| {
            Ok(Exe {
                device: 1,
                inode: u64::MAX,
                path,
            })
        };
        let look = |exe| Looked { exe, namespaces };
        survives(&look(exe(Ok("/usr/bin/x".to_owned()))));
        for doubt in EXE_DOUBTS {
            survives(&look(exe(Err(doubt))));
            survives(&look(Err(doubt)));
        }
    }

    #[test]
    fn a_file_arrives_as_it_was_sent() {
        let owned = |path: &str, uid| OwnedBy {
            path: path.into(),
            uid,
            gid: 7,
            mode: 0o4755,
        };
        let found = FileFacts {
            path: "/a/b".into(),
            way: vec![owned("/", 0), owned("/a", 1), owned("/a/b", 2)],
            sha256: Some("00".to_owned()),
            verity: Some("sha256:00".to_owned()),
        };
        let bytes = Found::from(found.clone()).encode_to_vec();
        assert_eq!(FileFacts::from(Found::decode(&bytes[..]).unwrap()), found);
    }
}
