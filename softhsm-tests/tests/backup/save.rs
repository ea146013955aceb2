//! Taking a backup, and what there is to verify.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use custody::role::Role;
use nix::unistd::getuid;
use serde_json::Value;
use softhsm_tests::{
    Site,
    disk::{SmallDisk, with_own_mounts},
    is_root, text,
};

use super::{CANARY, save, saved, shows_canary, verify};

#[test]
fn a_backup_is_whole_signed_on_record_and_ciphertext() {
    let site = Site::new();
    let daemon = site.start();
    site.furnish(CANARY);
    let saved = saved(&site, "one.tar");
    let bytes = fs::read(&saved.path).unwrap();
    assert!(!shows_canary(&bytes));
    let mode = saved.path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!site.path("one.tar.part").exists());

    // It is a tar file, for everybody.
    let bench = site.bench("unpacked");
    bench.run(&format!("tar xf {}", saved.path.display()));
    let listed = bench.run("find . -type f -printf %m:%P\\n");
    let mut listed: Vec<_> = listed.lines().collect();
    listed.sort_unstable();
    assert_eq!(
        listed,
        [
            "600:custody.db",
            "600:journal/journal-00000000000000000001.jsonl",
            "600:manifest.json",
            "600:manifest.sig",
            "600:usage.json",
        ]
    );
    let manifest: Value = serde_json::from_slice(&bench.read("manifest.json")).unwrap();
    assert_eq!(manifest["token_serial"], *site.serial);
    for member in manifest["members"].as_array().unwrap() {
        let name = member["name"].as_str().unwrap();
        let sum = bench.run(&format!("sha256sum {name}"));
        assert!(sum.starts_with(member["sha256"].as_str().unwrap()), "{sum}");
    }
    let head = bench.run("sqlite3 custody.db .dump");
    assert!(head.contains(&format!(
        "INSERT INTO head VALUES(1,{})",
        manifest["settled"]["number"]
    )));

    // The journal says who asked for it, and which it was.
    let asked = site.entries("manage").into_iter();
    let asked: Vec<_> = asked
        .filter(|entry| entry["operation"] == "backup")
        .collect();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0]["operator"]["uid"], getuid().as_raw());
    let made = site.entries("backup").pop().unwrap();
    for (recorded, told) in [
        ("backup", "backup"),
        ("manifest", "manifest"),
        ("through", "sequence"),
        ("size", "size"),
    ] {
        assert_eq!(made[recorded], saved.told[told], "{recorded}");
    }
    assert!(made["through"].as_u64() >= asked[0]["seq"].as_u64());

    // It verifies with the public key alone, after the daemon is gone.
    daemon.stop();
    let verified = verify(&site, "one.tar");
    assert!(verified.status.success(), "{}", text(&verified));
    assert!(!site.path("state/backup").read_dir().unwrap().any(|_| true));
}

#[test]
fn what_was_changed_cut_off_or_made_elsewhere_does_not_verify() {
    let (site, other) = (Site::new(), Site::new());
    let _daemons = (site.start(), other.start());
    site.furnish(CANARY);
    let bytes = fs::read(saved(&site, "one.tar").path).unwrap();
    let manifest = b"\"change";
    let in_manifest = bytes
        .windows(manifest.len())
        .position(|part| part == b"\"number");
    let mut flips = vec![in_manifest.unwrap() + 10, bytes.len() / 2, bytes.len() - 1];
    flips.extend((0..20).map(|nth| nth * bytes.len() / 20));
    for at in flips {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        fs::write(site.path("changed.tar"), changed).unwrap();
        let output = verify(&site, "changed.tar");
        assert_eq!(output.status.code(), Some(8), "{at}: {}", text(&output));
    }
    for length in [0, 1, 512, bytes.len() / 2, bytes.len() - 1] {
        fs::write(site.path("cut.tar"), &bytes[..length]).unwrap();
        let output = verify(&site, "cut.tar");
        assert_eq!(output.status.code(), Some(8), "{length}: {}", text(&output));
        assert!(text(&output).contains("cut off"), "{}", text(&output));
    }
    // One whose database is of another backup, packed by hand.
    let bench = site.bench("unpacked");
    bench.run("tar xf ../one.tar");
    site.put("web/key", b"another version");
    saved(&site, "two.tar");
    bench.run("tar xf ../two.tar custody.db");
    let all = "manifest.json manifest.sig custody.db usage.json journal";
    bench.run(&format!("tar cf ../swapped.tar --format=ustar {all}"));
    // And one of another installation, where ours is expected.
    let foreign = saved(&other, "foreign.tar").path;
    fs::copy(foreign, site.path("foreign.tar")).unwrap();
    for (name, why) in [
        ("swapped.tar", "no"),
        ("foreign.tar", "another installation"),
    ] {
        let output = verify(&site, name);
        assert_eq!(output.status.code(), Some(8), "{name}: {}", text(&output));
        assert!(text(&output).contains(why), "{}", text(&output));
    }
    assert!(verify(&site, "two.tar").status.success());
}

