//! Certificates as an operator makes them with openssl: a root, an authority below it, a server
//! and two clients, one of which is revoked.

use crate::tool::Bench;

/// The name that the server's certificate is for.
pub const HOST: &str = "www.example.org";

const CONFIG: &str = "\
[req]
distinguished_name = name
[name]
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[middle]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[server]
subjectAltName = DNS:www.example.org
extendedKeyUsage = serverAuth
authorityKeyIdentifier = keyid
[client]
extendedKeyUsage = clientAuth
authorityKeyIdentifier = keyid
[ca]
default_ca = issued
[issued]
database = index.txt
crlnumber = crlnumber
default_md = sha256
default_crl_days = 30
";

/// Makes `root`, `middle`, `server`, `alice` and `mallory`, each `NAME.crt` and `NAME.key`; of
/// the last three `NAME.chain` without the root; and `crls.pem`, in which mallory is revoked.
pub fn make(bench: &Bench) {
    bench.write("config", CONFIG);
    bench.run(
        "openssl req -x509 -config config -extensions root -newkey ec -pkeyopt \
         ec_paramgen_curve:P-384 -noenc -keyout root.key -out root.crt -days 99 -subj /CN=root",
    );
    issue(bench, "middle", "root", "middle", EC);
    issue(bench, "server", "middle", "server", "rsa:2048");
    issue(bench, "client", "middle", "alice", EC);
    issue(bench, "client", "middle", "mallory", "ed25519");
    let mut crls = String::new();
    for (authority, revoked) in [("root", None), ("middle", Some("mallory"))] {
        bench.write("index.txt", "");
        bench.write("crlnumber", "01");
        let ca =
            format!("openssl ca -config config -cert {authority}.crt -keyfile {authority}.key");
        if let Some(revoked) = revoked {
            bench.run(&format!("{ca} -revoke {revoked}.crt"));
        }
        crls += &bench.run(&format!("{ca} -gencrl"));
    }
    bench.write("crls.pem", crls);
}

const EC: &str = "ec -pkeyopt ec_paramgen_curve:P-256";

fn issue(bench: &Bench, profile: &str, issuer: &str, name: &str, key: &str) {
    bench.run(&format!(
        "openssl req -config config -newkey {key} -noenc -keyout {name}.key -out {name}.csr \
         -subj /CN={name}"
    ));
    bench.run(&format!(
        "openssl x509 -req -in {name}.csr -CA {issuer}.crt -CAkey {issuer}.key -days 90 \
         -extfile config -extensions {profile} -out {name}.crt"
    ));
    let chain = [
        bench.read(&format!("{name}.crt")),
        bench.read(&format!("{issuer}.crt")),
    ];
    bench.write(&format!("{name}.chain"), chain.concat());
}
