//! Files as openssl, keytool and NSS make them, odd but legal ones among them, and some that
//! were damaged later.

use softhsm_tests::{pki, tool::Bench};

const COMMANDS: &[&str] = &[
    // PKCS#12: modern; with the ciphers of old; of NSS, in BER with lengths left open.
    "openssl pkcs12 -export -inkey server.key -in server.crt -certfile authorities.pem -name web \
     -passout pass:geheim -out modern.p12",
    "openssl pkcs12 -export -legacy -descert -inkey server.key -in server.crt -certfile \
     authorities.pem -passout pass:geheim -out legacy.p12",
    "certutil -N -d sql:. --empty-password",
    "pk12util -i modern.p12 -d sql:. -W geheim",
    "pk12util -o nss.p12 -n web -d sql:. -W geheim",
    "openssl pkcs12 -in modern.p12 -nokeys -passin pass:geheim -out attributes.pem",
    // Stores of trusted certificates without the attribute by which Java knows them, and with it.
    "openssl pkcs12 -export -nokeys -in authorities.pem -passout pass:geheim -out plain-trust.p12",
    "keytool -importcert -noprompt -alias root -file root.crt -storetype PKCS12 -storepass geheim \
     -keystore java-trust.p12",
    "keytool -importcert -noprompt -alias root -file root.crt -storetype JKS -storepass geheim \
     -keystore trust.jks",
    // Keys in their many forms.
    "openssl pkcs8 -topk8 -in alice.key -v1 PBE-SHA1-3DES -passout pass:geheim -out pbes1.key",
    "openssl pkcs8 -topk8 -in alice.key -v2prf hmacWithSHA512 -passout pass:geheim -out pbes2.key",
    "openssl pkcs8 -topk8 -in alice.key -passout pass:geheim -outform DER -out pbes2.der",
    "openssl pkcs8 -topk8 -in alice.key -scrypt -passout pass:geheim -out scrypt.key",
    "openssl pkcs8 -topk8 -in alice.key -v1 PBE-MD5-DES -provider legacy -provider default \
     -passout pass:geheim -out des.key",
    "openssl rsa -in server.key -traditional -aes128 -passout pass:geheim -out proc-type.key",
    "openssl rsa -in server.key -traditional -out pkcs1.key",
    "openssl ecparam -name prime256v1 -genkey -out parameters.key",
    "openssl ecparam -name prime256v1 -param_enc explicit -genkey -noout -out explicit.key",
    "openssl ecparam -name secp256k1 -param_enc explicit -genkey -noout -out own-curve.key",
    "openssl ecparam -name secp256k1 -genkey -noout -out koblitz.key",
    "openssl genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out pss.key",
    "openssl genrsa -out small.key 1024",
    "openssl pkey -in alice.key -pubout -out public.pem",
    "openssl pkey -in alice.key -outform DER -out alice-key.der",
    // Certificates and revocation lists.
    "openssl x509 -in server.crt -text -out text.crt",
    "openssl x509 -in server.crt -trustout -out trusted.crt",
    "openssl x509 -in alice.crt -outform DER -out alice.der",
    "openssl crl2pkcs7 -nocrl -certfile server.chain -out chain.p7b",
    "openssl crl -in crls.pem -outform DER -out root.crl",
];

/// Makes them all beside those of [`pki::make`]. Passphrases are "geheim", but that of the keys
/// in `two.jks`, which is "anders".
pub(crate) fn make(bench: &Bench) {
    pki::make(bench);
    let join = |name: &str, parts: &[&str]| {
        let parts: Vec<_> = parts.iter().map(|part| bench.read(part)).collect();
        bench.write(name, parts.concat());
    };
    join("authorities.pem", &["root.crt", "middle.crt"]);
    for command in COMMANDS {
        bench.run(command);
    }
    for (store, kind, key) in [
        ("two.p12", "PKCS12", "geheim"),
        ("two.jks", "JKS", "anders"),
        ("two.jceks", "JCEKS", "geheim"),
    ] {
        for alias in ["web", "mail"] {
            bench.run(&format!(
                "keytool -genkeypair -alias {alias} -keyalg EC -dname CN={alias} -storetype {kind} \
                 -keystore {store} -storepass geheim -keypass {key}"
            ));
        }
    }
    for (name, text) in [
        ("geheim", "geheim"),
        ("anders", "anders\n"),
        ("mail", "MAIL\n"),
    ] {
        bench.write(name, text);
    }
    join("complete.chain", &["server.chain", "root.crt"]);
    join("turned.chain", &["middle.crt", "server.crt"]);
    join("stranger.chain", &["server.crt", "alice.crt"]);
    join("with-key.chain", &["server.crt", "server.key"]);
    join("twice.key", &["alice.key", "alice.key"]);
    for name in ["alice.chain", "alice.key"] {
        let text = String::from_utf8(bench.read(name)).unwrap();
        bench.write(&format!("{name}.crlf"), text.replace('\n', "\r\n"));
    }
    damage(bench);
}

fn damage(bench: &Bench) {
    let cut = |name: &str, made: &str| {
        let whole = bench.read(name);
        bench.write(made, &whole[..whole.len() / 2]);
    };
    cut("modern.p12", "cut.p12");
    cut("server.crt", "cut.crt");
    cut("two.jks", "cut.jks");
    let change = |name: &str, made: &str, at: fn(usize) -> usize| {
        let mut bytes = bench.read(name);
        let at = at(bytes.len());
        bytes[at] ^= 1;
        bench.write(made, bytes);
    };
    change("two.jks", "changed.jks", |length| length / 2);
    change("modern.p12", "changed.p12", |length| length / 2);
    change("root.crl", "changed.crl", |length| length - 1);
    // The type of an element within, so that what is around it stays as long as it was.
    change("alice.der", "changed.der", |_| 8);
}
