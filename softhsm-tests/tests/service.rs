//! The main job: what a service gets, and how the daemon comes and goes.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{fs::MetadataExt as _, net::UnixDatagram},
    process::{Command, Stdio},
};

use client::Provider;
use nix::sys::signal::{Signal, kill};
use softhsm_tests::{Site, text, until};

#[test]
fn a_service_gets_the_key_pair_that_the_operator_stored() {
    let site = Site::new();
    let daemon = site.start();
    let pair = site.put_tls("web/tls");

    let denied = site.fetch("web/tls");
    assert_eq!(denied.status.code(), Some(3), "{}", text(&denied));

    site.ctl(&[
        "grant",
        "add",
        "--allow-weak",
        "web",
        "tls",
        "--uid",
        &nix::unistd::getuid().to_string(),
    ]);
    std::fs::create_dir(site.path("out")).unwrap();
    site.ctl(&[
        "fetch",
        "web/tls",
        "--out",
        site.path("out").to_str().unwrap(),
    ]);
    let read = |name: &str| std::fs::read_to_string(site.path("out").join(name)).unwrap();
    assert_eq!(read("certificate-chain.pem"), pair.certificate);
    assert_eq!(read("private-key.pem"), pair.key);

    daemon.stop();
    let verified = site.verify_journal();
    assert!(verified.status.success(), "{}", text(&verified));
    assert_eq!(site.entries("allow").len(), 1);
    assert_eq!(site.entries("deny").len(), 1);
}

#[test]
fn a_tls_server_serves_with_the_pair_it_fetched() {
    let site = Site::new();
    let _daemon = site.start();
    site.put_tls("web/tls");
    site.ctl(&[
        "grant",
        "add",
        "--allow-weak",
        "web",
        "tls",
        "--uid",
        &uid(),
    ]);
    std::fs::create_dir(site.path("out")).unwrap();
    site.ctl(&[
        "fetch",
        "web/tls",
        "--out",
        site.path("out").to_str().unwrap(),
    ]);

    let mut server = Command::new("openssl")
        .args([
            "s_server",
            "-accept",
            "127.0.0.1:0",
            "-www",
            "-naccept",
            "1",
        ])
        .arg("-cert")
        .arg(site.path("out/certificate-chain.pem"))
        .arg("-key")
        .arg(site.path("out/private-key.pem"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let address = lines.find_map(|line| line.unwrap().strip_prefix("ACCEPT ").map(str::to_owned));
    let mut client = Command::new("openssl")
        .args([
            "s_client",
            "-quiet",
            "-verify_return_error",
            "-verify_hostname",
            "localhost",
        ])
        .args(["-connect", &address.unwrap()])
        .arg("-CAfile")
        .arg(site.path("cert.pem"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    client
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"GET / HTTP/1.0\r\n\r\n")
        .unwrap();
    let answer = client.wait_with_output().unwrap();
    server.wait().unwrap();
    assert!(text(&answer).contains("HTTP/1.0 200"), "{}", text(&answer));
}

#[test]
fn what_was_stored_is_there_after_a_restart() {
    let site = Site::new();
    let daemon = site.start();
    site.furnish(b"one");
    daemon.stop();
    let _daemon = site.start();
    assert_eq!(site.fetch("web/key").stdout, b"one");
}

#[test]
fn a_version_that_was_overtaken_is_still_there_by_its_number() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish(b"one");
    assert!(site.put("web/key", b"two").status.success());
    assert_eq!(site.fetch("web/key").stdout, b"two");
    assert_eq!(site.fetch("web/key@1").stdout, b"one");
    assert_eq!(site.fetch("web/key@3").status.code(), Some(3));
    site.ctl(&["secret", "delete", "web/key", "--yes", "--force"]);
    assert_eq!(site.fetch("web/key@1").status.code(), Some(3));
    let left = site.sqlite("SELECT (SELECT count(*) FROM content) + (SELECT count(*) FROM wrap)");
    assert_eq!(left.trim(), "0", "nothing of it is left in the database");
}

#[test]
fn a_signal_reads_the_configuration_again_as_a_whole_or_not_at_all() {
    let site = Site::new();
    let daemon = site.start();
    let reload = |says: &str| {
        let before = site.log().matches(says).count();
        daemon.signal(Signal::SIGHUP);
        until(says, || {
            (site.log().matches(says).count() > before).then_some(())
        });
    };
    let config = std::fs::read_to_string(site.path("custodyd.toml")).unwrap();
    let write = |text: &str| std::fs::write(site.path("custodyd.toml"), text).unwrap();
    let louder = config.replace("[token]", "[log]\nlevel = \"debug\"\n[token]");
    let debugs = || site.log().matches("DEBUG").count();

    // a level, and a setting that needs a restart or is none: neither is taken
    write(&louder.replace("level", "format = \"json\"\nlevel"));
    reload("needs a restart");
    write(&louder.replace("[listen]", "[lissen]"));
    reload("stays as it was");
    assert_eq!(debugs(), 0);

    write(&louder);
    reload("was read again");
    site.ctl(&["status"]);
    until("it says more", || (debugs() > 0).then_some(()));
}

#[test]
fn the_service_manager_is_told_and_hands_over_its_sockets() {
    let site = Site::new();
    let manager = UnixDatagram::bind(site.path("notify")).unwrap();
    manager
        .set_read_timeout(Some(std::time::Duration::from_secs(30)))
        .unwrap();
    let hears = |wanted: &str| {
        let mut buffer = [0; 512];
        loop {
            let length = manager.recv(&mut buffer).expect(wanted);
            if String::from_utf8_lossy(&buffer[..length]).contains(wanted) {
                return;
            }
        }
    };
    // what systemd does: bind, pass the descriptors from 3 on, execute
    let script = "import os, socket, sys\n\
        sockets = []\n\
        for path in sys.argv[1:3]:\n    \
            s = socket.socket(socket.AF_UNIX); s.bind(path); s.listen(); sockets.append(s.detach())\n\
        spare = [os.dup2(fd, 100 + at) for at, fd in enumerate(sockets)]\n\
        for at, fd in enumerate(spare): os.dup2(fd, 3 + at, inheritable=True)\n\
        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2')\n\
        os.execv(sys.argv[3], sys.argv[3:])\n";
    let mut command = Command::new("python3");
    command
        .args(["-c", script])
        // the other way round than the daemon names them
        .args([
            site.path("run/provider.sock"),
            site.path("run/manager.sock"),
        ])
        .arg(softhsm_tests::command("custodyd"))
        .arg("run")
        .arg(site.path("custodyd.toml"))
        .env("NOTIFY_SOCKET", site.path("notify"))
        .stdin(Stdio::null());
    let daemon = site.start_as(command);
    hears("READY=1");
    let inode = |name: &str| std::fs::metadata(site.path(name)).unwrap().ino();
    let handed = (inode("run/manager.sock"), inode("run/provider.sock"));
    site.furnish(b"one");
    assert_eq!(site.fetch("web/key").stdout, b"one");
    assert_eq!(
        handed,
        (inode("run/manager.sock"), inode("run/provider.sock"))
    );
    daemon.signal(Signal::SIGHUP);
    hears("RELOADING=1");
    hears("READY=1");
    daemon.stop();
    hears("STOPPING=1");
}

#[tokio::test]
async fn a_watcher_hears_of_each_version_until_its_grant_is_gone() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish(b"one");
    let provider = Provider::connect(site.path("run/provider.sock"))
        .await
        .unwrap();
    let mut watch = provider.watch("web", "key").await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap(), 1);
    assert!(site.put("web/other", b"x").status.success());
    assert!(site.put("web/key", b"two").status.success());
    assert_eq!(watch.next().await.unwrap().unwrap(), 2);

    let grants: serde_json::Value =
        serde_json::from_str(&site.ctl(&["grant", "list", "-o", "json"])).unwrap();
    let grant = grants
        .pointer("/grants/0/id")
        .and_then(|id| id.as_str())
        .unwrap();
    site.ctl(&["grant", "revoke", grant, "--yes"]);
    assert!(site.put("web/key", b"three").status.success());
    assert!(matches!(
        watch.next().await,
        Some(Err(client::Error::Denied))
    ));
    assert!(watch.next().await.is_none());
    assert!(matches!(
        provider.watch("web", "key").await.err(),
        Some(client::Error::Denied)
    ));
}