#[test]
fn backups_made_while_everything_changes_are_each_of_one_moment() {
    let site = Site::new();
    // Many segments, of which new ones begin all the time.
    site.configure("[journal]\nsegment-size = \"16KiB\"\n");
    let _daemon = site.start();
    site.furnish(CANARY);
    let stop = Arc::new(AtomicBool::new(false));
    thread::scope(|scope| {
        for writer in 0..2 {
            let (site, stop) = (&site, Arc::clone(&stop));
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let content = format!("{writer}-{number}");
                    let output = site.put(&format!("web/w{writer}"), content.as_bytes());
                    assert!(output.status.success(), "{}", text(&output));
                    assert_eq!(site.fetch("web/key").stdout, CANARY);
                }
            });
        }
        let taken: Vec<_> = (0..4)
            .map(|nth| {
                thread::sleep(Duration::from_millis(200));
                let name = format!("{nth}.tar");
                let taken = save(&site, &name).output().unwrap();
                // The chain, and that it ends at the change that the manifest names.
                (taken, verify(&site, &name))
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        let mut changes = Vec::new();
        for (taken, verified) in taken {
            assert!(taken.status.success(), "{}", text(&taken));
            assert!(verified.status.success(), "{}", text(&verified));
            let told: Value = serde_json::from_slice(&taken.stdout).unwrap();
            changes.push(told["change"].as_u64().unwrap());
        }
        changes.dedup();
        assert_eq!(changes.len(), 4, "nothing changed in between: {changes:?}");
    });
}

#[test]
fn a_backup_takes_a_role() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish(CANARY);
    let roles = site.ctl_json(&["role", "list"]);
    let own: Vec<_> = roles["roles"].as_array().unwrap().iter().collect();
    let id = |role: Role| {
        let held = own.iter().find(|held| held["role"] == role.name());
        held.unwrap()["id"].as_str().unwrap()
    };
    // Somebody else has to be crypto officer for ours to go.
    site.ctl(&[
        "role",
        "assign",
        "crypto-officer",
        "--allow-weak",
        "--uid",
        "1",
    ]);
    site.ctl(&["role", "revoke", "--yes", id(Role::Auditor)]);
    saved(&site, "officer.tar");
    site.ctl(&["role", "revoke", "--yes", id(Role::CryptoOfficer)]);
    let output = save(&site, "none.tar").output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(!site.path("none.tar").exists() && !site.path("none.tar.part").exists());
    let refused = site.entries("refuse").pop().unwrap();
    assert_eq!(refused["operation"], "backup");
    assert_eq!(site.entries("backup").len(), 1);
}

#[test]
fn without_room_for_it_nothing_is_copied_and_everything_goes_on() {
    if !is_root("without_room_for_it_nothing_is_copied_and_everything_goes_on") {
        return;
    }
    with_own_mounts(|| {
        let site = Site::new();
        let _disk = SmallDisk::under(&site, 8 << 10);
        let _daemon = site.start();
        site.furnish(CANARY);
        let output = save(&site, "one.tar").output().unwrap();
        assert_eq!(output.status.code(), Some(5), "{}", text(&output));
        assert!(text(&output).contains("no room"), "{}", text(&output));
        assert!(!site.path("one.tar.part").exists());
        assert_eq!(site.fetch("web/key").stdout, CANARY);
        assert!(!site.path("state/backup").read_dir().unwrap().any(|_| true));
        assert!(site.entries("backup").is_empty());
    });
}

#[test]
fn a_folder_gets_backups_named_after_their_time() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish(CANARY);
    fs::create_dir(site.path("all")).unwrap();
    for _ in 0..2 {
        let file = saved(&site, "all").told["file"]
            .as_str()
            .unwrap()
            .to_owned();
        let name = file.rsplit('/').next().unwrap();
        assert!(
            name.starts_with("custodyd-2") && name.ends_with(".tar"),
            "{file}"
        );
    }
    assert_eq!(site.path("all").read_dir().unwrap().count(), 2);
}
