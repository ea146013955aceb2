//! An examination: everything that custodyd wants of a token, tried, and told as it goes.

use std::{io, io::Write as _, os::unix::net::UnixStream, process, process::ExitCode};

use super::{
    allowed, check_parent, codes, first, follow_parent,
    login::Login,
    recovery::{self, Codes},
    token::{Found, Module, Offered, Slots, Token},
    unclear,
};
use crate::{
    Error, TokenSelector,
    succession::Turn,
    wire::{
        self, Hello, Inbox, problem,
        visit::{Finding, Grade, Said, Task, Visit, Word},
    },
};

mod change;
mod flags;
mod trial;

/// The body of the hidden sub-command that [`examine`](crate::doctor::examine) runs: loads
/// the module, and tells the parent at the other end of descriptor 0 what it finds.
///
/// Logging and the hardening of the process are the caller's, beforehand.
pub fn doctor() -> ExitCode {
    match visit() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the examination ends");
            ExitCode::FAILURE
        }
    }
}

fn visit() -> Result<(), Error> {
    let lost = |error: io::Error| Error::WorkerUnusable(format!("its socket failed: {error}"));
    let socket = super::parent().map_err(lost)?;
    follow_parent(socket.try_clone().map_err(lost)?).map_err(lost)?;
    let (visit, descriptors) = first::<Visit>(&socket, &mut Inbox::new())?;
    let hello = visit.hello.as_ref().ok_or_else(unclear)?;
    check_parent(hello)?;
    let mut chart = Chart { socket };
    if visit.task() == Task::List {
        let _told = load(hello, &mut chart).and_then(|module| offered(&module, &mut chart));
    } else {
        let asked = Asked {
            task: visit.task(),
            login: Login::new(hello, descriptors, allowed(hello)?)?,
            token: hello.token.parse().map_err(|_| unclear())?,
            codes: codes(hello).ok_or_else(unclear)?,
        };
        let _told = attend(hello, asked, &mut chart);
    }
    chart.say(Said::End(true));
    Ok(())
}

/// What is to be examined, or changed.
struct Asked {
    task: Task,
    login: Login,
    token: TokenSelector,
    codes: crate::Codes,
}

/// Where it is told. Without a parent there is nobody to tell, and no reason to go on.
struct Chart {
    socket: UnixStream,
}

impl Chart {
    fn say(&mut self, said: Said) {
        let mut out = Vec::new();
        let said = wire::put(&mut out, &Word { said: Some(said) })
            .map_err(io::Error::other)
            .and_then(|()| self.socket.write_all(&out));
        if said.is_err() {
            process::exit(1);
        }
    }

    fn step(&mut self, name: &str) {
        self.say(Said::Step(name.to_owned()));
    }

    fn find(&mut self, grade: Grade, found: impl Into<String>, advice: &str) {
        self.say(Said::Finding(Finding {
            grade: grade.into(),
            found: found.into(),
            advice: advice.to_owned(),
        }));
    }

    /// `None` when it was told why there is none.
    fn must<T>(&mut self, outcome: Result<T, Error>) -> Option<T> {
        outcome
            .inspect_err(|error| self.find(Grade::Refused, recovery::chain(error), ""))
            .ok()
    }

    fn fine(&mut self, found: impl Into<String>) {
        self.find(Grade::Fine, found, "");
    }
}

/// `None` when it was told why there is no going on.
fn attend(hello: &Hello, asked: Asked, chart: &mut Chart) -> Option<()> {
    let Asked { task, login, .. } = asked;
    chart.step("turn");
    let turn = chart.must(login.turn())?;
    let module = load(hello, chart)?;
    let tokens = offered(&module, chart)?;
    let found = choose(&module, tokens, &asked.token, asked.codes, chart)?;
    flags::clock(found.info(), chart);
    flags::pin(&found, chart)?;
    match task {
        Task::ChangePin => change::pin(&login, turn.as_ref(), found, chart),
        Task::LogIn => {
            chart.step("proof");
            log_in(&login, turn.as_ref(), found, chart)?;
            chart.fine("another process logged in with the next PIN");
            Some(())
        }
        Task::Examine | Task::List => {
            chart.step("login");
            let token = log_in(&login, turn.as_ref(), found, chart)?;
            chart.fine("logged in, with one try");
            drop(turn);
            trial::all(&token, hello.sessions, chart)
        }
    }
}

fn load(hello: &Hello, chart: &mut Chart) -> Option<Module> {
    chart.step("module");
    let path = problem::path(hello.module.clone());
    let module = match Module::load(&path) {
        Ok(module) => module,
        Err(error) => {
            let advice =
                "name the vendor's PKCS#11 library, and in token.environment what it needs";
            chart.find(Grade::Refused, error.to_string(), advice);
            return None;
        }
    };
    match module.info() {
        Ok(info) => {
            let (ours, standard) = (info.library_version(), info.cryptoki_version());
            chart.fine(format!(
                "{}, {} {ours}, PKCS#11 {standard}",
                info.manufacturer_id().trim(),
                info.library_description().trim(),
            ));
        }
        Err(error) => chart.find(Grade::Warning, recovery::describe(&error), ""),
    }
    Some(module)
}

fn offered(module: &Module, chart: &mut Chart) -> Option<Vec<Offered>> {
    chart.step("slots");
    let Slots { tokens, odd } = match module.slots() {
        Ok(slots) => slots,
        Err(error) => {
            chart.find(Grade::Refused, error.to_string(), "");
            return None;
        }
    };
    for (slot, error) in odd {
        let found = format!("slot {}: {}", slot.id(), recovery::describe(&error));
        let advice = "custodyd cannot use a token that it cannot read about";
        chart.find(Grade::Warning, found, advice);
    }
    for token in &tokens {
        chart.say(Said::Offered((&token.description).into()));
    }
    chart.fine(match tokens.len() {
        1 => "one token".to_owned(),
        count => format!("{count} tokens"),
    });
    Some(tokens)
}

fn choose(
    module: &Module,
    tokens: Vec<Offered>,
    wanted: &TokenSelector,
    codes: crate::Codes,
    chart: &mut Chart,
) -> Option<Found> {
    chart.step("token");
    let mut labels: Vec<_> = tokens
        .iter()
        .map(|token| token.description.label.clone())
        .collect();
    labels.sort();
    let shared = labels.windows(2).any(|pair| pair[0] == pair[1]);
    match module.choose(tokens, wanted, codes) {
        Ok(found) => {
            let Codes { profile, .. } = found.codes();
            chart.say(Said::Chosen(found.description().into()));
            chart.say(Said::Profile(profile.name().to_owned()));
            chart.fine(format!(
                "{}, profile {}",
                found.description(),
                profile.name()
            ));
            if shared {
                let found = "tokens share a label, and are told apart by their serial numbers";
                chart.find(Grade::Note, found, "");
            }
            Some(found)
        }
        Err(error) => {
            let advice = "'custodyd hsm enroll' lists what there is, and writes the names of one";
            chart.find(Grade::Refused, error.to_string(), advice);
            None
        }
    }
}

fn log_in(
    login: &Login,
    turn: Option<&Turn<'_>>,
    found: Found,
    chart: &mut Chart,
) -> Option<Token> {
    let outcome = login.log_in(turn, found, |asking| {
        chart.say(Said::Asking(asking));
        Ok(())
    });
    chart.must(outcome)
}
