//! Database rows, and what tells a true one from a forged or an old one.
//!
//! Every row carries a [`Tag`]: an HMAC under the row key over all its columns, its
//! identity and the number of the change that wrote it. That no row is missing,
//! added or old is told by the [`Digest`] over all tags, which the journal keeps.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};

use crate::{
    canonical::Encoder,
    compliance::rules::Adopted,
    envelope::{Content, PlaintextDek, WrappedDek, Wrapping},
    group::{Group, MasterKey, Millis},
    holder::TokenId,
    journal::chain::Head,
    name::{GroupName, InstanceId, KeyId, RuleId, SecretId, VersionId},
    policy::rule::Rule,
    role::Assignment,
    secret::version::{Fingerprint, Secret, Version, Wrap},
    trustee::Trustee,
};

mod encode;

use encode::secret_id;

/// What `custodyd init` made: the root of everything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// Name of the installation.
    pub instance: InstanceId,
    /// The system GMK.
    pub gmk: KeyId,
    /// How the system GMK wraps.
    pub wrapping: Wrapping,
    /// The canary that the system GMK protected at birth.
    pub canary: WrappedDek,
    /// The row key, under the system GMK, as [`Trustee::row_key`] has it.
    pub row_key: WrappedDek,
    /// The journal key.
    pub journal_key: KeyId,
    /// Its public half, as [`PublicKey::as_bytes`](crate::journal::public_key::PublicKey::as_bytes)
    /// gives it.
    pub journal_public_key: Vec<u8>,
    /// Label of the token that holds these keys.
    pub token_label: String,
    /// Serial number of that token.
    pub token_serial: String,
    /// When they were made.
    pub created: Millis,
}

/// A row of the database, content aside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is named for what it holds")]
pub enum Row {
    Group(Group),
    MasterKey(MasterKey),
    Secret(Secret),
    Version(Version),
    Wrap(Wrap),
    Rule(Rule),
    Compliance(Adopted),
    Assignment(Assignment),
    Trustee(Trustee),
}

/// Which row.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is named for what it identifies")]
pub enum RowId {
    Group(GroupName),
    MasterKey(GroupName, u32, KeyId),
    Secret(SecretId),
    Version(VersionId),
    Wrap(VersionId, KeyId),
    Rule(GroupName, RuleId),
    Compliance(GroupName),
    Assignment(RuleId),
    Trustee(TokenId),
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(name) => write!(f, "group {name}"),
            Self::MasterKey(group, generation, id) => {
                write!(f, "master key {generation} of group {group} ({id})")
            }
            Self::Secret(id) => write!(f, "secret {id}"),
            Self::Version(id) => write!(f, "version {id}"),
            Self::Wrap(version, gmk) => write!(f, "wrap of {version} under {gmk}"),
            Self::Rule(group, id) => write!(f, "grant {id} of group {group}"),
            Self::Compliance(group) => write!(f, "rules of group {group}"),
            Self::Assignment(id) => write!(f, "role {id}"),
            Self::Trustee(token) => write!(f, "token {token}"),
        }
    }
}

/// A row as it is stored.
#[derive(Clone, Debug)]
pub struct Tagged {
    /// The row.
    pub row: Row,
    /// Number of the change that wrote it.
    pub change: u64,
    /// What authenticates both.
    pub tag: Tag,
}

/// HMAC-SHA-256 of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tag([u8; 32]);

/// HMAC-SHA-256 of a whole state after one change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

macro_rules! bytes32 {
    ($name:ident) => {
        impl $name {
            /// The one with these bytes.
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), hex::encode(self.0))
            }
        }
    };
}

bytes32!(Tag);
bytes32!(Digest);

/// The sum of all rows of a state: an incremental multiset hash.
///
/// Each row adds a pseudorandom number of 256 bits that only the row key's owner can
/// compute; rows come and go in any order (MSet-Add-Hash of Clarke et al., "Incremental
/// multiset hash functions", 2003).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetHash {
    limbs: [u64; 4],
    count: u64,
}

impl SetHash {
    fn add(&mut self, element: [u64; 4]) {
        let mut carry = false;
        for (limb, more) in self.limbs.iter_mut().zip(element) {
            let (sum, over) = limb.overflowing_add(more);
            let (sum, over_again) = sum.overflowing_add(u64::from(carry));
            (*limb, carry) = (sum, over || over_again);
        }
        self.count = self.count.wrapping_add(1);
    }

    fn remove(&mut self, element: [u64; 4]) {
        let mut borrow = false;
        for (limb, less) in self.limbs.iter_mut().zip(element) {
            let (rest, under) = limb.overflowing_sub(less);
            let (rest, under_again) = rest.overflowing_sub(u64::from(borrow));
            (*limb, borrow) = (rest, under || under_again);
        }
        self.count = self.count.wrapping_sub(1);
    }
}

/// The key that authenticates the database. It is a data key in the sense of the
/// token, which wraps it under the system GMK; in memory it is used in this form only.
pub struct RowKey(hmac::Key);

