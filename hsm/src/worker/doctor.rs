//! An examination: everything that custodyd wants of a token, tried, and told as it goes.

use std::{io, io::Write as _, os::unix::net::UnixStream, process, process::ExitCode};

use super::{
    allowed, check_parent, codes, first, follow_parent, pin,
    recovery::{self, Codes},
    token::{Found, Module, Offered, Slots, Token},
    unclear,
};
use crate::{
    Error, TokenSelector,
    latch::Latch,
    wire::{
        self, Hello, Inbox, problem,
        visit::{Finding, Grade, Said, Visit, Word},
    },
};

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
    let hello = visit.hello.ok_or_else(unclear)?;
    check_parent(&hello)?;
    let mut chart = Chart { socket };
    let source = pin::Source::new(hello.pin.as_ref().ok_or_else(unclear)?, descriptors);
    if visit.only_list {
        let _told = load(&hello, &mut chart).and_then(|module| offered(&module, &mut chart));
    } else {
        let asked = Asked {
            latch: Latch::new(&problem::path(hello.pin_latch.clone())),
            token: hello.token.parse().map_err(|_| unclear())?,
            codes: codes(&hello).ok_or_else(unclear)?,
            allowed: allowed(&hello)?,
        };
        let _told = examine(&hello, asked, source, &mut chart);
    }
    chart.say(Said::End(true));
    Ok(())
}

/// What is to be examined.
struct Asked {
    latch: Latch,
    token: TokenSelector,
    codes: crate::Codes,
    allowed: Vec<custody::envelope::Wrapping>,
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

    fn fine(&mut self, found: impl Into<String>) {
        self.find(Grade::Fine, found, "");
    }
}

/// `None` when it was told why there is no going on.
fn examine(hello: &Hello, asked: Asked, source: pin::Source, chart: &mut Chart) -> Option<()> {
    let module = load(hello, chart)?;
    let tokens = offered(&module, chart)?;
    let found = choose(&module, tokens, &asked.token, asked.codes, chart)?;
    flags::clock(found.info(), chart);
    flags::pin(&found, chart)?;
    let token = log_in(found, source, &asked.latch, asked.allowed, chart)?;
    trial::all(&token, hello.sessions, chart)
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
    found: Found,
    source: pin::Source,
    latch: &Latch,
    allowed: Vec<custody::envelope::Wrapping>,
    chart: &mut Chart,
) -> Option<Token> {
    chart.step("login");
    let asks = source.asks();
    let outcome = latch.check().and_then(|()| {
        if asks {
            chart.say(Said::Asking(true));
        }
        let pin = source.read(found.description())?;
        if asks {
            chart.say(Said::Asking(false));
        }
        found.log_in(pin, latch, allowed)
    });
    match outcome {
        Ok(token) => {
            chart.fine("logged in, with one try");
            Some(token)
        }
        Err(error) => {
            chart.find(Grade::Refused, recovery::chain(&error), "");
            None
        }
    }
}
