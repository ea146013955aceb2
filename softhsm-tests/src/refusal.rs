//! Starts that must fail.

use std::process::ExitStatus;

use crate::{Site, text, until};

impl Site {
    /// Runs `custodyd run --no-wait`, which is expected to refuse; gives its exit status and log.
    pub fn refused_start(&self) -> (ExitStatus, String) {
        let mut run = self.custodyd("run");
        let output = run.arg("--no-wait").output().expect("custodyd runs");
        (output.status, text(&output))
    }

    /// Runs `custodyd run --no-wait`, which must end before it serves; gives its exit status and
    /// what it printed.
    pub fn does_not_start(&self) -> (ExitStatus, String) {
        let before = self.log().len();
        let mut run = self.custodyd("run");
        run.arg("--no-wait");
        let mut daemon = self.launch(run);
        let status = until("the daemon ends", || {
            let ended = daemon.child.try_wait().expect("it is ours");
            let served = self.log()[before..].contains("serving");
            assert!(!served, "it serves");
            ended
        });
        (status, self.log()[before..].to_owned())
    }
}
