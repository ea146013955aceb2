//! rustls at either end, with what is delivered as PEM and as DER.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    sync::Arc,
    thread,
};

use rustls::{
    CertificateError, ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig,
    ServerConnection, Stream,
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use softhsm_tests::{
    Site,
    pki::HOST,
    tool::{self, Bench},
};

use crate::{Nginx, curl, fetch, is_refused, is_served, store};

/// curl's exit code if it is not let in, or told why it is not.
const NO_CONNECTION: i32 = 56;

fn roots(folder: &Bench) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let der = CertificateDer::from(folder.read("certificates.der"));
    roots.add(der).unwrap();
    Arc::new(roots)
}

/// A chain and its key, out of numbered DER files.
fn identity(folder: &Bench) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = [1, 2].map(|number| folder.read(&format!("certificate-chain-{number}.der")));
    let key = PrivateKeyDer::try_from(folder.read("private-key.der")).unwrap();
    (chain.map(CertificateDer::from).to_vec(), key)
}

/// The configuration of a server that knows its clients.
fn server(site: &Site) -> ServerConfig {
    let crls = fetch(site, "crls", "der");
    let crls = [1, 2]
        .map(|number| CertificateRevocationListDer::from(crls.read(&format!("crls-{number}.der"))));
    let clients = WebPkiClientVerifier::builder(roots(&fetch(site, "roots", "der")))
        .with_crls(crls)
        .build()
        .unwrap();
    let (chain, key) = identity(&fetch(site, "server", "der"));
    ServerConfig::builder()
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .unwrap()
}

/// Answers one client, and waits until it has heard that.
fn answer(config: &Arc<ServerConfig>, mut client: UnixStream) -> Result<(), io::Error> {
    let answered = hello(config, &mut client);
    client.shutdown(Shutdown::Write)?;
    io::copy(&mut client, &mut io::sink())?;
    answered
}

fn hello(config: &Arc<ServerConfig>, client: &mut UnixStream) -> Result<(), io::Error> {
    let mut connection = ServerConnection::new(Arc::clone(config)).unwrap();
    let mut stream = Stream::new(&mut connection, client);
    let mut lines = BufReader::new(&mut stream).lines();
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello from rustls")?;
    stream.conn.send_close_notify();
    stream.flush()
}

#[test]
fn rustls_serves_clients_of_curl_but_not_the_revoked() {
    if !tool::has(
        "rustls_serves_clients_of_curl_but_not_the_revoked",
        &["curl"],
    ) {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    let made = store(&site);
    let config = Arc::new(server(&site));
    let socket = made.path("rustls.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let trusted = fetch(&site, "roots", "pem").at("certificates.pem");
    let ask = |name: &str| {
        let client = fetch(&site, name, "pem-bundle").at("bundle.pem");
        thread::scope(|scope| {
            let answered = scope.spawn(|| answer(&config, listener.accept().unwrap().0));
            let output = curl(&made, &socket, &["--cacert", &trusted, "--cert", &client]);
            (output, answered.join().unwrap())
        })
    };
    let (output, answered) = ask("alice");
    is_served(&output, "hello from rustls");
    answered.unwrap();
    let (output, answered) = ask("mallory");
    is_refused(&output, NO_CONNECTION);
    let told = answered.unwrap_err().into_inner().unwrap();
    let told = told.downcast_ref::<Error>();
    let revoked = Error::InvalidCertificate(CertificateError::Revoked);
    assert_eq!(told, Some(&revoked));
}

#[test]
fn rustls_trusts_nginx_by_the_delivered_root_and_no_other() {
    if !tool::has(
        "rustls_trusts_nginx_by_the_delivered_root_and_no_other",
        &["nginx"],
    ) {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    let made = store(&site);
    let settings = "ssl_certificate bundle.pem; ssl_certificate_key bundle.pem;";
    let nginx = Nginx::serve(&fetch(&site, "server", "pem-bundle"), settings);
    let ask = |roots: Arc<RootCertStore>| {
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = HOST.try_into().unwrap();
        let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut socket = UnixStream::connect(&nginx.socket).unwrap();
        let mut stream = Stream::new(&mut connection, &mut socket);
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, io::Error>(answer)
    };
    let answer = ask(roots(&fetch(&site, "roots", "der"))).unwrap();
    assert!(answer.ends_with("hello "), "{answer}");
    let mut others = RootCertStore::empty();
    let other = CertificateDer::from_pem_slice(&made.read("alice.crt")).unwrap();
    others.add(other).unwrap();
    let told = ask(Arc::new(others)).unwrap_err().into_inner().unwrap();
    let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
    assert_eq!(told.downcast_ref::<Error>(), Some(&unknown));
}
