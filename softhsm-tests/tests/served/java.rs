//! Java at the client's end.

use std::{
    io,
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::Output,
    thread,
};

use softhsm_tests::{
    Site,
    pki::HOST,
    text,
    tool::{self, Bench},
};

use crate::{Nginx, fetch, store};

/// A port of this machine at which connections to `socket` are made, one after the other;
/// Java's TLS has no Unix sockets.
fn port_of(socket: PathBuf) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let server = UnixStream::connect(&socket).unwrap();
            relay(&client.unwrap(), &server);
        }
    });
    port
}

/// Until both have ended.
fn relay(client: &TcpStream, server: &UnixStream) {
    thread::scope(|scope| {
        scope.spawn(|| {
            // Either may break off, which is for them to notice.
            drop(io::copy(&mut &*client, &mut &*server));
            drop(server.shutdown(Shutdown::Write));
        });
        drop(io::copy(&mut &*server, &mut &*client));
        drop(client.shutdown(Shutdown::Write));
    });
}

fn client(bench: &Bench, port: u16, trusted: &Bench, keys: &Bench) -> Output {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/served/Client.java");
    bench
        .tool("java")
        .args(["-XX:TieredStopAtLevel=1", source, &port.to_string(), HOST])
        .args([trusted.at("truststore.p12"), trusted.at("password")])
        .args([keys.at("keystore.p12"), keys.at("password")])
        .output()
        .unwrap()
}

#[test]
fn java_meets_nginx_with_the_stores_that_it_was_delivered() {
    let test = "java_meets_nginx_with_the_stores_that_it_was_delivered";
    if !tool::has(test, &["nginx", "java", "keytool"]) {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    let made = store(&site);
    let roots = fetch(&site, "roots", "pem").at("certificates.pem");
    let settings = format!(
        "ssl_certificate bundle.pem; ssl_certificate_key bundle.pem; ssl_verify_client on; \
         ssl_verify_depth 2; ssl_client_certificate {roots};"
    );
    let nginx = Nginx::serve(&fetch(&site, "server", "pem-bundle"), &settings);
    let port = port_of(nginx.socket.clone());

    let trusted = fetch(&site, "roots", "java-truststore");
    let listed = trusted.run("keytool -list -keystore truststore.p12 -storepass:file password");
    assert!(listed.contains("contains 1 entry"), "{listed}");
    assert!(listed.contains("trustedCertEntry"), "{listed}");
    let alice = fetch(&site, "alice", "pkcs12");
    let listed = alice.run("keytool -list -v -keystore keystore.p12 -storepass:file password");
    assert!(listed.contains("Entry type: PrivateKeyEntry"), "{listed}");
    assert!(listed.contains("Certificate chain length: 2"), "{listed}");

    let output = client(&made, port, &trusted, &alice);
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).ends_with("hello CN=alice"),
        "{}",
        text(&output)
    );

    // A store in which another authority is trusted.
    made.write("password", "geheim");
    made.run(
        "keytool -importcert -noprompt -alias other -file alice.crt -storepass:file password \
         -keystore truststore.p12",
    );
    let output = client(&made, port, &made, &alice);
    assert!(!output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("PKIX path building failed"),
        "{}",
        text(&output)
    );
    assert!(!text(&output).contains("hello"), "{}", text(&output));
}
