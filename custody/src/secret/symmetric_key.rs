//! `symmetric-key`: the bytes of a key, and the algorithm it is for.

use aws_lc_rs::cipher::{AES_128, AES_192, AES_256, EncryptingKey, UnboundCipherKey};
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

use super::{
    Fields, Properties, Refused, Shape, Type,
    make::{Makes, Order},
    required,
};
use crate::random::Random;

const KEY: &str = "key";
const ALGORITHM: &str = "algorithm";
const HEX: &str = "key-hex";
const BASE64: &str = "key-base64";

/// An algorithm and the lengths of its keys in bytes.
struct Algorithm {
    name: &'static str,
    takes: fn(usize) -> bool,
    lengths: &'static str,
    /// The length of a key that is made, unless it is said.
    usual: usize,
    /// Whether its keys are random bytes, and never text.
    is_cipher: bool,
}

const ALGORITHMS: [Algorithm; 5] = [
    Algorithm {
        name: "aes",
        takes: |length| matches!(length, 16 | 24 | 32),
        lengths: "16, 24 or 32",
        usual: 32,
        is_cipher: true,
    },
    Algorithm {
        name: "chacha20",
        takes: |length| length == 32,
        lengths: "32",
        usual: 32,
        is_cipher: true,
    },
    hmac("hmac-sha256", 32),
    hmac("hmac-sha384", 48),
    hmac("hmac-sha512", 64),
];

/// SP 800-131A r2 §10: HMAC keys below 112 bits are disallowed. One that is made has the
/// length of the hash (RFC 2104 §3).
const fn hmac(name: &'static str, usual: usize) -> Algorithm {
    Algorithm {
        name,
        takes: |length| matches!(length, 14..=1024),
        lengths: "14 to 1024",
        usual,
        is_cipher: false,
    }
}

pub(super) struct SymmetricKey;

impl Type for SymmetricKey {
    fn name(&self) -> &'static str {
        "symmetric-key"
    }

    fn shape(&self) -> Shape {
        Shape::Fields(const { &[required(KEY), required(ALGORITHM)] })
    }

    fn inputs(&self) -> &'static [&'static str] {
        &[HEX, BASE64]
    }

    fn lines(&self) -> &'static [&'static str] {
        &[ALGORITHM, HEX, BASE64]
    }

    fn publishes(&self) -> &'static [&'static str] {
        &[ALGORITHM, "bits", "check-value"]
    }

    fn take(&self, mut given: Fields) -> Result<Fields, Refused> {
        for (name, decode) in [(HEX, from_hex as Decode), (BASE64, from_base64)] {
            let Some(text) = given.remove(name) else {
                continue;
            };
            if given.get(KEY).is_some() {
                return invalid(format!(
                    "{name:?} and another form of the key are given; give one of {KEY:?}, \
                     {HEX:?} and {BASE64:?}"
                ));
            }
            let Some(mut key) = decode(&text) else {
                return invalid(format!("{name:?} is not what its name says"));
            };
            given.push(KEY.to_owned(), std::mem::take(&mut *key));
        }
        Ok(given)
    }

    fn makes(&self) -> Makes {
        Makes::New(make)
    }

    fn inspect(&self, values: &Fields) -> Result<Properties, Refused> {
        let key = values.get(KEY).unwrap_or_default();
        let algorithm = algorithm(values)?;
        if algorithm.is_cipher && key.iter().all(u8::is_ascii_hexdigit) {
            return invalid(format!(
                "{KEY:?} is text of hexadecimal digits; give such a key as {HEX:?}"
            ));
        }
        if !(algorithm.takes)(key.len()) {
            return invalid(format!(
                "{KEY:?} has {} bytes, and a key for {} has {} ({HEX:?} and {BASE64:?} take \
                 keys that are written as text)",
                key.len(),
                algorithm.name,
                algorithm.lengths
            ));
        }
        if key.windows(2).all(|pair| pair[0] == pair[1]) {
            return invalid(format!(
                "{KEY:?} is the same byte all over, which is no key"
            ));
        }
        let mut properties = vec![
            (ALGORITHM.to_owned(), algorithm.name.to_owned()),
            ("bits".to_owned(), (key.len() * 8).to_string()),
        ];
        if algorithm.name == "aes" {
            properties.extend(check_value(key).map(|value| ("check-value".to_owned(), value)));
        }
        Ok(properties)
    }
}

