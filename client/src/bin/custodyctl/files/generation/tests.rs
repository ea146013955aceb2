use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::*;

fn pair(content: &str) -> [File<'_>; 2] {
    ["one", "other"].map(|folder| File {
        folder: folder.to_owned(),
        name: "file".to_owned(),
        content: content.as_bytes(),
    })
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with(GENERATION))
        .collect();
    names.sort();
    names
}

fn generations(path: &Path) -> usize {
    fs::read_dir(path).unwrap().count() - names(path).len()
}

#[test]
fn a_newer_generation_takes_the_place_of_all_of_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    replace(folder.path(), &pair("old")).unwrap();
    let [one, _] = pair("new");
    replace(folder.path(), &[one]).unwrap();
    assert_eq!(names(folder.path()), [NEWEST, "one"]);
    assert_eq!(generations(folder.path()), 1, "keys of before do not stay");
    let file = folder.path().join("one/file");
    assert_eq!(fs::read(&file).unwrap(), b"new");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(file.parent().unwrap()), 0o700);
}

#[test]
fn what_somebody_else_put_there_stays_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("other")).unwrap();
    let refused = replace(folder.path(), &pair("new")).unwrap_err();
    assert!(matches!(refused, Error::InTheWay(_)), "{refused}");
    assert_eq!(names(folder.path()), ["other"]);
    assert_eq!(generations(folder.path()), 0);
}

#[test]
fn a_generation_that_cannot_be_written_leaves_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    replace(folder.path(), &pair("old")).unwrap();
    let [one, mut other] = pair("new");
    other.name = "no/such/folder".to_owned();
    replace(folder.path(), &[one, other]).unwrap_err();
    assert_eq!(fs::read(folder.path().join("one/file")).unwrap(), b"old");
    assert_eq!(generations(folder.path()), 1);
}

#[test]
fn what_a_crash_left_is_removed_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(format!("{GENERATION}dead"))).unwrap();
    symlink("nowhere", folder.path().join(NEXT)).unwrap();
    replace(folder.path(), &pair("new")).unwrap();
    assert_eq!(names(folder.path()), [NEWEST, "one", "other"]);
    assert_eq!(generations(folder.path()), 1);
}

#[test]
fn whoever_opens_the_newest_once_never_finds_files_of_two_generations() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    replace(path, &pair("0")).unwrap();
    let is_over = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !is_over.load(Ordering::Relaxed) {
                let newest = path.join(fs::read_link(path.join(NEWEST)).unwrap());
                let read = |name: &str| fs::read_to_string(newest.join(name).join("file"));
                // The generation may be gone by now: then it is opened again.
                if let (Ok(one), Ok(other)) = (read("one"), read("other")) {
                    assert_eq!(one, other);
                    seen.insert(one);
                }
            }
            seen
        });
        // As many as it takes: until the reader has had its chance, and a few at least.
        for number in 0..200 {
            replace(path, &pair(&number.to_string())).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(!seen.is_empty());
}
