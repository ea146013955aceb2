//! Has a module and a token examined, in a process of their own that may hang or crash.

use std::{
    io::{self, Read as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    Profile, Settings, TokenDescription,
    client::process::{PinHandover, hello},
    error::Error,
    wire::{
        Inbox,
        visit::{Grade, Said, Task, Visit, Word},
    },
};

/// How good a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// As it must be.
    Fine,
    /// Worth knowing.
    Note,
    /// Usable, and better otherwise.
    Warning,
    /// Not to be used so.
    Refused,
}

impl Outcome {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Refused => "refused",
        }
    }
}

/// What came of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at or tried.
    pub check: String,
    /// How good it is.
    pub outcome: Outcome,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// What an examination came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The tokens that the module offers.
    pub offered: Vec<TokenDescription>,
    /// The token that was examined.
    pub token: Option<TokenDescription>,
    /// The kind of module.
    pub profile: Option<Profile>,
    /// In the order in which they were made.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The worst of it.
    pub fn outcome(&self) -> Outcome {
        let outcomes = self.findings.iter().map(|finding| finding.outcome);
        outcomes.max().unwrap_or(Outcome::Fine)
    }
}

/// Tries everything that custodyd wants of the token, and leaves nothing in it. It is logged
/// into at most once, under the rules of [`Settings::pin_latch`].
///
/// `settings.worker` names the command whose body is [`doctor`](crate::doctor()). A module
/// that hangs for longer than `settings.start_deadline` or crashes is a finding.
pub fn examine(settings: &Settings) -> Report {
    visit(settings, Task::Examine)
}

/// Which tokens the module offers. Nothing logs in, and no token need be named.
pub fn survey(settings: &Settings) -> Report {
    visit(settings, Task::List)
}

pub(crate) fn visit(settings: &Settings, task: Task) -> Report {
    let mut report = Report::default();
    let mut step = "module".to_owned();
    let mut hello = hello(settings);
    let workers = u32::try_from(settings.workers.get()).unwrap_or(u32::MAX);
    hello.sessions = hello.sessions.saturating_mul(workers);
    let visit = Visit {
        hello: Some(hello),
        task: task.into(),
    };
    let outcome = Patient::admit(settings, &visit).and_then(|mut patient| {
        let heard = patient.hear(settings.start_deadline, &mut step, &mut report);
        patient.dismiss(heard)
    });
    if let Err(error) = outcome {
        report.findings.push(Finding {
            check: step,
            outcome: Outcome::Refused,
            found: error.to_string(),
            advice: Some(
                "see what the module itself logs, and whether its own tools work as this user"
                    .to_owned(),
            ),
        });
    }
    report
}

/// The process that examines.
struct Patient {
    child: Child,
    socket: UnixStream,
    inbox: Inbox,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the process that loads the module cannot be used: {0}")]
    Process(#[from] io::Error),
    #[error(transparent)]
    Hsm(#[from] Error),
    #[error("the module did not return within {} s, and was ended", .0.as_secs_f64())]
    Hangs(Duration),
    #[error("the module ended its process ({0})")]
    Ended(String),
}

impl Patient {
    fn admit(settings: &Settings, visit: &Visit) -> Result<Self, Failure> {
        let (program, arguments) = settings
            .worker
            .split_first()
            .ok_or_else(|| io::Error::other("no program is named"))?;
        let pin = PinHandover::new(&settings.pin)?;
        let (socket, theirs) = UnixStream::pair()?;
        let child = Command::new(program)
            .args(arguments)
            .envs(settings.environment.iter().cloned())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()?;
        pin.greet(&socket, visit)?;
        Ok(Self {
            child,
            socket,
            inbox: Inbox::new(),
        })
    }

    /// Listens to the end. `step` is what was tried last.
    fn hear(
        &mut self,
        patience: Duration,
        step: &mut String,
        report: &mut Report,
    ) -> Result<(), Failure> {
        self.socket.set_read_timeout(Some(patience))?;
        loop {
            let word = self.next(patience)?;
            match word.said {
                Some(Said::Step(next)) => *step = next,
                Some(Said::Finding(found)) => report.findings.push(Finding {
                    check: step.clone(),
                    outcome: outcome(found.grade()),
                    found: found.found,
                    advice: Some(found.advice).filter(|advice| !advice.is_empty()),
                }),
                Some(Said::Offered(token)) => report.offered.push(token.into()),
                Some(Said::Chosen(token)) => report.token = Some(token.into()),
                Some(Said::Profile(name)) => report.profile = Profile::from_name(&name),
                // Whoever is asked takes the time that it takes.
                Some(Said::Asking(asking)) => {
                    let patience = (!asking).then_some(patience);
                    self.socket.set_read_timeout(patience)?;
                }
                Some(Said::End(_)) => return Ok(()),
                None => return Err(io::Error::other("it says what is not known").into()),
            }
        }
    }

    fn next(&mut self, patience: Duration) -> Result<Word, Failure> {
        loop {
            if let Some(word) = self.inbox.take().map_err(io::Error::other)? {
                return Ok(word);
            }
            match self.socket.read(self.inbox.space()) {
                Ok(0) => return Err(Failure::Ended(self.child.wait()?.to_string())),
                Ok(count) => self.inbox.filled(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(Failure::Hangs(patience));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sees to it that the process is gone, however it does.
    fn dismiss(mut self, heard: Result<(), Failure>) -> Result<(), Failure> {
        // It may be gone already, and wants nothing of us any more.
        let _gone = self.child.kill();
        self.child.wait()?;
        heard
    }
}

fn outcome(grade: Grade) -> Outcome {
    match grade {
        Grade::Fine => Outcome::Fine,
        Grade::Note => Outcome::Note,
        Grade::Warning => Outcome::Warning,
        Grade::Refused => Outcome::Refused,
    }
}
