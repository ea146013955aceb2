//! Grants as an attacker on the same machine would read them.

use serde::Serialize;

use crate::{
    caller::cgroup::{self, is_session},
    policy::rule::{Patterns, Selectors},
    role::{Assignment, Role},
    selector::Selector,
};

pub mod parts;
pub mod surroundings;

use surroundings::{File, Surroundings};

/// Something that is wrong with a grant or a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Short name of the kind of finding, for the journal and for programs.
    pub code: &'static str,
    /// Whether insisting does not help.
    pub hopeless: bool,
    /// What is wrong.
    pub problem: String,
    /// What would be better.
    pub remedy: &'static str,
}

fn weak(code: &'static str, problem: impl Into<String>, remedy: &'static str) -> Finding {
    Finding {
        code,
        hopeless: false,
        problem: problem.into(),
        remedy,
    }
}

fn hopeless(code: &'static str, problem: impl Into<String>, remedy: &'static str) -> Finding {
    Finding {
        hopeless: true,
        ..weak(code, problem, remedy)
    }
}

/// What is weak or hopeless about giving secrets to whoever satisfies `selectors`, on a
/// machine that looks like `surroundings`.
pub fn grant(
    patterns: &Patterns,
    selectors: &Selectors,
    surroundings: &Surroundings,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if patterns
        .as_slice()
        .iter()
        .any(super::policy::rule::Pattern::is_everything)
    {
        findings.push(weak(
            "pattern-all",
            "it gives every secret of the group, and every one that is yet to come",
            "name the secrets, or a beginning that they share",
        ));
    }
    let demanded = Demanded::of(selectors);
    demanded.users(&mut findings, surroundings);
    demanded.units(&mut findings, surroundings);
    demanded.executables(&mut findings, surroundings);
    findings
}

/// What is weak about giving `role` to whoever satisfies `selectors`, while `held` are the
/// roles that are held already.
pub fn role(
    role: Role,
    selectors: &Selectors,
    held: &[&Assignment],
    surroundings: &Surroundings,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let demanded = Demanded::of(selectors);
    if demanded.invocation.is_some() {
        let finding = match role {
            // Once it is over there may be no other, and the last cannot be taken back.
            Role::CryptoOfficer => hopeless,
            _ => weak,
        };
        findings.push(finding(
            "one-run",
            "a run of a unit ends, and whoever holds the role by it is nobody then",
            "name the unit or the user instead of systemd:invocation_id",
        ));
    }
    demanded.executables(&mut findings, surroundings);
    let shared = demanded.shared_user(surroundings);
    if let Some(name) = shared.filter(|_| demanded.unit.is_none()) {
        findings.push(weak(
            "shared-user",
            format!("the user {name} is shared by many services"),
            "give the role to a person's user",
        ));
    }
    // Whoever watches must not be the one who acts, nor the officer the one who receives.
    let apart = |a: Role, b: Role| {
        let pair = [a, b];
        let auditor = pair.contains(&Role::Auditor) && a != b;
        let officer = pair.contains(&Role::CryptoOfficer)
            && (pair.contains(&Role::GroupAdministrator) || pair.contains(&Role::Writer));
        auditor || officer
    };
    let mut others = held.iter().filter(|held| held.selectors == *selectors);
    if let Some(other) = others.find(|held| apart(held.role, role)) {
        findings.push(weak(
            "separation-of-duties",
            format!("the same operators are {} already", other.role),
            "give the role to somebody else",
        ));
    }
    findings
}

/// The selectors that matter here, by kind.
#[derive(Default)]
struct Demanded<'a> {
    uid: Option<u32>,
    unit: Option<&'a str>,
    fragment: Option<&'a str>,
    invocation: Option<&'a str>,
    user_unit: bool,
    contained: bool,
    path: Option<&'a str>,
    digest: Option<&'a str>,
}

impl<'a> Demanded<'a> {
    fn of(selectors: &'a Selectors) -> Self {
        let mut demanded = Self::default();
        for selector in selectors.as_slice() {
            match selector {
                Selector::Uid(uid) => demanded.uid = Some(*uid),
                Selector::Unit(unit) => demanded.unit = Some(unit),
                Selector::Fragment(path) => demanded.fragment = Some(path),
                Selector::Invocation(id) => demanded.invocation = Some(id),
                Selector::UserUnit(_) => demanded.user_unit = true,
                Selector::Container(_) | Selector::Pod(_) => demanded.contained = true,
                Selector::Path(path) => demanded.path = Some(path),
                Selector::Sha256(digest) | Selector::Verity(digest) => {
                    demanded.digest = Some(digest);
                }
                _ => {}
            }
        }
        demanded
    }

    /// Whether only root can put a process in the place that is demanded.
    fn is_placed(&self) -> bool {
        self.unit.is_some()
            || self.fragment.is_some()
            || self.invocation.is_some()
            || self.contained
    }

