//! Files and people that could keep an import from ending.

use std::{
    ffi::OsString,
    fs::{self, Permissions},
    os::unix::{
        ffi::OsStringExt as _,
        fs::{PermissionsExt as _, symlink},
        net::UnixListener,
    },
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, kill},
        stat::Mode,
    },
    unistd::{Pid, geteuid, mkfifo},
};

use super::{INCOMPLETE, furnished, import, outcomes, report, text};
use crate::canned::Daemon;

#[test]
fn what_could_hang_or_never_end_is_left_out_and_named() {
    let daemon = Daemon::start();
    let folder = daemon.path("in");
    fs::create_dir_all(folder.join("a/.git")).unwrap();
    fs::write(folder.join("a/.git/secret.env"), "A=1").unwrap();
    fs::write(folder.join("good.env"), "A=1").unwrap();
    mkfifo(&folder.join("pipe.env"), Mode::S_IRWXU).unwrap();
    symlink("..", folder.join("a/loop")).unwrap();
    symlink("good.env", folder.join("link.env")).unwrap();
    let huge = fs::File::create(folder.join("huge.env")).unwrap();
    huge.set_len((16 << 20) + 1).unwrap();
    let odd = OsString::from_vec(b"caf\xe9.env".to_vec());
    fs::write(folder.join(odd), "A=1").unwrap();
    let mut deep = folder.join("deep");
    for _ in 0..20 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("lost.env"), "A=1").unwrap();
    fs::write(folder.join("closed.env"), "A=1").unwrap();
    fs::set_permissions(folder.join("closed.env"), Permissions::from_mode(0o000)).unwrap();

    let start = Instant::now();
    let output = import(&daemon, &["--dry-run", "--report=report.json"]);
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(output.status.code(), INCOMPLETE, "{}", text(&output));
    let report = report(&daemon);
    let left = report["left"].as_array().unwrap();
    let why = |name: &str| {
        let found = left
            .iter()
            .find(|left| left["source"].as_str().unwrap().ends_with(name));
        found.unwrap_or_else(|| panic!("{name}: {left:?}"))["why"]
            .as_str()
            .unwrap()
    };
    assert_eq!(why("in/pipe.env"), "is no regular file");
    assert!(why("a/loop").starts_with("is a symbolic link"));
    assert!(why("in/link.env").starts_with("is a symbolic link"));
    assert!(why("a/.git").contains("not looked into"));
    assert_eq!(
        why("huge.env"),
        "has over 16 MiB, more than a file of secrets"
    );
    assert!(why("d/d").contains("deeper than 16 folders"));
    let mut names = vec!["caf".to_owned(), "good".to_owned()];
    match geteuid().is_root() {
        true => names.insert(1, "closed".to_owned()),
        false => assert!(why("closed.env").starts_with("cannot be read")),
    }
    let stored = outcomes(&report);
    assert_eq!(
        stored.into_iter().map(|(name, _)| name).collect::<Vec<_>>(),
        names
    );
    // A pipe that is named itself is not waited for either.
    let pipe = daemon.run(["import", "in/pipe.env", "--group=web", "--dry-run"]);
    assert!(
        text(&pipe).contains("is no regular file"),
        "{}",
        text(&pipe)
    );
    let nowhere = daemon.run(["import", "nowhere", "--group=web", "--dry-run"]);
    assert_eq!(nowhere.status.code(), Some(7), "{}", text(&nowhere));
}

#[test]
fn more_than_can_be_held_in_memory_is_imported_in_parts() {
    let daemon = Daemon::start();
    let folder = daemon.path("in");
    fs::create_dir(&folder).unwrap();
    for number in 0..=16 {
        let file = fs::File::create(folder.join(format!("{number}.env"))).unwrap();
        file.set_len(16 << 20).unwrap();
    }
    let output = import(&daemon, &["--dry-run"]);
    assert_eq!(output.status.code(), Some(7), "{}", text(&output));
    let says = "over 256 MiB together; import them in parts";
    assert!(text(&output).contains(says), "{}", text(&output));
}

#[test]
fn an_import_that_is_interrupted_says_how_far_it_came() {
    let daemon = furnished();
    let listener = UnixListener::bind(daemon.path("mute.sock")).unwrap();
    let (heard, hears) = std::sync::mpsc::channel();
    // It takes the call, and never answers.
    thread::spawn(move || {
        let connection = listener.accept();
        heard.send(()).unwrap();
        thread::sleep(Duration::from_secs(60));
        drop(connection);
    });
    let child = daemon
        .command()
        .args(["--manager-socket=mute.sock", "import", "in", "--group=web"])
        .args(["--yes", "--report=report.json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    hears.recv().unwrap();
    // The signal is waited for as soon as the first write is.
    thread::sleep(Duration::from_millis(500));
    kill(
        Pid::from_raw(child.id().try_into().unwrap()),
        Signal::SIGINT,
    )
    .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), INCOMPLETE, "{}", text(&output));
    assert!(
        text(&output).contains("the same import again goes on"),
        "{}",
        text(&output)
    );
    let fates = outcomes(&report(&daemon));
    assert_eq!(fates[0].1, "unknown");
    assert!(
        fates[1..].iter().all(|(_, fate)| fate == "not-reached"),
        "{fates:?}"
    );
}
