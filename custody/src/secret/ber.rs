//! Reading nested BER step by step: what was written with indefinite lengths or in
//! pieces reads like DER.

use std::borrow::Cow;

use asn1_rs::{Any, Class, FromBer as _, Oid, Tag};

/// Bytes that are not the element that was expected, or none at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// How deep strings may be made of pieces that are made of pieces.
const MAX_PIECES_DEPTH: usize = 4;

/// Elements that follow one another.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    fn any(&mut self) -> Result<Any<'a>, Broken> {
        let (rest, any) = Any::from_ber(self.0).map_err(|_| Broken)?;
        self.0 = rest;
        Ok(any)
    }

    fn expect(&mut self, class: Class, tag: Tag) -> Result<Any<'a>, Broken> {
        let any = self.any()?;
        let fits = any.class() == class && any.tag() == tag;
        fits.then_some(any).ok_or(Broken)
    }

    /// The whole of the next element, with its tag and length.
    pub(super) fn raw(&mut self) -> Result<&'a [u8], Broken> {
        let start = self.0;
        self.any()?;
        Ok(&start[..start.len() - self.0.len()])
    }

    /// The elements of the next one, a SEQUENCE.
    pub(super) fn sequence(&mut self) -> Result<Self, Broken> {
        self.constructed(Class::Universal, Tag::Sequence)
    }

    /// The elements of the next one, a SET.
    pub(super) fn set(&mut self) -> Result<Self, Broken> {
        self.constructed(Class::Universal, Tag::Set)
    }

    /// What is inside the next one, `[tag] EXPLICIT`.
    pub(super) fn explicit(&mut self, tag: u32) -> Result<Self, Broken> {
        self.constructed(Class::ContextSpecific, Tag(tag))
    }

    fn constructed(&mut self, class: Class, tag: Tag) -> Result<Self, Broken> {
        let any = self.expect(class, tag)?;
        any.header.assert_constructed().map_err(|_| Broken)?;
        Ok(Self(any.data))
    }

    /// The next one, an OBJECT IDENTIFIER.
    pub(super) fn oid(&mut self) -> Result<Oid<'a>, Broken> {
        let any = self.expect(Class::Universal, Tag::Oid)?;
        Ok(Oid::new(any.data.into()))
    }

    /// The next one, an INTEGER from 0 to the largest `u32`.
    pub(super) fn integer(&mut self) -> Result<u32, Broken> {
        let any = self.expect(Class::Universal, Tag::Integer)?;
        any.u32().map_err(|_| Broken)
    }

    /// The next one, an OCTET STRING.
    pub(super) fn octets(&mut self) -> Result<Cow<'a, [u8]>, Broken> {
        octets(&self.expect(Class::Universal, Tag::OctetString)?)
    }

    /// The next one, `[tag] IMPLICIT OCTET STRING`.
    pub(super) fn implicit_octets(&mut self, tag: u32) -> Result<Cow<'a, [u8]>, Broken> {
        octets(&self.expect(Class::ContextSpecific, Tag(tag))?)
    }

    /// The next one, a BMPString; what is no text in it is replaced.
    pub(super) fn bmp_string(&mut self) -> Result<String, Broken> {
        let any = self.expect(Class::Universal, Tag::BmpString)?;
        let units = any.data.chunks_exact(2);
        let units = units.map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        Ok(char::decode_utf16(units)
            .map(|read| read.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect())
    }

    /// An algorithm and its parameters.
    pub(super) fn algorithm(&mut self) -> Result<(Oid<'a>, Self), Broken> {
        let mut parts = self.sequence()?;
        Ok((parts.oid()?, parts))
    }
}

fn octets<'a>(any: &Any<'a>) -> Result<Cow<'a, [u8]>, Broken> {
    if !any.header.is_constructed() {
        return Ok(Cow::Borrowed(any.data));
    }
    let mut joined = Vec::with_capacity(any.data.len());
    join(any.data, MAX_PIECES_DEPTH, &mut joined)?;
    Ok(Cow::Owned(joined))
}

fn join(pieces: &[u8], depth: usize, joined: &mut Vec<u8>) -> Result<(), Broken> {
    let depth = depth.checked_sub(1).ok_or(Broken)?;
    let mut reader = Reader(pieces);
    while !reader.is_empty() {
        let piece = reader.expect(Class::Universal, Tag::OctetString)?;
        if piece.header.is_constructed() {
            join(piece.data, depth, joined)?;
        } else {
            joined.extend_from_slice(piece.data);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_in_pieces_of_unknown_length_is_read_as_one() {
        let pieces = [0x24, 0x80, 4, 1, b'a', 0x24, 3, 4, 1, b'b', 0, 0];
        let mut reader = Reader::new(&pieces);
        assert_eq!(reader.octets().unwrap().as_ref(), b"ab");
        assert!(reader.is_empty());
    }

    #[test]
    fn what_is_nested_too_deep_is_refused() {
        let mut strings = vec![4, 1, b'a'];
        let mut lengths = Vec::new();
        for depth in 0..1000 {
            if depth <= MAX_PIECES_DEPTH {
                let length = u8::try_from(strings.len()).unwrap();
                strings.splice(0..0, [0x24, length]);
            }
            lengths.extend([0x30, 0x80]);
        }
        assert_eq!(Reader::new(&strings).octets().err(), Some(Broken));
        assert_eq!(Reader::new(&lengths).raw().err(), Some(Broken));
    }

    #[test]
    fn other_elements_than_expected_are_refused() {
        let integer = [2, 1, 5];
        assert_eq!(Reader::new(&integer).integer(), Ok(5));
        assert_eq!(
            Reader::new(&[2, 1, 0xff]).integer(),
            Err(Broken),
            "negative"
        );
        assert_eq!(Reader::new(&[2, 5, 1, 0, 0, 0, 0]).integer(), Err(Broken));
        assert!(Reader::new(&integer).sequence().is_err());
        assert!(Reader::new(&integer).octets().is_err());
        assert!(Reader::new(&[4, 200]).octets().is_err(), "cut off");
        assert!(
            Reader::new(&[0x10, 0]).sequence().is_err(),
            "a primitive SEQUENCE"
        );
    }
}
