//! From a socket to evidence: what the kernel says of the process at the other end.

use std::os::unix::net::UnixStream as StdStream;

use custody::caller::{
    Evidence,
    fact::{Facts, Need, Needs},
    observation::{Doubt, Pinned},
};
use nix::{
    errno::Errno,
    sys::socket::{getsockopt, sockopt},
};

mod desk;
mod digest;
pub(crate) mod helper;
mod legacy;
mod look;
mod observe;
mod peer;
mod pidfd;
mod sight;
mod surroundings;
mod systemd;
mod view;

use digest::Digest;
use helper::{Helper, Running};
use observe::Hierarchy;
pub(crate) use peer::Peer;
use peer::Subject;
pub(crate) use pidfd::Life;
pub(crate) use surroundings::{FileFacts, UnitFacts};
use systemd::Systemd;
use view::View;

/// How peers are attested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Whether to make do with a process id where the kernel pins no peer.
    pub(crate) legacy_kernel: bool,
    /// The largest executable that is hashed, in bytes.
    pub(crate) hash_limit: u64,
    /// What becomes of those that another process traces.
    pub(crate) tracers: Tracers,
}

/// What becomes of callers that another process traces, which reads what they receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tracers {
    Refused,
    Allowed,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            legacy_kernel: false,
            hash_limit: 256 << 20,
            tracers: Tracers::Refused,
        }
    }
}

/// Finds out who callers are. There is one to a daemon.
#[derive(Debug)]
pub(crate) struct Attestor {
    settings: Settings,
    pinned: Pinned,
    cgroups: Hierarchy,
    view: View,
    systemd: Systemd,
    _helper: Option<Running>,
}

/// The kernel does not say who callers are.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CannotAttest {
    /// It is too old.
    #[error(
        "this kernel does not pin callers (SO_PEERPIDFD, Linux 6.5): update it; or set \
         legacy-kernel = true in [attestation], which tells callers by process id and start \
         time, and is weaker"
    )]
    OldKernel,
    /// It answers otherwise than it should.
    #[error("callers cannot be attested here: that takes Linux 6.5 (SO_PEERPIDFD) and /proc")]
    Kernel(#[source] std::io::Error),
}

impl Attestor {
    /// Looks at this machine, once. Without a helper, only executables of processes that
    /// this one might trace are seen.
    pub(crate) fn start(settings: Settings, helper: Option<Helper>) -> Result<Self, CannotAttest> {
        let (ours, _theirs) = StdStream::pair().map_err(CannotAttest::Kernel)?;
        let pinned = match getsockopt(&ours, sockopt::PeerPidfd) {
            Ok(_) => Pinned::AtConnect,
            Err(Errno::ENOPROTOOPT) if settings.legacy_kernel => Pinned::ByNumber,
            Err(Errno::ENOPROTOOPT) => return Err(CannotAttest::OldKernel),
            Err(error) => return Err(CannotAttest::Kernel(error.into())),
        };
        let (view, helper) = match helper {
            Some(helper) => {
                let (link, running) = helper.link().map_err(CannotAttest::Kernel)?;
                (View::Helpers(link.into()), Some(running))
            }
            None => (View::ours().map_err(CannotAttest::Kernel)?, None),
        };
        Ok(Self {
            settings,
            pinned,
            cgroups: Hierarchy::here().map_err(CannotAttest::Kernel)?,
            view,
            systemd: Systemd::default(),
            _helper: helper,
        })
    }

    /// What becomes of peers that are traced.
    fn tracers(&self) -> Tracers {
        self.settings.tracers
    }

    /// How peers are pinned.
    pub(crate) fn method(&self) -> Pinned {
        self.pinned
    }

    /// What this attestor cannot tell of callers, in sentences for people.
    pub(crate) fn lacks(&self) -> Vec<String> {
        let mut lacks = Vec::new();
        if self.pinned == Pinned::ByNumber {
            lacks.push(
                "callers are told by process id and start time: another process of the same \
                 user may take the place of one that has ended",
            );
        }
        if matches!(self.view, View::Ours(_)) {
            lacks.push(
                "executables and namespaces of other users' processes are not seen: that takes \
                 CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH",
            );
        }
        if self.cgroups.root().is_none() {
            lacks.push("units and containers are not seen: no unified control groups are mounted");
        }
        lacks.into_iter().map(str::to_owned).collect()
    }

