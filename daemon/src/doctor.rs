//! `custodyd hsm doctor`: is the token one to be trusted, and this machine set up for it.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use comfy_table::{Table, presets::NOTHING};
use hsm::{
    PinSource,
    doctor::{Finding, Outcome, Report},
};
use nix::unistd::geteuid;
use serde_json::json;

use crate::{cli::say, config, config::Config, harden, log, run::Failure};

/// The arguments of `hsm doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The configuration.
    #[arg(value_name = "FILE", default_value = crate::cli::CONFIG)]
    config: PathBuf,
    /// Which token, by label or serial number, if the configuration has several; the first unless
    /// it is said.
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Ask for the PIN on the terminal, wherever the configuration has it from.
    #[arg(long)]
    ask_pin: bool,
    /// One JSON document in place of a table.
    #[arg(long)]
    json: bool,
}

/// Examines the token of a configuration, and says what was found.
pub(crate) fn doctor(options: &Options) -> Result<(), Failure> {
    log::install(log::Format::default(), log::Level::Error);
    harden::shield();
    let config = config::read(&options.config)?;
    let nth = match &options.token {
        Some(name) => config.place_of(name)?,
        None => 0,
    };
    let report = examine(&config, nth, options.ask_pin);
    match options.json {
        true => say(&document(
            &report,
            "usable",
            report.outcome() != Outcome::Refused,
        )),
        false => say(&table(&report)),
    }
    match report.outcome() {
        Outcome::Refused => Err(Failure::Unfit),
        _ => Ok(()),
    }
}

/// Looks at the files, and then has the token tried.
pub(crate) fn examine(config: &Config, nth: usize, ask_pin: bool) -> Report {
    let mut findings = vec![
        module_file(&config.live.workers[nth].module),
        state_directory(config),
    ];
    findings.extend(pin_source(&config.live.workers[nth].pin).filter(|_| !ask_pin));
    let mut settings = quiet(config.worker(nth));
    if ask_pin {
        settings.pin = PinSource::Prompt;
        settings.next_pin = None;
    }
    let mut report = hsm::doctor::examine(&settings);
    findings.append(&mut report.findings);
    report.findings = findings;
    report
}

/// Settings under which the process that loads the module says nothing that is no finding.
pub(crate) fn quiet(mut settings: hsm::Settings) -> hsm::Settings {
    let log = log::environment(log::Format::Text, log::Level::Error);
    settings.environment.extend(log);
    settings.worker = vec!["/proc/self/exe".into(), "hsm-doctor".into()];
    settings.keeps_pins = false;
    settings
}

fn finding(check: &str, outcome: Outcome, found: impl Into<String>, advice: &str) -> Finding {
    Finding {
        check: check.to_owned(),
        outcome,
        found: found.into(),
        advice: Some(advice.to_owned()).filter(|advice| !advice.is_empty()),
    }
}

/// Whoever can replace the module has the PIN: the file, and every folder above it.
fn module_file(module: &Path) -> Finding {
    let check = "module file";
    let path = match module.canonicalize() {
        Ok(path) => path,
        Err(error) => {
            let found = format!("{}: {error}", module.display());
            return finding(check, Outcome::Refused, found, "correct token.module");
        }
    };
    let us = geteuid().as_raw();
    for part in path.ancestors() {
        let found = match part.metadata() {
            Ok(found) => found,
            Err(error) => {
                let found = format!("{}: {error}", part.display());
                return finding(check, Outcome::Warning, found, "");
            }
        };
        // In a folder with the sticky bit, others cannot rename what is not theirs.
        let sticky = part.is_dir() && found.mode() & 0o1000 != 0;
        let others = found.mode() & 0o022 != 0 && !sticky;
        if others || (found.uid() != 0 && found.uid() != us) {
            let found = format!(
                "{} belongs to uid {} and has mode {:03o}",
                part.display(),
                found.uid(),
                found.mode() & 0o7777
            );
            let advice = "whoever can replace the module gets the PIN: have it, and the folders above, be root's and writable by nobody else";
            return finding(check, Outcome::Warning, found, advice);
        }
    }
    let found = format!("{}: only root and we can replace it", path.display());
    finding(check, Outcome::Fine, found, "")
}

