//! Writing DER.

use asn1_rs::Oid;
use zeroize::Zeroizing;

pub(in crate::secret) type Element = Zeroizing<Vec<u8>>;

/// An element with the content of `parts`, one after another.
pub(in crate::secret) fn element(tag: u8, parts: &[&[u8]]) -> Element {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut written = Zeroizing::new(Vec::with_capacity(length + 2 + size_of::<usize>()));
    written.push(tag);
    match u8::try_from(length) {
        Ok(short @ ..0x80) => written.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let significant = bytes.iter().skip_while(|byte| **byte == 0);
            written.extend(
                (0x81..)
                    .zip(significant.clone())
                    .map(|(first, _)| first)
                    .last(),
            );
            written.extend(significant);
        }
    }
    for part in parts {
        written.extend_from_slice(part);
    }
    written
}

pub(in crate::secret) fn sequence(parts: &[&[u8]]) -> Element {
    element(0x30, parts)
}

/// A SET OF, in the order that DER wants.
pub(in crate::secret) fn set(mut parts: Vec<Element>) -> Element {
    parts.sort_by(|one, two| one[..].cmp(&two[..]));
    element(
        0x31,
        &parts.iter().map(|part| &part[..]).collect::<Vec<_>>(),
    )
}

/// `[0] EXPLICIT`
pub(in crate::secret) fn explicit(content: &[u8]) -> Element {
    element(0xa0, &[content])
}

pub(in crate::secret) fn octets(content: &[u8]) -> Element {
    element(0x04, &[content])
}

pub(in crate::secret) fn oid(oid: &Oid<'_>) -> Element {
    element(0x06, &[oid.as_bytes()])
}

pub(in crate::secret) fn integer(number: u32) -> Element {
    let bytes = u64::from(number).to_be_bytes();
    let skipped = bytes
        .windows(2)
        .take_while(|pair| pair[0] == 0 && pair[1] < 0x80)
        .count();
    element(0x02, &[&bytes[skipped..]])
}

pub(in crate::secret) const NULL: &[u8] = &[5, 0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_numbers_are_as_short_as_can_be() {
        assert_eq!(element(4, &[&[7; 127]])[..3], [4, 127, 7]);
        assert_eq!(element(4, &[&[7; 128]])[..4], [4, 0x81, 128, 7]);
        assert_eq!(element(4, &[&[7; 256]])[..5], [4, 0x82, 1, 0, 7]);
        for (number, written) in [
            (0, &[2, 1, 0][..]),
            (127, &[2, 1, 127]),
            (128, &[2, 2, 0, 128]),
            (100_000, &[2, 3, 1, 0x86, 0xa0]),
            (u32::MAX, &[2, 5, 0, 255, 255, 255, 255]),
        ] {
            assert_eq!(integer(number)[..], *written);
        }
    }
}