    /// Waits until nothing can be found out any more: the helper is gone, and what it took
    /// to start it has been given up.
    pub(crate) async fn lost(&self) {
        match &self.view {
            View::Ours(_) => std::future::pending().await,
            View::Helpers(link) => link.lost().await,
        }
    }

    /// Looks up what `needs` names, and makes sure that the process is still what
    /// `evidence` says. What has no certain answer is missing, and all of it if it is not.
    pub(crate) async fn learn(&self, peer: &Peer, evidence: Evidence, needs: Needs) -> Evidence {
        if needs.is_empty() {
            return evidence;
        }
        let evidence = evidence.with(Facts::default());
        let facts = self.facts(&peer.subject, &evidence, needs).await;
        match peer.evidence(self).await {
            Ok(now) if evidence.unchanged(&now).is_ok() => evidence.with(facts),
            _ => evidence,
        }
    }

    async fn facts(&self, subject: &Subject, evidence: &Evidence, needs: Needs) -> Facts {
        let of_this_file =
            |digest: Digest| (Some(digest.file) == evidence.exe_file).then_some(digest.text);
        let sha256 = async {
            let limit = self.settings.hash_limit;
            match needs.has(Need::Sha256) {
                true => subject.eye.sha256(evidence.uid, limit).await,
                false => None,
            }
        };
        let verity = async {
            match needs.has(Need::Verity) {
                true => subject.eye.verity(evidence.uid).await,
                false => None,
            }
        };
        let fragment = async {
            match &evidence.unit {
                Some(unit) if needs.has(Need::Fragment) => {
                    let invocation = evidence.invocation.as_deref();
                    let uid = evidence.uid;
                    self.systemd.fragment(uid, unit, invocation).await
                }
                _ => None,
            }
        };
        let (sha256, verity, fragment) = tokio::join!(sha256, verity, fragment);
        Facts {
            sha256: sha256.and_then(of_this_file),
            verity: verity.and_then(of_this_file),
            fragment,
            // Last, since it can change at any moment.
            traced: if needs.has(Need::Tracer) {
                observe::traced(evidence.pid)
            } else {
                None
            },
        }
    }

    /// Everything about the process of this number, as if it had connected now.
    pub(crate) async fn process(&self, pid: i32) -> Result<Evidence, Doubt> {
        let (subject, evidence) = Subject::numbered(pid, self).await?;
        let facts = self.facts(&subject, &evidence, Needs::ALL).await;
        let (_, now) = Subject::numbered(pid, self).await?;
        match evidence.unchanged(&now) {
            Ok(()) => Ok(evidence.with(facts)),
            Err(_) => Err(Doubt::OtherProcess),
        }
    }

    /// Everything about the processes of a unit of the system's manager; of at most
    /// [`MEMBERS`].
    pub(crate) async fn members(&self, unit: &str) -> Vec<Evidence> {
        let mut members = Vec::new();
        for pid in self.cgroups.members(unit, MEMBERS) {
            // Some end while they are looked at.
            if let Ok(evidence) = self.process(pid).await
                && evidence.unit.as_deref() == Some(unit)
            {
                members.push(evidence);
            }
        }
        members
    }

    /// The file at `path` as the host sees it.
    pub(crate) async fn file(&self, path: &str) -> Option<FileFacts> {
        self.view.file(path, None).await
    }

    /// The same with its hash, if it is not too large.
    pub(crate) async fn hashed(&self, path: &str) -> Option<FileFacts> {
        self.view.file(path, Some(self.settings.hash_limit)).await
    }

    /// Whether a file that is not seen is not there.
    pub(crate) fn sees_all(&self) -> bool {
        matches!(self.view, View::Helpers(_))
    }

    /// A unit, as the system's service manager has it; `None` if that does not say.
    pub(crate) async fn unit(&self, name: &str) -> Option<UnitFacts> {
        self.systemd.unit(name).await
    }

    /// The unit that is in a run.
    pub(crate) async fn in_run(&self, invocation: &str) -> Option<UnitFacts> {
        self.systemd.in_run(invocation).await
    }
}

/// The most processes of a unit that are looked at.
const MEMBERS: usize = 32;

#[cfg(test)]
impl Attestor {
    /// One that needs no other process.
    pub(crate) fn alone() -> Self {
        Self::start(Settings::default(), None).unwrap()
    }
}

#[cfg(test)]
mod tests;
