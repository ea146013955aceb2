//! `custodyctl import`: takes over the secrets that people have in files.

mod kubernetes;
mod manifest;
mod passphrase;
mod pem;
mod plan;
mod report;
mod send;
mod walk;
mod yaml;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use custody::{name::GroupName, secret::fields::Fields};

use crate::{
    args::Global,
    confirm::confirm,
    content::dotenv,
    failure::{Exit, Failure},
    files,
    output::{self, View as _},
};
use passphrase::Passphrases;
use pem::Parts;
use plan::{Candidate, Left, Plan};
use report::Report;
use send::{Outcome, Stop};
use walk::{Gathered, Source};

/// Why an import is not all that it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Files(#[from] walk::Error),
    #[error(transparent)]
    Passphrase(#[from] passphrase::Error),
    #[error("{0} things that are, or may be, secrets are left out")]
    Incomplete(usize),
    #[error("there is a secret of that name with other content")]
    Conflict,
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Files(_) | Self::Passphrase(_) => Exit::Invalid,
            Self::Incomplete(_) | Self::Interrupted => Exit::Incomplete,
            Self::Conflict => Exit::Conflict,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Incomplete(_) => Some("the list says why, one by one".to_owned()),
            Self::Conflict => {
                Some("--on-conflict skip leaves it as it is, new-version writes over it".to_owned())
            }
            Self::Interrupted => Some("the same import again goes on from here".to_owned()),
            _ => None,
        }
    }
}

/// What to do about a secret that is there with other content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Conflict {
    /// Leave it as it is, and say so.
    #[default]
    Skip,
    /// Write a version, which becomes the current one.
    NewVersion,
    /// Stop there.
    Fail,
}

/// What `import` is told.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Files and folders; '-' is standard input. Links in folders are not followed.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The group that they go to.
    #[arg(long)]
    group: GroupName,
    /// What the name of each secret is to begin with.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    prefix: String,
    /// Show what would be stored, and what would be left out.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Don't ask.
    #[arg(long)]
    yes: bool,
    /// What to do about a secret that is there with other content.
    #[arg(long, value_name = "WAY", value_enum, default_value_t)]
    on_conflict: Conflict,
    /// A file that holds a passphrase; each given is tried on whatever is encrypted.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Vec<PathBuf>,
    /// Write what became of each secret to a JSON file.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

pub(crate) async fn run(global: &Global, args: Import) -> Result<(), Failure> {
    let Gathered { sources, left, .. } = walk::gather(&args.paths).map_err(Error::from)?;
    let mut passphrases = Passphrases::read(&args.passphrase_file).map_err(Error::from)?;
    let mut plan = Plan {
        left,
        ..Plan::default()
    };
    let candidates = sort(&sources, &mut passphrases, &mut plan)?;
    plan.add(&args.group, &args.prefix, candidates);
    let planned = Report::of_plan(args.group.as_str(), &plan);
    if args.dry_run || plan.items.is_empty() {
        write_report(&args, &planned)?;
        output::show(global.output, &planned)?;
        return complete(&plan, &[], None);
    }
    if !args.yes {
        output::note(&planned.text().unwrap_or_default());
        confirm(
            &format!("store {} secrets in {}", plan.items.len(), args.group),
            "--dry-run shows what would be stored, --yes stores it without asking",
        )?;
    }
    let manager = global.manager().await?;
    let (outcomes, stop) = send::store(&manager, &mut plan.items, args.on_conflict).await;
    let report = Report::of_outcomes(args.group.as_str(), &plan, &outcomes, &sources);
    write_report(&args, &report)?;
    output::show(global.output, &report)?;
    complete(&plan, &outcomes, stop)
}

/// Makes candidates of all there is.
fn sort(
    sources: &[Source],
    passphrases: &mut Passphrases,
    plan: &mut Plan,
) -> Result<Vec<Candidate>, Error> {
    let (mut parts, mut candidates) = (Parts::default(), Vec::new());
    for (at, source) in sources.iter().enumerate() {
        // By name first: variables and manifests may have PEM in them.
        if source.is_manifest() {
            candidates.extend(kubernetes::take(at, source, plan));
            continue;
        }
        if source.is_dotenv() {
            candidates.extend(variables(at, source, plan));
            continue;
        }
        let found = passphrases.open(source)?;
        if !found.is_empty() {
            parts.take(at, source, found, plan);
        } else if source.is_like_manifest() {
            candidates.extend(kubernetes::take(at, source, plan));
        } else {
            let why = "is of no form that is imported";
            plan.leave(at, Left::new(source, why, false));
        }
    }
    candidates.extend(parts.sort(sources, plan));
    Ok(candidates)
}

/// The variables of a dotenv file.
fn variables(at: usize, source: &Source, plan: &mut Plan) -> Option<Candidate> {
    let variables = match dotenv::parse(&source.bytes) {
        Ok(variables) => variables,
        Err(error) => {
            let why = format!("is no dotenv file: {error}");
            plan.leave(at, Left::new(source, why, true));
            return None;
        }
    };
    let mut fields = Fields::default();
    for (name, value) in variables {
        fields.push_wiped(name, value);
    }
    Some(Candidate {
        name: source.secret_name(),
        kind: "key-value",
        fields,
        from: source.shown.clone(),
        sources: [at].into(),
    })
}

fn write_report(args: &Import, report: &Report) -> Result<(), Failure> {
    let Some(path) = &args.report else {
        return Ok(());
    };
    let mut document =
        serde_json::to_vec_pretty(report).map_err(|error| Failure::Output(error.into()))?;
    document.push(b'\n');
    Ok(files::replace(&[(path.clone(), &document)])?)
}

/// Fails unless everything that may be a secret is in custody.
fn complete(plan: &Plan, outcomes: &[Outcome], stop: Option<Stop>) -> Result<(), Failure> {
    match stop {
        Some(Stop::Call(call)) => return Err(Failure::Manager(call)),
        Some(Stop::Conflict) => return Err(Error::Conflict.into()),
        Some(Stop::Interrupted) => return Err(Error::Interrupted.into()),
        None => {}
    }
    let missing = outcomes.iter().filter(|outcome| !outcome.is_kept());
    match missing.count() + plan.faults() {
        0 => Ok(()),
        missing => Err(Error::Incomplete(missing).into()),
    }
}
