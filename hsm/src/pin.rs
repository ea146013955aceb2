//! Has the PIN changed at the token, in a process of its own that may hang or crash.

use crate::{
    Settings,
    doctor::{self, Finding, Outcome, visit},
    succession::Stand,
    wire::visit::Task,
};

/// Logs in, has the token change its PIN to [`Settings::next_pin`], and shows by a login of
/// another process that it has. Each login is under the rules of [`Settings::pin_latch`], and
/// nobody else's falls in between.
///
/// A worker must have logged in with the same settings before. `settings.worker` names the command
/// whose body is [`doctor`](crate::doctor()). Killed at any moment, it leaves on record what the
/// next login is with.
pub fn change(settings: &Settings) -> doctor::Report {
    let mut report = visit(settings, Task::ChangePin);
    if report.outcome() != Outcome::Refused {
        let shown = visit(settings, Task::LogIn).findings.into_iter();
        let of_note =
            |finding: &Finding| finding.check == "proof" || finding.outcome == Outcome::Refused;
        report.findings.extend(shown.filter(of_note));
    } else if settings.stand() == Some(Stand::Begun) {
        report.findings.push(Finding {
            check: "change".to_owned(),
            outcome: Outcome::Refused,
            found: "whether the token has changed its PIN is not known".to_owned(),
            advice: Some(
                "the next login, of whatever process, tries the next PIN, once; if the token refuses it, pin-refused says what to do"
                    .to_owned(),
            ),
        });
    }
    report
}
