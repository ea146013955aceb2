//! Stores what was planned, one after the other, and can be stopped at any time.

use std::{mem, time::Duration};

use client::{Error as Call, Manager, v1};
use custody::secret::fields::Fields;

use super::{Conflict, plan::Item};
use crate::output;

/// How long to wait for custodyd to be back: a restart fits.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of an item.
#[derive(Debug)]
pub(super) enum Outcome {
    Written(u32),
    /// This version has the content already.
    Unchanged(u32),
    /// There is a secret of that name with other content, in this version.
    Exists(u32),
    /// custodyd does not take it.
    Refused(String),
    /// It may have been written.
    Unknown,
    NotReached,
}

impl Outcome {
    /// Whether custodyd has it.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self, Self::Written(_) | Self::Unchanged(_))
    }
}

/// Why nothing more was stored.
#[derive(Debug)]
pub(super) enum Stop {
    Call(Call),
    /// A secret was there already, and was not to be.
    Conflict,
    /// A person did not want to wait.
    Interrupted,
}

/// What became of each item, in order, and what stopped it, if anything did.
pub(super) async fn store(
    manager: &Manager,
    items: &mut [Item],
    conflict: Conflict,
) -> (Vec<Outcome>, Option<Stop>) {
    let bar = output::bar(items.len());
    let mut outcomes = Vec::new();
    let mut stop = None;
    for item in &mut *items {
        bar.set_message(item.secret.to_string());
        let outcome = tokio::select! {
            outcome = put(manager, item, conflict) => outcome,
            _ = tokio::signal::ctrl_c() => {
                outcomes.push(Outcome::Unknown);
                stop = Some(Stop::Interrupted);
                break;
            }
        };
        match outcome {
            Ok(Outcome::Exists(version)) if conflict == Conflict::Fail => {
                outcomes.push(Outcome::Exists(version));
                stop = Some(Stop::Conflict);
                break;
            }
            Ok(outcome) => outcomes.push(outcome),
            Err(call) => {
                outcomes.push(Outcome::Unknown);
                stop = Some(Stop::Call(call));
                break;
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    outcomes.resize_with(items.len(), || Outcome::NotReached);
    (outcomes, stop)
}

/// Stores one. What would befall every other as well is an error.
async fn put(manager: &Manager, item: &mut Item, conflict: Conflict) -> Result<Outcome, Call> {
    let request = request(item);
    let first = manager.put_secret_over(0, request.clone(), PATIENCE).await;
    let why = match first {
        Ok(version) => return Ok(written(&version)),
        Err(Call::Precondition(why)) => why,
        Err(call) => return refused(call),
    };
    // Either there is such a secret, or its group takes none.
    let wanted = v1::GetSecretRequest {
        group: request.group.clone(),
        name: request.name.clone(),
    };
    let current = match manager.get_secret(wanted).await {
        Ok(secret) => secret.current.map_or(0, |version| version.number),
        Err(Call::NotFound(_)) => return Ok(Outcome::Refused(why)),
        Err(call) => return Err(call),
    };
    if conflict != Conflict::NewVersion {
        return Ok(Outcome::Exists(current));
    }
    match manager.put_secret_over(current, request, PATIENCE).await {
        Ok(version) => Ok(written(&version)),
        Err(call) => refused(call),
    }
}

fn written(version: &v1::Version) -> Outcome {
    match version.unchanged {
        true => Outcome::Unchanged(version.number),
        false => Outcome::Written(version.number),
    }
}

fn refused(call: Call) -> Result<Outcome, Call> {
    match call {
        Call::Invalid(why) | Call::Precondition(why) | Call::InUse { message: why, .. } => {
            Ok(Outcome::Refused(why))
        }
        call => Err(call),
    }
}

fn request(item: &mut Item) -> v1::PutSecretRequest {
    let fields = mem::take::<Fields>(&mut item.fields).into_iter();
    v1::PutSecretRequest {
        group: item.secret.group.to_string(),
        name: item.secret.name.to_string(),
        r#type: item.kind.name().to_owned(),
        fields: fields
            .map(|(name, mut value)| v1::Field {
                name,
                value: mem::take(&mut value),
            })
            .collect(),
        ..Default::default()
    }
}
