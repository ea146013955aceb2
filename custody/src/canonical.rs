//! The one byte encoding of everything that is authenticated.
//!
//! Integers are big-endian and of fixed width, byte strings are preceded by their
//! length as a `u32`, optional values by a byte that is 0 or 1, and lists by their
//! length as a `u32`. With a fixed order of fields the encoding is injective: two
//! values that differ never encode alike. `docs/formats.md` lists what is encoded.

/// Writes values in the canonical encoding.
#[derive(Debug, Default)]
pub struct Encoder(Vec<u8>);

impl Encoder {
    /// Starts an encoding with `domain`, which keeps encodings of different things
    /// apart under the same key.
    pub fn new(domain: &str) -> Self {
        Self::default().text(domain)
    }

    /// Starts an encoding of about `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// Appends one byte.
    #[must_use]
    pub fn byte(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    /// Appends a number of 32 bits.
    #[must_use]
    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends a number of 64 bits.
    #[must_use]
    pub fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends a byte string with its length.
    ///
    /// # Panics
    ///
    /// If it is longer than 4 GiB, which no input that was let in is.
    #[must_use]
    pub fn bytes(self, value: &[u8]) -> Self {
        let length = u32::try_from(value.len()).expect("inputs are bounded far below 4 GiB");
        let mut this = self.u32(length);
        this.0.extend_from_slice(value);
        this
    }

    /// Appends a text as the byte string of its UTF-8.
    #[must_use]
    pub fn text(self, value: &str) -> Self {
        self.bytes(value.as_bytes())
    }

    /// Appends a value that may be missing.
    #[must_use]
    pub fn optional<T>(self, value: Option<T>, write: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            Some(value) => write(self.byte(1), value),
            None => self.byte(0),
        }
    }

    /// Appends a list with its length.
    ///
    /// # Panics
    ///
    /// If it has more than 2³² elements.
    #[must_use]
    pub fn list<T>(self, values: &[T], write: impl FnMut(Self, &T) -> Self) -> Self {
        let length = u32::try_from(values.len()).expect("inputs are bounded far below 2^32");
        values.iter().fold(self.u32(length), write)
    }

    /// Appends what `write` writes.
    #[must_use]
    pub fn then(self, write: impl FnOnce(Self) -> Self) -> Self {
        write(self)
    }

    /// The encoding.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Encoder;

    #[test]
    fn neighbours_cannot_lend_each_other_bytes() {
        let one = Encoder::new("t").text("ab").text("c").finish();
        let other = Encoder::new("t").text("a").text("bc").finish();
        assert_ne!(one, other);
    }

    #[test]
    fn missing_is_not_empty() {
        let missing = Encoder::new("t").optional(None, Encoder::text).finish();
        let empty = Encoder::new("t").optional(Some(""), Encoder::text).finish();
        assert_ne!(missing, empty);
    }
}
