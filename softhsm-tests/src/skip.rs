//! Tests that cannot be run here, and saying so where it is heard.

use std::{env, fs, io::Write as _};

use nix::unistd::getuid;

/// Set where every test must be run.
const NO_SKIPS: &str = "CUSTODYD_NO_SKIPS";
/// The file that lists those that were not.
const SKIPPED: &str = "CUSTODYD_SKIPPED";

/// Takes note that `test` is not run, since it needs what is not here. Where every test
/// must be run, fails.
pub fn skip(test: &str, needs: &str) {
    assert!(
        env::var_os(NO_SKIPS).is_none(),
        "{test} must be run here, and needs {needs}"
    );
    eprintln!("SKIPPED: {test} needs {needs}");
    if let Some(list) = env::var_os(SKIPPED) {
        let list = fs::OpenOptions::new().create(true).append(true).open(list);
        // One write, since others add to it at the same time.
        let line = format!("{test} needs {}\n", needs.replace('\n', " "));
        list.and_then(|mut list| list.write_all(line.as_bytes()))
            .expect("the list of skipped tests is written");
    }
}

/// Whether this test may use other uids and namespaces. If not, it is skipped.
pub fn is_root(test: &str) -> bool {
    let root = getuid().is_root();
    if !root {
        skip(test, "root");
    }
    root
}

/// Whether this test may trace processes that are not its children. If not, it is skipped.
pub fn may_trace(test: &str) -> bool {
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    let may = match scope.trim() {
        "" | "0" => true,
        "3" => false,
        _ => getuid().is_root(),
    };
    if !may {
        skip(test, "to trace other processes, which Yama rules out");
    }
    may
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Set for the test that is run by another.
    const INNER: &str = "CUSTODYD_TEST_SKIP";

    #[test]
    fn what_is_skipped_is_listed_and_fails_where_nothing_may_be() {
        if env::var_os(INNER).is_some() {
            return skip("this one", "a test that runs it");
        }
        let list = tempfile::NamedTempFile::new().expect("a file");
        let run = |variables: &[(&str, &str)]| {
            let own = env::current_exe().expect("a test has a path");
            let mut command = Command::new(own);
            command
                .arg("what_is_skipped_is_listed")
                .env_remove(NO_SKIPS)
                .env(SKIPPED, list.path())
                .env(INNER, "1")
                .envs(variables.iter().copied());
            command.output().expect("it runs").status.success()
        };
        let listed = || fs::read_to_string(list.path()).expect("text");
        assert!(!run(&[(NO_SKIPS, "1")]));
        assert_eq!(listed(), "");
        assert!(run(&[]));
        assert_eq!(listed(), "this one needs a test that runs it\n");
    }
}
