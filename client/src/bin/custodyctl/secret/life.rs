//! `custodyctl secret activate`, `disable` and the like: the life of versions.

use clap::Args;
use client::{Error as Call, v1};
use serde::Serialize;

use crate::{
    args::Global,
    confirm::confirm,
    element::Wanted,
    failure::Failure,
    output::{self, View, time},
    when::{Grace, Stretch},
};

/// How a new version is written.
#[derive(Debug, Args)]
pub(crate) struct Terms {
    /// Write only if this version is current, 0 for none; so that nobody else's is written
    /// over.
    #[arg(long, value_name = "VERSION")]
    pub(crate) expect: Option<u32>,
    /// Write a version that becomes current later, by 'secret activate'.
    #[arg(long, conflicts_with = "overlap")]
    pub(crate) pending: bool,
    /// How long the version that was current stays valid, such as 7d; for ever unless it is
    /// said.
    #[arg(long, value_name = "SPAN")]
    pub(crate) overlap: Option<Stretch>,
    /// How many versions to keep from now on, 0 for all; older ones are destroyed.
    #[arg(long, value_name = "N")]
    pub(crate) keep: Option<u32>,
}

pub(super) fn seconds(stretch: Option<Stretch>) -> Result<Option<u64>, Failure> {
    let seconds = stretch.map(Stretch::seconds).transpose();
    seconds.map_err(Failure::When)
}

/// Makes a version the current one, and tells those who watch.
pub(crate) async fn activate(
    global: &Global,
    wanted: Wanted,
    overlap: Option<Stretch>,
) -> Result<(), Failure> {
    let request = v1::ActivateVersionRequest {
        group: wanted.secret.group.to_string(),
        name: wanted.secret.name.to_string(),
        which: wanted.which().to_string(),
        overlap_seconds: seconds(overlap)?,
    };
    let answer = global.manager().await?.activate_version(request).await;
    let secret = answer.map_err(|call| Failure::of_change(call, &wanted.secret))?;
    output::show(global.output, &super::view::Secret::from(secret))
}

/// Takes a version into use again.
pub(crate) async fn enable(global: &Global, wanted: Wanted) -> Result<(), Failure> {
    let (group, name, which) = parts(&wanted);
    let request = v1::EnableVersionRequest { group, name, which };
    let answer = global.manager().await?.enable_version(request).await;
    show(global, &wanted, answer)
}

/// Takes a version out of use.
pub(crate) async fn disable(global: &Global, wanted: Wanted, force: bool) -> Result<(), Failure> {
    let (group, name, which) = parts(&wanted);
    let request = v1::DisableVersionRequest {
        group,
        name,
        which,
        force,
    };
    let answer = global.manager().await?.disable_version(request).await;
    show(global, &wanted, answer)
}

/// Takes a version out of use, and destroys it after some time.
pub(crate) async fn destroy(
    global: &Global,
    wanted: Wanted,
    grace: Grace,
    yes: bool,
    force: bool,
) -> Result<(), Failure> {
    if !yes {
        confirm(
            &format!("destroy version {} of {}", wanted.which(), wanted.secret),
            "--yes destroys it without asking",
        )?;
    }
    let (group, name, which) = parts(&wanted);
    let request = v1::DestroyVersionRequest {
        group,
        name,
        which,
        force,
        grace_seconds: grace.seconds()?,
    };
    let answer = global.manager().await?.destroy_version(request).await;
    show(global, &wanted, answer)
}

/// Takes back that a version is to be destroyed.
pub(crate) async fn restore(global: &Global, wanted: Wanted) -> Result<(), Failure> {
    let (group, name, which) = parts(&wanted);
    let request = v1::RestoreVersionRequest { group, name, which };
    let answer = global.manager().await?.restore_version(request).await;
    show(global, &wanted, answer)
}

fn parts(wanted: &Wanted) -> (String, String, String) {
    (
        wanted.secret.group.to_string(),
        wanted.secret.name.to_string(),
        wanted.which().to_string(),
    )
}

/// What became of a version.
#[derive(Debug, Serialize)]
struct Fate {
    secret: String,
    version: u32,
    state: String,
    doom: Option<String>,
}

fn show(
    global: &Global,
    wanted: &Wanted,
    answer: Result<v1::Version, Call>,
) -> Result<(), Failure> {
    let version = answer.map_err(|call| Failure::of_change(call, &wanted.secret))?;
    let fate = Fate {
        secret: wanted.secret.to_string(),
        version: version.number,
        state: version.state,
        doom: time(version.doom.as_ref()),
    };
    output::show(global.output, &fate)
}

impl View for Fate {
    fn text(&self) -> Option<String> {
        let Self {
            secret,
            version,
            state,
            doom,
        } = self;
        Some(match doom {
            Some(doom) => format!(
                "version {version} of {secret} is delivered no more, and destroyed at {doom}; \
                 until then 'custodyctl secret restore {secret}@{version}' brings it back"
            ),
            None => format!("version {version} of {secret} is {state}"),
        })
    }
}