impl RowKey {
    /// Takes the key that the token unwrapped.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the plaintext form ends here"
    )]
    pub fn take(key: PlaintextDek) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.expose()))
    }

    /// The tag of `row`, written by change number `change`.
    pub fn tag(&self, row: &Row, change: u64) -> Tag {
        Tag(self.mac(&row.encode(change)))
    }

    /// The tag of the system row.
    pub fn system_tag(&self, system: &System) -> Tag {
        Tag(self.mac(&system.encode()))
    }

    /// Whether `tag` is the tag of the system row, compared in constant time.
    pub fn verifies_system(&self, system: &System, tag: Tag) -> bool {
        equal(self.system_tag(system), tag)
    }

    /// Whether `tagged` was made with this key, compared in constant time.
    pub fn verifies(&self, tagged: &Tagged) -> bool {
        equal(self.tag(&tagged.row, tagged.change), tagged.tag)
    }

    /// The tag of what was drawn from the journal up to `head`.
    pub fn usage_tag(&self, head: Head, kept: &[u8]) -> Tag {
        let encoder = Encoder::new("custodyd usage").u64(head.seq);
        Tag(self.mac(&encoder.bytes(head.hash.as_bytes()).bytes(kept).finish()))
    }

    /// Whether `tag` is that tag, compared in constant time.
    pub fn verifies_usage(&self, head: Head, kept: &[u8], tag: Tag) -> bool {
        equal(self.usage_tag(head, kept), tag)
    }

    /// The fingerprint of `content` in the secret `id`.
    pub fn fingerprint(&self, id: &SecretId, content: &Content) -> Fingerprint {
        // One pass over the content, which leaves no copy of it behind.
        let mut mac = hmac::Context::with_key(&self.0);
        mac.update(&secret_id(Encoder::new("custodyd fingerprint"), id).finish());
        mac.update(content.expose());
        let tag = mac.sign();
        Fingerprint::from_bytes(tag.as_ref().try_into().expect("SHA-256 gives 32 bytes"))
    }

    /// Puts a row's tag into `set`.
    pub fn add(&self, set: &mut SetHash, tag: Tag) {
        set.add(self.element(tag));
    }

    /// Takes a row's tag out of `set`.
    pub fn remove(&self, set: &mut SetHash, tag: Tag) {
        set.remove(self.element(tag));
    }

    /// What the journal keeps of a state that holds the rows of `set` after change number `change`.
    pub fn digest(&self, set: &SetHash, change: u64) -> Digest {
        let encoder = Encoder::new("custodyd state").u64(change).u64(set.count);
        let encoder = set.limbs.iter().fold(encoder, |e, &limb| e.u64(limb));
        Digest(self.mac(&encoder.finish()))
    }

    fn element(&self, tag: Tag) -> [u64; 4] {
        let mac = self.mac(&Encoder::new("custodyd element").bytes(&tag.0).finish());
        std::array::from_fn(|limb| {
            let bytes = mac[limb * 8..][..8].try_into().expect("eight bytes");
            u64::from_le_bytes(bytes)
        })
    }

    fn mac(&self, encoded: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&self.0, encoded);
        tag.as_ref().try_into().expect("SHA-256 gives 32 bytes")
    }
}

impl fmt::Debug for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RowKey(..)")
    }
}

fn equal(a: Tag, b: Tag) -> bool {
    constant_time::verify_slices_are_equal(&a.0, &b.0).is_ok()
}

impl Row {
    /// Which row it is.
    pub fn id(&self) -> RowId {
        match self {
            Self::Group(group) => RowId::Group(group.name.clone()),
            Self::MasterKey(key) => RowId::MasterKey(key.group.clone(), key.generation, key.id),
            Self::Secret(secret) => RowId::Secret(secret.id.clone()),
            Self::Version(version) => RowId::Version(version.id.clone()),
            Self::Wrap(wrap) => RowId::Wrap(wrap.version.clone(), wrap.gmk),
            Self::Rule(rule) => RowId::Rule(rule.group.clone(), rule.id),
            Self::Compliance(adopted) => RowId::Compliance(adopted.group.clone()),
            Self::Assignment(held) => RowId::Assignment(held.id),
            Self::Trustee(trustee) => RowId::Trustee(trustee.token.clone()),
        }
    }

    /// The group that it is of, or belongs to.
    pub fn group(&self) -> Option<&GroupName> {
        match self {
            Self::Group(group) => Some(&group.name),
            Self::MasterKey(key) => Some(&key.group),
            Self::Secret(secret) => Some(&secret.id.group),
            Self::Version(version) => Some(&version.id.secret.group),
            Self::Wrap(wrap) => Some(&wrap.version.secret.group),
            Self::Rule(rule) => Some(&rule.group),
            Self::Compliance(adopted) => Some(&adopted.group),
            Self::Assignment(_) | Self::Trustee(_) => None,
        }
    }
}

impl RowId {
    /// The group that it is of, or belongs to.
    pub fn group(&self) -> Option<&GroupName> {
        match self {
            Self::Group(group)
            | Self::MasterKey(group, _, _)
            | Self::Rule(group, _)
            | Self::Compliance(group) => Some(group),
            Self::Secret(secret) => Some(&secret.group),
            Self::Version(version) | Self::Wrap(version, _) => Some(&version.secret.group),
            Self::Assignment(_) | Self::Trustee(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
