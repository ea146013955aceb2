//! Starts that must fail.

use std::process::{Command, ExitStatus, Stdio};

use crate::{Site, text};

/// After how many seconds a daemon that was to refuse, and serves, is ended.
const PATIENCE: &str = "30";

impl Site {
    /// Runs `custodyd run`, which must not come to serve; gives its exit status and what
    /// it printed.
    pub fn does_not_start(&self) -> (ExitStatus, String) {
        let daemon = self.custodyd("run");
        let output = Command::new("timeout")
            .args(["--kill-after=5", PATIENCE])
            .arg(daemon.get_program())
            .args(daemon.get_args())
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .output()
            .expect("timeout runs");
        let printed = text(&output);
        assert_ne!(output.status.code(), Some(124), "it serves: {printed}");
        (output.status, printed)
    }
}