    fn shared_user<'s>(&self, surroundings: &'s Surroundings) -> Option<&'s str> {
        let uid = self.uid?;
        surroundings
            .user
            .as_deref()
            .filter(|name| uid == NOBODY || SHARED.contains(name))
    }

    fn users(&self, findings: &mut Vec<Finding>, surroundings: &Surroundings) {
        if self.is_placed() {
            return;
        }
        const NAME_UNIT: &str = "name the service's unit as well (systemd:id), or its container";
        if self.uid == Some(0) {
            findings.push(weak(
                "root",
                "every process of root has it, also root of a container without a user namespace",
                NAME_UNIT,
            ));
        } else if self.uid == Some(NOBODY) {
            findings.push(weak(
                "shared-user",
                "uid 65534 is shared by all that run as nobody, and stands for users without a number",
                NAME_UNIT,
            ));
        } else if let Some(name) = self.shared_user(surroundings) {
            findings.push(weak(
                "shared-user",
                format!("the user {name} is shared by many services"),
                NAME_UNIT,
            ));
        }
        if self.user_unit {
            findings.push(weak(
                "claimed-unit",
                "the user's own service manager says what unit a process is in, and the user tells it what to say",
                "make it a unit of the system, or do without systemd:user_unit",
            ));
        }
    }

    fn units(&self, findings: &mut Vec<Finding>, surroundings: &Surroundings) {
        let Some(unit) = self.place() else {
            return;
        };
        if is_session(unit) {
            findings.push(weak(
                "session-unit",
                format!("{unit} holds whatever a user starts"),
                "name the service's own unit",
            ));
        } else if self.uid.is_none() && runs_for_others(unit) {
            findings.push(weak(
                "others-code",
                format!("{unit} runs what its users tell it to run"),
                "name the user as well, or give what is meant a unit of its own",
            ));
        }
        let Some(known) = &surroundings.unit else {
            return;
        };
        if known.is_delegated {
            findings.push(weak(
                "delegated-unit",
                format!("{unit} has Delegate= set: whoever it runs as puts what it likes below it"),
                "name the user as well, or a unit without Delegate=",
            ));
        }
        if !known.is_loaded {
            findings.push(weak(
                "no-such-unit",
                format!("there is no unit {unit} on this machine now"),
                "look at 'systemctl status'; a unit has its suffix, such as nginx.service",
            ));
        }
        if let (Some(wanted), Some(runs)) = (self.invocation, &known.invocation)
            && wanted != runs
        {
            findings.push(weak(
                "past-run",
                format!("{unit} is in another run by now"),
                "take the invocation id that 'systemctl show' tells",
            ));
        }
    }

    /// The unit that is demanded, by whichever says which it is.
    fn place(&self) -> Option<&str> {
        let of_run = || self.invocation.map(|_| "of that run");
        self.unit
            .or_else(|| self.fragment.and_then(defined_in))
            .or_else(of_run)
    }

    fn executables(&self, findings: &mut Vec<Finding>, surroundings: &Surroundings) {
        if let Some(path) = self.path {
            match &surroundings.exe {
                Some(file) => self.file(path, file, findings),
                None if surroundings.is_complete => findings.push(weak(
                    "no-such-file",
                    format!("there is no file {path} on this machine now"),
                    "check the path",
                )),
                None => {}
            }
        }
        let by_digest = self
            .digest
            .and_then(|digest| surroundings.interpreter_of(digest));
        let by_path = self.path.filter(|path| is_interpreter(path));
        if let Some(interpreter) = by_digest.or(by_path) {
            findings.push(weak(
                "interpreter",
                format!("{interpreter} runs whatever script it is given"),
                "tell the service by its unit; its executable says nothing",
            ));
        }
    }

    fn file(&self, path: &str, file: &File, findings: &mut Vec<Finding>) {
        if file.real_path != path {
            findings.push(hopeless(
                "not-real-path",
                format!(
                    "{path} leads to {}, and that is the path a process has",
                    file.real_path
                ),
                "name the path that it leads to",
            ));
            return;
        }
        let mut places = file.places.iter();
        // Whoever is granted need not be who replaces it: that is who starts it next.
        if let Some(place) = places.find(|place| place.is_open() || place.uid != 0) {
            findings.push(weak(
                "exe-writable",
                format!(
                    "{} may be changed by others than root: what is at {path} can be replaced",
                    place.path
                ),
                "let root own the file and every folder above it, writable by nobody else",
            ));
        }
        if file.runs_as_other {
            findings.push(weak(
                "setuid",
                format!("{path} is setuid or setgid: whoever starts it has it, with mixed ids, and is refused"),
                "name a program that runs as one user",
            ));
        }
    }
}

/// The uid of users that have none (Linux's `overflowuid`), which is also nobody's.
const NOBODY: u32 = 65534;

/// Users that distributions let several services share.
const SHARED: [&str; 12] = [
    "nobody", "www-data", "www", "http", "apache", "daemon", "bin", "sys", "games", "mail",
    "nogroup", "operator",
];

/// Units that run what several users tell them to, in their own control group.
const FOR_OTHERS: [&str; 17] = [
    "anacron",
    "atd",
    "buildkit",
    "containerd",
    "cri-o",
    "crio",
    "cron",
    "crond",
    "docker",
    "fcron",
    "gitlab-runner",
    "inetd",
    "jenkins",
    "podman",
    "ssh",
    "sshd",
    "xinetd",
];

fn runs_for_others(unit: &str) -> bool {
    let stem = unit.split(['.', '@']).next().unwrap_or(unit);
    FOR_OTHERS.contains(&stem)
}

/// The unit that the file at `path` defines, if that is one.
pub fn defined_in(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next()?;
    // A template defines as many as there are instances.
    (cgroup::is_unit(name) && !name.contains("@.")).then_some(name)
}

/// Programs that do what they are told by someone's file.
pub const INTERPRETERS: [&str; 33] = [
    "ash", "awk", "bash", "busybox", "csh", "dash", "deno", "dotnet", "env", "fish", "gawk", "gdb",
    "java", "ksh", "lua", "luajit", "mawk", "mono", "node", "perl", "php", "php-cgi", "php-fpm",
    "pwsh", "python", "ruby", "sh", "strace", "tclsh", "uwsgi", "wish", "xargs", "zsh",
];

/// Whether `path` is of a program that does what someone's file says. Versions are not
/// part of a name: `python3.11` is `python`.
pub fn is_interpreter(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    // ld.so runs the program that is its argument.
    INTERPRETERS.contains(&stem) || name.starts_with("ld-linux") || name.starts_with("ld-musl")
}

#[cfg(test)]
mod tests;
