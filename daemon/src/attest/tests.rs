//! What is learned of real processes and files, by a process that is alone.

use std::{
    fs,
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use custody::caller::{fact::Needs, observation::ExeDoubt};

use super::*;

/// Waits for what must happen, but not for ever.
pub(super) fn until(what: &str, happens: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !happens() {
        assert!(Instant::now() < end, "it does not happen that {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

struct Killed(Child);

impl Killed {
    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A program at `path` that waits to be killed.
fn sleeper(path: &Path) -> Killed {
    let copied = Command::new("cp").arg("/bin/sleep").arg(path).status();
    assert!(copied.unwrap().success());
    Killed(Command::new(path).arg("60").spawn().unwrap())
}

fn sha256(path: impl AsRef<Path>) -> String {
    let content = fs::read(path).unwrap();
    hex::encode(aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        &content,
    ))
}

#[tokio::test]
async fn a_process_is_known_by_its_number_with_everything_that_a_grant_can_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap().join("sleeper");
    let child = sleeper(&path);
    let attestor = Attestor::alone();
    let evidence = attestor.process(child.pid()).await.unwrap();
    assert_eq!(evidence.pid, child.pid());
    assert_eq!(evidence.uid, nix::unistd::geteuid().as_raw());
    assert_eq!(evidence.exe.as_deref(), path.to_str());
    assert_eq!(evidence.facts.sha256, Some(sha256(&path)));
    assert_eq!(evidence.facts.traced, Some(false));
    assert_eq!(evidence.namespaces.mnt, Some(true));

    drop(child);
    assert_eq!(attestor.process(0).await.unwrap_err(), Doubt::Gone);
    assert!(
        attestor
            .members("there-is-no-such.service")
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn an_executable_over_the_limit_has_no_hash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sleeper");
    let child = sleeper(&path);
    let attestor = |hash_limit| {
        let settings = Settings {
            hash_limit,
            ..Settings::default()
        };
        Attestor::start(settings, None).unwrap()
    };
    let size = fs::metadata(&path).unwrap().len();
    let over = attestor(size - 1).process(child.pid()).await.unwrap();
    assert_eq!(over.facts.sha256, None);
    let at = attestor(size).process(child.pid()).await.unwrap();
    assert!(at.facts.sha256.is_some());
}

#[tokio::test]
async fn what_executes_memory_has_no_path() {
    let script = "import os\n\
        memory = os.memfd_create('bin')\n\
        os.write(memory, open('/bin/sleep', 'rb').read())\n\
        os.execve(memory, ['sleep', '60'], {})\n";
    let child = Killed(
        Command::new("python3")
            .args(["-c", script])
            .spawn()
            .unwrap(),
    );
    let exe = format!("/proc/{}/exe", child.pid());
    until("it executes memory", || {
        let exe = fs::read_link(&exe).unwrap();
        exe.starts_with("/memfd:bin (deleted)")
    });
    let evidence = Attestor::alone().process(child.pid()).await.unwrap();
    assert_eq!(evidence.exe, None);
    assert_eq!(evidence.exe_doubt, Some(ExeDoubt::Memory));
}

#[tokio::test]
async fn a_file_named_as_if_it_were_deleted_keeps_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap().join("x (deleted)");
    let child = sleeper(&path);
    let evidence = Attestor::alone().process(child.pid()).await.unwrap();
    assert_eq!(evidence.exe.as_deref(), path.to_str());
}

#[tokio::test]
async fn nothing_is_learned_of_a_peer_that_executes_another_program_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let script = "import os, socket, sys\n\
        s = socket.socket(socket.AF_UNIX)\n\
        s.connect(sys.argv[1])\n\
        os.set_inheritable(s.fileno(), True)\n\
        sys.stdin.read(1)\n\
        os.execv('/bin/sleep', ['sleep', '60'])\n";
    let child = Command::new("python3")
        .args(["-c", script, path.to_str().unwrap()])
        .stdin(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut child = Killed(child);
    let (stream, _) = listener.accept().await.unwrap();
    let attestor = Attestor::alone();
    let peer = Peer::of(&stream, &attestor).await.unwrap();
    let evidence = peer.evidence(&attestor).await.unwrap();
    let known = attestor.learn(&peer, evidence.clone(), Needs::ALL).await;
    assert!(known.facts.sha256.is_some());

    child.0.stdin.take().unwrap().write_all(b"x").unwrap();
    let exe = format!("/proc/{}/exe", child.pid());
    until("it executes another program", || {
        fs::read_link(&exe).unwrap().ends_with("sleep")
    });
    let unknown = attestor.learn(&peer, evidence, Needs::ALL).await;
    assert_eq!(unknown.facts, Facts::default());
}

#[tokio::test]
async fn where_there_is_no_bus_nothing_is_known_of_units() {
    let attestor = Attestor::alone();
    // In an installation with a bus it is not there either.
    let found = attestor.unit("there-is-no-such.service").await;
    assert!(found.is_none_or(|found| !found.exists));
    assert_eq!(attestor.file("/there/is/no/such/file").await, None);
}
