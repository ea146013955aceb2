use aws_lc_rs::{
    encoding::AsDer as _,
    rsa::KeySize,
    signature::{KeyPair as _, RsaKeyPair},
};

use super::*;
use crate::journal::{chain::Hash, pair::Pair};

/// Made by OpenSSL 3.0: `openssl genrsa 2048 | openssl rsa -pubout`.
const RSA_2048: &str = "\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA66Ymx01ypOLe/A8WXVZW
e7JfXPGLBN4h3okT8E31V+1AsQ4/31tE1+W0DdHFpZvC5da/c/dc6Yrp9p6MzZs5
3lFi5/d0l6mEjFTzHACwms47AN8StGShG7WPLb0S/eCEuFhAcZgNoYVy4l13crP1
fcnMhqigsMNaiU4/S9ZYW9WpqQTPv7/xOmECKrn9778Z4afXozKBsvKk9Wq2dxDN
akn9nGBxcdp/w48G+SN5y8YcwP06il0puSx1f4ez+rshd4vOd9L18kkWrJl0hy22
mKfkfs6hwJjp448E0nbgph79s4bWIRcYL/6PoLo/HGoR+fNi+OpVxAxiljOnXeLp
hQIDAQAB
-----END PUBLIC KEY-----
";

/// The same with `genrsa 1024`.
const RSA_1024: &str = "\
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwoTKJpOt+PXI40KogQaU8epQt
92RJn5Fuge61BoM5nZWgllKZPTNnOV3ZEFXpZCck+wL119XN2cZ0Xl8N16OfRE/x
kpzTT3MoiZDpmoTJ+oJmZEJO5eJJcUYR65ggcV0rlllBls2fbtAbG3xQqxUU9Lm9
hsnA8VKEXIGpmtoe2wIDAQAB
-----END PUBLIC KEY-----
";

/// The same with `genrsa -3 3072`: its exponent is 3.
const EXPONENT_3: &str = "\
-----BEGIN PUBLIC KEY-----
MIIBoDANBgkqhkiG9w0BAQEFAAOCAY0AMIIBiAKCAYEA0fBp5IeeKc20YXOsNh99
5cb5I/1ApeOSB11StypcImRP1leoOOp2VVRaP2iM81ZXAsup6WJ3RWvlvxfZQ35Q
pfpCB2n4MQQisxyUJtzu08eGcvD97pLJh/osofXs6Joo4QPSKRELEzJpCVHGPeOv
9E7RWyi7wKbVygNGsT8BZK8y2tb7aSWrkBzK0N6Y64BCJqdqdpqipDCzRdo55H0s
x41zzOagP/XPLBRV2h6FHeKs66aJrXbmPpCUa+NKOpTa+CC2aZk1uyb2ve7P6Vd2
/0qJhLh5xQ6WbleXxitpAFlNU5/vfdm7etEQcGY70ZOHF+toK/tJhXDv1RKfLR5m
d+TE3h23METOoZ2pE3wo+r3CDrW/a9yQ1oPDvGiVTf7yfMBw+m6jijsuBVE9t5zA
deFq6GtmC1d5eZatiusQ8x7FaVvvb/m+FRD7coaaLmGphyIQxNNkgGthQn2OLEqV
f/tR+egazKXQYN6gNI4+u9GBHoHkhX+Ti22Abk1d4OdVAgED
-----END PUBLIC KEY-----
";

/// A key of RSA for PSS alone: `openssl genpkey -algorithm RSA-PSS | openssl pkey -pubout`.
const PSS_ALONE: &str = "\
-----BEGIN PUBLIC KEY-----
MIIBIDALBgkqhkiG9w0BAQoDggEPADCCAQoCggEBAJ6BjQQ/860GL6yPvm8XkDwg
v6L+oBUyx9gfSG5mXHK8oR3WuT+4YZPQjA5ujzo2fBItYToPJbs3luz5qnH8tRz4
FTDYDu03pa9n2+l8Sax/K9RMr04mTg/NuGbOY+p/bJ/v14sstQPKhAap1cJu2OO4
cgc/No7hsxH6t0Q/V1msJAj1YXzrPOe6wPxCMcK6u0WtCx4SvWWl32piR4mCVWNj
HxsyJrD6YJNHIfzDCXSWY1Rjra8cFlSk9iIT7NJrff9RHBDAJf1eWrRZOuNEPM52
6gTWG3HMgbqz+zIbWWLT2Zc8Ei0nr7HWE+V2Jwq7nLeUefGsx7U55zbZyiz8phsC
AwEAAQ==
-----END PUBLIC KEY-----
";

/// A point of as many bytes on another curve: `openssl ecparam -name secp256k1 -genkey |
/// openssl ec -pubout`.
const KOBLITZ: &str = "\
-----BEGIN PUBLIC KEY-----
MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEFbStyiLbHi7l4QVcq8nWIajMC2F4ETyK
AUA4qyr7cCEvib3JLXQLqSN7QozXeJTLvJxNftTMnoGPYuaGx75/kQ==
-----END PUBLIC KEY-----
";