fn algorithm(values: &Fields) -> Result<&'static Algorithm, Refused> {
    let name = values.get(ALGORITHM).unwrap_or_default();
    let found = ALGORITHMS
        .iter()
        .find(|known| known.name.as_bytes() == name);
    match found {
        Some(algorithm) => Ok(algorithm),
        None => {
            let known = ALGORITHMS.map(|known| known.name).join(", ");
            invalid(format!("{ALGORITHM:?} is none of {known}"))
        }
    }
}

/// A key as long as the former one, if that was for the same algorithm.
fn make(
    order: &Order,
    former: &Properties,
    mut fields: Fields,
    random: &mut Random,
) -> Result<Fields, Refused> {
    if let Some(alphabet) = order.alphabet {
        return invalid(format!(
            "a symmetric-key is bytes, not {} text",
            alphabet.name()
        ));
    }
    if fields.get(ALGORITHM).is_none() {
        fields.push(ALGORITHM.to_owned(), ALGORITHMS[0].name.into());
    }
    let algorithm = algorithm(&fields)?;
    let was = |wanted: &str| {
        let found = former.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str())
    };
    let bits = was("bits").filter(|_| was(ALGORITHM) == Some(algorithm.name));
    let kept = bits.and_then(|bits| bits.parse::<usize>().ok());
    let length = match order.length {
        Some(length) => usize::try_from(length).unwrap_or(usize::MAX),
        None => kept.map_or(algorithm.usual, |bits| bits / 8),
    };
    let mut key = Zeroizing::new(vec![0; length]);
    random.fill(&mut key);
    fields.push_wiped(KEY.to_owned(), key);
    Ok(fields)
}

/// The check value by which people compare a key with the same one in an HSM: the first
/// three bytes of a block of zeros under it (PKCS#11 v3.1, `CKA_CHECK_VALUE` of secret
/// keys; ANSI X9.24-1).
///
/// It tells whoever reads metadata whether two keys are the same, and lets them try
/// guesses, of which it leaves one in 2^24: nothing, of a key of random bytes. An HMAC key
/// may be a phrase that somebody chose, and would be found; HSMs do not agree on a check
/// value for it (AWS CloudHSM has none), and it gets none. Nor does ChaCha20, which has no
/// block to encrypt.
fn check_value(key: &[u8]) -> Option<String> {
    let algorithm = [&AES_128, &AES_192, &AES_256].into_iter().zip([16, 24, 32]);
    let (algorithm, _) = algorithm
        .into_iter()
        .find(|(_, length)| *length == key.len())?;
    let key = UnboundCipherKey::new(algorithm, key).ok()?;
    let mut block = Zeroizing::new([0; 16]);
    let cipher = EncryptingKey::ecb(key).ok()?;
    cipher.encrypt(&mut block[..]).ok()?;
    Some(hex::encode_upper(&block[..3]))
}

type Decode = fn(&[u8]) -> Option<Zeroizing<Vec<u8>>>;

fn from_hex(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    hex::decode(text.trim_ascii()).ok().map(Zeroizing::new)
}

/// Either alphabet of RFC 4648, with or without padding.
fn from_base64(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text = text.trim_ascii();
    let alphabet = if text.iter().any(|byte| b"-_".contains(byte)) {
        &alphabet::URL_SAFE
    } else {
        &alphabet::STANDARD
    };
    let lenient = DecodePaddingMode::Indifferent;
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(lenient);
    let engine = GeneralPurpose::new(alphabet, config);
    engine.decode(text).ok().map(Zeroizing::new)
}