/// Where the note is kept that stops logins: made as `init` makes it, if it is not there.
fn state_directory(config: &Config) -> Finding {
    let (check, path) = ("state directory", &config.state_directory);
    let said = |outcome, found: String, advice| {
        finding(
            check,
            outcome,
            format!("{}: {found}", path.display()),
            advice,
        )
    };
    let made = match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => {
            let advice = "no login is tried without it: make it, as the daemon's user";
            return said(Outcome::Refused, error.to_string(), advice);
        }
    };
    match fs::metadata(path) {
        Ok(found) if found.uid() != geteuid().as_raw() => said(
            Outcome::Warning,
            format!("belongs to uid {}", found.uid()),
            "run this as the daemon's user: what root may do says nothing",
        ),
        Ok(found) if found.mode() & 0o077 != 0 => said(
            Outcome::Refused,
            format!("has mode {:03o}", found.mode() & 0o7777),
            "others may enter it, and custodyd run refuses that: chmod 700 it",
        ),
        Ok(_) if made => said(Outcome::Fine, "made, for us alone".to_owned(), ""),
        Ok(_) => said(Outcome::Fine, "ours alone".to_owned(), ""),
        Err(error) => said(Outcome::Refused, error.to_string(), ""),
    }
}

/// What can be seen of it without reading it.
fn pin_source(pin: &PinSource) -> Option<Finding> {
    let check = "PIN source";
    match pin {
        PinSource::Credential(name) if std::env::var_os("CREDENTIALS_DIRECTORY").is_none() => {
            let found = format!("there is no credential {name:?} outside of the unit");
            let advice = "use --ask-pin, or systemd-run as in docs/operations.md, section Init";
            Some(finding(check, Outcome::Note, found, advice))
        }
        PinSource::Credential(_) => None,
        PinSource::File(path) => {
            let found = path.metadata().ok()?;
            let foreign = found.uid() != 0 && found.uid() != geteuid().as_raw();
            let outcome = match foreign || found.mode() & 0o077 != 0 {
                true => Outcome::Refused,
                false => Outcome::Fine,
            };
            let said = format!(
                "{}: of uid {}, mode {:03o}",
                path.display(),
                found.uid(),
                found.mode() & 0o777
            );
            let advice = match outcome {
                Outcome::Refused => "make it the daemon's own, and chmod 600 it",
                _ => "",
            };
            Some(finding(check, outcome, said, advice))
        }
        PinSource::Descriptor(_) | PinSource::Prompt => Some(finding(
            check,
            Outcome::Note,
            "it can be asked for once",
            "a daemon that is restarted alone wants a credential or a file",
        )),
    }
}

/// For people, with a verdict.
pub(crate) fn table(report: &Report) -> String {
    let verdict = match report.outcome() {
        Outcome::Refused => "Not to be used as it is.",
        Outcome::Warning => "Can be used; see the warnings.",
        Outcome::Note | Outcome::Fine => "Can be used.",
    };
    format!("{}\n{verdict}", lines(report))
}

/// Each finding, and what to do about it.
pub(crate) fn lines(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    for finding in &report.findings {
        let Finding { check, found, .. } = finding;
        table.add_row([finding.outcome.name(), check, found]);
        if let Some(advice) = &finding.advice {
            table.add_row(["", "", &format!("→ {advice}")]);
        }
    }
    let lines = table.lines();
    lines.map(|line| format!("{}\n", line.trim_end())).collect()
}

/// As JSON, with a verdict of that name.
pub(crate) fn document(report: &Report, verdict: &str, is_good: bool) -> String {
    let findings = report.findings.iter().map(|finding| {
        json!({
            "check": finding.check,
            "outcome": finding.outcome.name(),
            "found": finding.found,
            "advice": finding.advice,
        })
    });
    let token = report.token.as_ref().map(|token| {
        json!({
            "label": token.label,
            "serial": token.serial,
            "manufacturer": token.manufacturer,
            "model": token.model,
            "module": token.module,
        })
    });
    let document = json!({
        verdict: is_good,
        "token": token,
        "profile": report.profile.map(hsm::Profile::name),
        "findings": findings.collect::<Vec<_>>(),
    });
    format!("{document:#}")
}
