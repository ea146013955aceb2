//! What was stored from the files of one tool is fetched and served by another: nginx, curl,
//! rustls and Java at the ends of real connections.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

mod java;
mod nginx;
mod rustls;

use std::{fs, path::Path, process::Output};

use softhsm_tests::{
    Site,
    pki::{self, HOST},
    text,
    tool::{self, Bench},
};

use nginx::Nginx;

/// Stores what openssl made, most of it in other forms than it is fetched in, and grants it.
fn store(site: &Site) -> Bench {
    let bench = site.bench("made");
    pki::make(&bench);
    bench.write("password", "geheim");
    bench.run(
        "openssl pkcs12 -export -legacy -inkey server.key -in server.crt -certfile middle.crt \
         -passout pass:geheim -out server.p12",
    );
    bench.run("openssl pkcs8 -topk8 -in alice.key -passout pass:geheim -out alice.locked");
    bench.run("openssl x509 -in root.crt -outform DER -out root.der");
    let issuers = [bench.read("root.crt"), bench.read("middle.crt")].concat();
    bench.write("issuers.pem", issuers);
    site.ctl(&["group", "create", "web"]);
    put(
        site,
        "server",
        "keystore",
        &[("pkcs12", "server.p12"), ("passphrase", "password")],
    );
    let alice = [
        ("certificate-chain", "alice.chain"),
        ("private-key", "alice.locked"),
        ("passphrase", "password"),
    ];
    put(site, "alice", "keystore", &alice);
    let mallory = [
        ("certificate-chain", "mallory.chain"),
        ("private-key", "mallory.key"),
    ];
    put(site, "mallory", "keystore", &mallory);
    put(site, "roots", "truststore", &[("certificates", "root.der")]);
    put(
        site,
        "pins",
        "certificate-pin-set",
        &[("certificates", "server.crt")],
    );
    put(
        site,
        "other-pins",
        "certificate-pin-set",
        &[("certificates", "alice.crt")],
    );
    put(
        site,
        "crls",
        "crl-distributor",
        &[("crls", "crls.pem"), ("issuers", "issuers.pem")],
    );
    site.grant_on("*", &[]);
    bench
}

fn put(site: &Site, name: &str, kind: &str, fields: &[(&str, &str)]) {
    let bench = site.bench("made");
    let fields: Vec<_> = fields
        .iter()
        .map(|(field, file)| format!("{field}={}", bench.at(file)))
        .collect();
    let name = format!("web/{name}");
    let mut arguments = vec!["secret", "put", &name, "--type", kind];
    arguments.extend(fields.iter().map(String::as_str));
    site.ctl(&arguments);
}

/// Fetches `web/NAME` in a format, into the folder NAME of the bench that is given back.
fn fetch(site: &Site, name: &str, format: &str) -> Bench {
    let folder = site.bench(&format!("fetched-{name}-{format}"));
    let (out, secret) = (folder.at(""), format!("web/{name}"));
    site.ctl(&["fetch", &secret, "--format", format, "--out", &out]);
    folder
}

/// What curl says to the server at `socket`, with more options.
fn curl(bench: &Bench, socket: &Path, options: &[&str]) -> Output {
    bench
        .tool("curl")
        .args([
            "--disable",
            "--silent",
            "--show-error",
            "--fail",
            "--noproxy",
            "*",
        ])
        .arg("--unix-socket")
        .arg(socket)
        .args(options)
        .arg(format!("https://{HOST}/"))
        .output()
        .unwrap()
}

fn is_served(output: &Output, answer: &str) {
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        answer,
        "{}",
        text(output)
    );
    assert!(output.status.success(), "{}", text(output));
}

/// Exit codes of curl: an issuer that is not trusted, a pin that does not match, an answer that
/// says no.
const UNTRUSTED: i32 = 60;
const UNPINNED: i32 = 90;
const ANSWERED_NO: i32 = 22;

/// curl ended so, and showed nothing of the server's answer.
fn is_refused(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", text(output));
    assert!(output.stdout.is_empty(), "{}", text(output));
}

#[test]
fn nginx_serves_what_curl_trusts_and_pins() {
    if !tool::has("nginx_serves_what_curl_trusts_and_pins", &["nginx", "curl"]) {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    let made = store(&site);
    let roots = fetch(&site, "roots", "pem").at("certificates.pem");
    let pins = |name: &str| {
        let pins = fetch(&site, name, "raw").read("pins");
        let pins = String::from_utf8(pins).unwrap();
        // curl has a second slash after the algorithm.
        pins.trim_end().replacen('/', "//", 1)
    };
    for (format, chain, key) in [
        ("pem", "certificate-chain.pem", "private-key.pem"),
        ("pem-bundle", "bundle.pem", "bundle.pem"),
    ] {
        let server = fetch(&site, "server", format);
        let settings = format!("ssl_certificate {chain}; ssl_certificate_key {key};");
        let nginx = Nginx::serve(&server, &settings);
        let curl = |options: &[&str]| curl(&made, &nginx.socket, options);
        is_served(&curl(&["--cacert", &roots]), "hello ");
        is_refused(&curl(&["--cacert", "alice.crt"]), UNTRUSTED);
        let pin = |name| curl(&["--cacert", &roots, "--pinnedpubkey", &pins(name)]);
        is_served(&pin("pins"), "hello ");
        is_refused(&pin("other-pins"), UNPINNED);
    }
}

#[test]
fn nginx_knows_clients_by_what_is_delivered_and_turns_the_revoked_away() {
    let test = "nginx_knows_clients_by_what_is_delivered_and_turns_the_revoked_away";
    if !tool::has(test, &["nginx", "curl"]) {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    let made = store(&site);
    let roots = fetch(&site, "roots", "pem").at("certificates.pem");
    let crls = fetch(&site, "crls", "pem").at("crls.pem");
    let settings = format!(
        "ssl_certificate bundle.pem; ssl_certificate_key bundle.pem; ssl_verify_client on; \
         ssl_verify_depth 2; ssl_client_certificate {roots};"
    );
    let with_crls = format!("{settings} ssl_crl {crls};");
    let server = fetch(&site, "server", "pem-bundle");
    let curl = |nginx: &Nginx, options: &[&str]| {
        curl(
            &made,
            &nginx.socket,
            &[&["--cacert", &roots], options].concat(),
        )
    };
    let pem = |name: &str| {
        let client = fetch(&site, name, "pem");
        let (chain, key) = ("certificate-chain.pem", "private-key.pem");
        (client.at(chain), client.at(key))
    };
    let nginx = Nginx::serve(&server, &with_crls);
    is_refused(&curl(&nginx, &[]), ANSWERED_NO);
    let (chain, key) = pem("alice");
    is_served(
        &curl(&nginx, &["--cert", &chain, "--key", &key]),
        "hello CN=alice",
    );
    let alice = fetch(&site, "alice", "pkcs12");
    let password = String::from_utf8(alice.read("password")).unwrap();
    let store = format!("{}:{password}", alice.at("keystore.p12"));
    is_served(
        &curl(&nginx, &["--cert-type", "P12", "--cert", &store]),
        "hello CN=alice",
    );
    let (chain, key) = pem("mallory");
    is_refused(
        &curl(&nginx, &["--cert", &chain, "--key", &key]),
        ANSWERED_NO,
    );
    drop(nginx);
    // It is the list that does it.
    fs::remove_file(server.path("nginx.sock")).unwrap();
    let nginx = Nginx::serve(&server, &settings);
    is_served(
        &curl(&nginx, &["--cert", &chain, "--key", &key]),
        "hello CN=mallory",
    );
}