#[test]
fn an_open_request_is_finished_before_the_daemon_stops() {
    let site = Site::new();
    site.configure_deadline(60_000);
    let daemon = site.start();
    site.furnish(b"one");
    let worker = daemon.worker();
    kill(worker, Signal::SIGSTOP).unwrap();
    let fetch = site
        .custodyctl()
        .args(["fetch", "web/key"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    until("the release is on record", || {
        (!site.entries("allow").is_empty()).then_some(())
    });
    daemon.signal(Signal::SIGTERM);
    until("the daemon is stopping", || {
        site.log().contains("stopping").then_some(())
    });
    kill(worker, Signal::SIGCONT).unwrap();
    assert_eq!(fetch.wait_with_output().unwrap().stdout, b"one");
    daemon.stop();
}

#[test]
fn one_state_directory_has_one_daemon() {
    let site = Site::new();
    let _daemon = site.start();
    let (status, log) = site.refused_start();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("another custodyd"), "{log}");
    assert!(site.try_ctl(&["status"]).status.success());
}

#[test]
fn a_throw_away_daemon_says_that_it_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::new();
    let directory = folder.path().join("dev");
    let mut command = Command::new(softhsm_tests::command("custodyd"));
    command
        .arg("dev")
        .arg("--directory")
        .arg(&directory)
        .stdin(Stdio::null());
    let daemon = site.start_as(command);
    let status = Command::new(softhsm_tests::command("custodyctl"))
        .args(["status", "-o", "json"])
        .env("CUSTODY_MANAGER", directory.join("run/manager.sock"))
        .output()
        .unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["development"], true);
    assert!(
        site.log()
            .contains("throw-away daemon: never give it a real secret")
    );
    assert!(site.log().contains("export CUSTODY_PROVIDER="));
    daemon.stop();

    // what it leaves cannot be run as if it were real
    let output = Command::new(softhsm_tests::command("custodyd"))
        .arg("run")
        .arg(directory.join("custodyd.toml"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", text(&output));
}

#[tokio::test]
async fn health_is_said_on_both_sockets() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let site = Site::new();
    let _daemon = site.start();
    for (socket, service) in [
        ("run/manager.sock", "custody.v1.Manager"),
        ("run/provider.sock", "custody.v1.Provider"),
    ] {
        let path = format!("unix:{}", site.path(socket).display());
        let channel = tonic::transport::Endpoint::new(path)
            .unwrap()
            .connect()
            .await
            .unwrap();
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = HealthClient::new(channel).check(request).await.unwrap();
        assert_eq!(answer.into_inner().status().as_str_name(), "SERVING");
    }
}

fn uid() -> String {
    nix::unistd::getuid().to_string()
}
