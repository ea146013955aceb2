//! Looking at the machine for operators: at processes, units and files that they name.

use custody::{
    caller::Evidence,
    lint::{
        self, INTERPRETERS,
        surroundings::{File, Place, Surroundings, Unit},
    },
    policy::rule::Selectors,
    selector::Selector,
};

use super::{Custodian, Error};
use crate::{
    attest::{FileFacts, UnitFacts},
    names,
};

impl Custodian {
    /// What is known of the process `pid`, whatever it takes to find out.
    pub(crate) async fn process(&self, pid: i32) -> Result<Evidence, Error> {
        let found = self.attestor.process(pid).await;
        found.map_err(|_| Error::NoProcess(pid))
    }

    /// The processes in a unit of the system.
    pub(crate) async fn members(&self, unit: &str) -> Vec<Evidence> {
        self.attestor.members(unit).await
    }

    /// What the machine has of that which `selectors` name.
    pub(crate) async fn surroundings(&self, selectors: &Selectors) -> Surroundings {
        let mut found = Surroundings::default();
        for selector in selectors.as_slice() {
            match selector {
                Selector::Uid(uid) => {
                    let uid = *uid;
                    // A directory service may take its time.
                    let user = tokio::task::spawn_blocking(move || names::of_user(uid)).await;
                    found.user = user.ok().flatten();
                }
                Selector::Unit(unit) => {
                    found.unit = self.attestor.unit(unit).await.map(Into::into);
                }
                Selector::Fragment(path) if found.unit.is_none() => {
                    if let Some(unit) = lint::defined_in(path) {
                        found.unit = self.attestor.unit(unit).await.map(Into::into);
                    }
                }
                Selector::Invocation(run) if found.unit.is_none() => {
                    found.unit = self.attestor.in_run(run).await.map(Into::into);
                }
                Selector::Path(path) => {
                    found.exe = self.attestor.file(path).await.map(Into::into);
                    // Without the right to look everywhere, what is not seen may be there.
                    found.is_complete = self.attestor.sees_all();
                }
                Selector::Sha256(_) | Selector::Verity(_) => {
                    found.interpreters = self.interpreters().await;
                }
                _ => {}
            }
        }
        found
    }

    async fn interpreters(&self) -> Vec<(String, String)> {
        let mut known = Vec::new();
        // Python is hardly ever there without its version.
        for name in INTERPRETERS.into_iter().chain(["python3"]) {
            let path = format!("/usr/bin/{name}");
            let file = self.attestor.hashed(&path).await;
            let digests = file.map(|file| [file.sha256, file.verity]);
            let digests = digests.into_iter().flatten().flatten();
            known.extend(digests.map(|digest| (digest, path.clone())));
        }
        known
    }
}

impl From<UnitFacts> for Unit {
    fn from(found: UnitFacts) -> Self {
        Self {
            is_loaded: found.exists,
            is_delegated: found.delegate,
            invocation: found.invocation,
        }
    }
}

impl From<FileFacts> for File {
    fn from(found: FileFacts) -> Self {
        let last = found.way.last();
        Self {
            runs_as_other: last.is_some_and(|file| file.mode & 0o6000 != 0),
            real_path: found.path.display().to_string(),
            places: found
                .way
                .iter()
                .map(|owned| Place {
                    path: owned.path.display().to_string(),
                    uid: owned.uid,
                    gid: owned.gid,
                    mode: owned.mode,
                })
                .collect(),
        }
    }
}