fn invalid<T>(wrong: String) -> Result<T, Refused> {
    Err(Refused::Invalid(wrong))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::secret::{Kind, tests::accept};

    fn put(given: &[(&str, &[u8])]) -> Result<(Fields, Properties), Refused> {
        let mut fields = Fields::default();
        for (name, value) in given {
            fields.push((*name).into(), value.to_vec());
        }
        let accepted = Kind::from_name("symmetric-key")?.accept(fields)?;
        let stored = Fields::decode(&accepted.content).unwrap();
        Ok((stored, accepted.properties))
    }

    /// The bytes 0, 1, 2, … of FIPS 197's examples.
    fn counting(length: u8) -> Vec<u8> {
        (0..length).collect()
    }

    #[test]
    fn an_aes_key_has_the_check_value_that_tokens_show() {
        // openssl enc -aes-N-ecb -nopad -K 000102… of 16 zero bytes
        for (length, bits, check) in [
            (16, "128", "C6A13B"),
            (24, "192", "916251"),
            (32, "256", "F29000"),
        ] {
            let key = counting(length);
            let (stored, properties) = put(&[(ALGORITHM, b"aes"), (KEY, &key)]).unwrap();
            assert_eq!(stored.get(KEY), Some(&key[..]));
            let expected = [(ALGORITHM, "aes"), ("bits", bits), ("check-value", check)];
            let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(properties, expected);
        }
    }

    #[test]
    fn a_key_that_may_be_a_phrase_has_no_check_value() {
        for (algorithm, length) in [("hmac-sha256", 14), ("chacha20", 32)] {
            let given = [(ALGORITHM, algorithm.as_bytes()), (KEY, &counting(length))];
            let (_, properties) = put(&given).unwrap();
            let names: Vec<_> = properties.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, [ALGORITHM, "bits"]);
        }
    }

    #[test]
    fn a_length_that_the_algorithm_does_not_take_is_refused() {
        for (algorithm, lengths) in [
            ("aes", &[1, 15, 17, 33][..]),
            ("chacha20", &[16, 31, 33]),
            ("hmac-sha384", &[13, 1025]),
        ] {
            for length in lengths {
                let key: Vec<u8> = (128..=255).cycle().take(*length).collect();
                let given = [(ALGORITHM, algorithm.as_bytes()), (KEY, &key)];
                let refusal = put(&given).unwrap_err().to_string();
                let expected = format!("\"key\" has {length} bytes, and a key for {algorithm} ");
                assert!(refusal.starts_with(&expected), "{refusal}");
            }
        }
    }

    #[test]
    fn a_key_that_is_none_is_refused_for_what_it_is() {
        let refusal = |algorithm: &str, name: &str, value: &str| {
            let refused = accept("symmetric-key", &[(ALGORITHM, algorithm), (name, value)]);
            refused.err().unwrap().to_string()
        };
        let digits = "000102030405060708090a0b0c0d0e0f";
        assert!(refusal("aes", KEY, digits).contains("give such a key as \"key-hex\""));
        assert!(refusal("aes", KEY, &"\0".repeat(32)).contains("same byte"));
        assert!(refusal("des", KEY, digits).starts_with("\"algorithm\" is none of aes, "));
        assert_eq!(
            refusal("aes", HEX, "0x00"),
            "\"key-hex\" is not what its name says"
        );
        assert_eq!(
            refusal("aes", BASE64, "*"),
            "\"key-base64\" is not what its name says"
        );
        assert_eq!(refusal("aes", HEX, ""), "the field \"key\" is empty");
    }

    #[test]
    fn a_key_in_two_forms_is_refused() {
        let hex = hex::encode(counting(16));
        let both: [(&str, &[u8]); 3] = [
            (ALGORITHM, b"aes"),
            (BASE64, b"AAECAwQFBgcICQoLDA0ODw=="),
            (HEX, hex.as_bytes()),
        ];
        let refusal = put(&both).unwrap_err().to_string();
        assert!(refusal.contains("another form of the key"), "{refusal}");
    }

    proptest! {
        #[test]
        fn a_key_is_the_same_however_it_is_written(
            key in proptest::collection::vec(any::<u8>(), 16..=64),
        ) {
            prop_assume!(key.windows(2).any(|pair| pair[0] != pair[1]));
            let url_safe = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&key);
            let standard = base64::engine::general_purpose::STANDARD.encode(&key);
            for (name, written) in [
                (HEX, hex::encode_upper(&key) + "\n"),
                (BASE64, url_safe),
                (BASE64, standard + "\n"),
            ] {
                let (stored, _) = put(&[(ALGORITHM, b"hmac-sha256"), (name, written.as_bytes())]).unwrap();
                prop_assert_eq!(stored.get(KEY), Some(&key[..]));
            }
        }
    }
}
