//! The parts of a secret's content.

use std::{collections::BTreeSet, fmt};

use zeroize::Zeroizing;

use crate::{canonical::Encoder, envelope::Content};

/// The parts of a secret's content, by name. Its `Debug` shows the names only.
#[derive(Default)]
pub struct Fields(Vec<(String, Zeroizing<Vec<u8>>)>);

impl Fields {
    /// Adds a field.
    pub fn push(&mut self, name: String, value: Vec<u8>) {
        self.0.push((name, Zeroizing::new(value)));
    }

    /// Adds a field whose value is wiped already when it is dropped.
    pub fn push_wiped(&mut self, name: String, value: Zeroizing<Vec<u8>>) {
        self.0.push((name, value));
    }

    /// The value of the field called `name`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let (_, value) = self.0.iter().find(|(field, _)| field == name)?;
        Some(value)
    }

    /// Keeps those called by `names`, and wipes the others.
    pub fn keep(&mut self, names: &BTreeSet<String>) {
        self.0.retain(|(name, _)| names.contains(name));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Their names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), &value[..]))
    }

    /// Takes the field called `name` out.
    pub fn remove(&mut self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        let at = self.0.iter().position(|(field, _)| field == name)?;
        Some(self.0.remove(at).1)
    }

    /// Bytes in all of them together.
    pub(super) fn size(&self) -> usize {
        self.0.iter().map(|(_, value)| value.len()).sum()
    }

    /// Puts them into the order of what `key` says of their names.
    pub(super) fn sort_by_key<K: Ord>(&mut self, key: impl Fn(&str) -> K) {
        self.0.sort_by_key(|(name, _)| key(name));
    }

    pub(super) fn encode(&self) -> Content {
        // Enough room from the start, so that growing leaves no copies behind.
        let room = self
            .0
            .iter()
            .map(|(name, value)| name.len() + value.len() + 8);
        let encoded = Encoder::with_capacity(4 + room.sum::<usize>())
            .list(&self.0, |encoder, (name, value)| {
                encoder.text(name).bytes(value)
            })
            .finish();
        Content::take(encoded)
    }

    /// Takes the fields out of `content`. `None` if it is no encoding of fields.
    pub fn decode(content: &Content) -> Option<Self> {
        let mut rest = content.expose();
        let count = take_u32(&mut rest)?;
        let mut fields = Self::default();
        for _ in 0..count {
            let name = String::from_utf8(take_bytes(&mut rest)?.to_vec()).ok()?;
            fields.push(name, take_bytes(&mut rest)?.to_vec());
        }
        rest.is_empty().then_some(fields)
    }
}

impl IntoIterator for Fields {
    type Item = (String, Zeroizing<Vec<u8>>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (number, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u32::from_be_bytes(*number))
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_u32(rest)?.try_into().ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}