/// A key of P-256 as custodyd 0.1 wrote it.
const P256: &str = "\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAExxxyP0XD7PRkFl8rcELYNIW4HjxV
fUC4DJvmWRLtrmVi+KYaeeNO50L5qabYjT5zjmxdO5qhbRGlODlyxCIG5w==
-----END PUBLIC KEY-----
";

#[test]
fn each_way_to_sign_verifies_with_its_key_and_with_no_other() {
    let pairs = [Signing::ALL, Signing::ALL].concat();
    let pairs: Vec<_> = pairs.into_iter().map(Pair::of).collect();
    for (at, signer) in pairs.iter().enumerate() {
        let signature = signer.sign(b"something");
        for (other, pair) in pairs.iter().enumerate() {
            let signed = pair.public().signed(b"something", &signature);
            assert_eq!(signed, other == at, "{other} by {at}");
            let digest = Hash::of(b"something");
            let signed = pair.public().signed_digest(digest.as_bytes(), &signature);
            assert_eq!(signed, other == at, "{other} by {at}, of the digest");
        }
        assert!(!signer.public().signed(b"something else", &signature));
        let other = Hash::of(b"something else");
        for no_digest_of_it in [other.as_bytes(), &b"something"[..], &[]] {
            let signed = signer.public().signed_digest(no_digest_of_it, &signature);
            assert!(!signed, "{no_digest_of_it:?}");
        }
        let mut bent = signature.as_bytes().to_vec();
        bent[20] ^= 1;
        let bent = Signature::from_bytes(bent).unwrap();
        assert!(!signer.public().signed(b"something", &bent));
    }
}

#[test]
fn a_signature_of_rsa_in_another_scheme_does_not_verify() {
    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RSA_PSS_SHA384, RsaEncoding},
    };
    let pair = RsaKeyPair::generate(KeySize::Rsa3072).unwrap();
    let key = PublicKey::from_bytes(pair.public_key().as_der().unwrap().as_ref()).unwrap();
    let signed = |scheme: &'static dyn RsaEncoding| {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(scheme, &SystemRandom::new(), b"something", &mut signature)
            .unwrap();
        key.signed(b"something", &Signature::from_bytes(signature).unwrap())
    };
    assert!(signed(&RSA_PSS_SHA256));
    assert!(!signed(&RSA_PSS_SHA384));
    assert!(!signed(&RSA_PKCS1_SHA256));
}

#[test]
fn a_key_is_read_as_it_was_written_and_says_how_it_signs() {
    for signing in Signing::ALL {
        let key = Pair::of(signing).public();
        assert_eq!(key.signing(), signing);
        assert_eq!(PublicKey::from_pem(&key.to_pem()).unwrap(), key);
        assert_eq!(PublicKey::from_bytes(key.as_bytes()).unwrap(), key);
    }
    for (pem, signing) in [(P256, Signing::EcdsaP256), (RSA_2048, Signing::RsaPss)] {
        let key = PublicKey::from_pem(pem).unwrap();
        assert_eq!(key.signing(), signing);
        assert_eq!(key.to_pem(), pem);
    }
}

#[test]
fn what_signs_no_journal_is_no_journal_key() {
    for pem in [RSA_1024, EXPONENT_3, PSS_ALONE, KOBLITZ, "", &P256[..60]] {
        assert!(PublicKey::from_pem(pem).is_err(), "{pem}");
    }
    let key = PublicKey::from_pem(RSA_2048).unwrap();
    let longer = [key.as_bytes(), &[0]].concat();
    let shorter = &key.as_bytes()[..key.as_bytes().len() - 1];
    // The number of bits that the last byte has too many (X.690 §8.6.2), and the value of NULL.
    let [mut unused, mut parameter] = [key.as_bytes().to_vec(), key.as_bytes().to_vec()];
    let [bits, null] = [23, 17];
    assert_eq!((unused[bits], parameter[null]), (0, 5));
    unused[bits] = 1;
    parameter[null] = 4;
    for bytes in [
        &longer,
        shorter,
        &unused,
        &parameter,
        &[4; 64][..],
        &[5; 65],
        &[],
    ] {
        assert!(PublicKey::from_bytes(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn a_modulus_has_as_many_bits_as_ours_may_have() {
    let of = |bits: usize| {
        let mut modulus = vec![0xff; bits.div_ceil(8)];
        modulus[0] >>= (8 - bits % 8) % 8;
        modulus
    };
    for bits in [2048, 3072, 4096] {
        let key = PublicKey::from_modulus(&of(bits)).unwrap();
        let padded = [&[0, 0][..], &of(bits)].concat();
        assert_eq!(PublicKey::from_modulus(&padded).unwrap(), key);
    }
    for bits in [8, 1024, 2047, 4097, 8192] {
        assert!(PublicKey::from_modulus(&of(bits)).is_err(), "{bits}");
    }
    let mut even = of(3072);
    even[383] = 0xfe;
    assert!(PublicKey::from_modulus(&even).is_err());
    assert!(PublicKey::from_modulus(&[]).is_err());
}
