//! `custodyctl group rotate`, `compromise-key`, `destroy-key` and `spare-key`.

use std::time::Duration;

use client::{Manager, v1};
use custody::name::GroupName;
use serde::Serialize;

use super::{exposure::Exposure, view::Group};
use crate::{
    args::Global,
    confirm::confirm,
    failure::Failure,
    output::{self, View},
    when::Grace,
};

/// How often it is asked how much is left.
const LOOK: Duration = Duration::from_millis(500);

/// What `rotate` or `compromise-key` did.
#[derive(Debug, Serialize)]
struct Rotated {
    #[serde(flatten)]
    group: Group,
    /// What may be known and who is to be told; missing when no key is compromised.
    #[serde(skip_serializing_if = "Option::is_none")]
    exposure: Option<Told>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Told {
    All(Box<Exposure>),
    /// The operator has no role that may know.
    Nothing,
}

impl View for Rotated {
    fn text(&self) -> Option<String> {
        let group = self.group.text()?;
        let told = match &self.exposure {
            None => return Some(group),
            Some(Told::All(exposure)) => exposure.text()?,
            Some(Told::Nothing) => format!(
                "The content may be known: 'custodyctl group exposure {}' tells a reader or auditor of \
                 what, and whom to tell.",
                self.group.name()
            ),
        };
        Some(format!("{group}\n\n{told}"))
    }
}

pub(super) async fn rotate(
    global: &Global,
    manager: &Manager,
    request: v1::RotateGroupRequest,
    wait: bool,
) -> Result<(), Failure> {
    let compromised = request.compromised;
    let rotated = manager.rotate_group(request).await;
    let rotated = rotated.map_err(Failure::Manager)?;
    done(global, manager, rotated, compromised, wait).await
}

pub(super) async fn compromise(
    global: &Global,
    manager: &Manager,
    name: GroupName,
    generation: u32,
    wait: bool,
) -> Result<(), Failure> {
    let request = v1::CompromiseMasterKeyRequest {
        group: name.into(),
        generation,
    };
    let group = manager.compromise_master_key(request).await;
    let group = group.map_err(Failure::Manager)?;
    done(global, manager, group, true, wait).await
}

/// Shows what a group has come to, once nothing is left to do if that is to be waited for.
async fn done(
    global: &Global,
    manager: &Manager,
    mut group: v1::Group,
    compromised: bool,
    wait: bool,
) -> Result<(), Failure> {
    if wait {
        group = settled(manager, group).await?;
    }
    let exposure = match compromised {
        true => Some(told(manager, group.name.clone()).await),
        false => None,
    };
    let group = group.into();
    output::show(global.output, &Rotated { group, exposure })
}

/// Waits until nothing is left under a key that protects no more, nor to be renewed because of it,
/// and no token lacks anything.
pub(super) async fn settled(manager: &Manager, mut group: v1::Group) -> Result<v1::Group, Failure> {
    let bar = output::bar(left(&group));
    loop {
        let left = left(&group);
        let done = bar.length().unwrap_or(0).saturating_sub(left as u64);
        bar.set_position(done);
        let mut keys = group.master_keys.iter();
        let mut holders = group.holders.iter();
        let is_done =
            |key: &v1::MasterKey| key.renewals == 0 && (key.emptied.is_some() || !is_over(key));
        if keys.all(is_done) && holders.all(|it| it.lacks == Some(0)) {
            bar.finish_and_clear();
            return Ok(group);
        }
        tokio::time::sleep(LOOK).await;
        let request = v1::GetGroupRequest { name: group.name };
        group = manager.get_group(request).await.map_err(Failure::Manager)?;
    }
}

fn is_over(key: &v1::MasterKey) -> bool {
    matches!(&*key.state, "deactivated" | "compromised")
}

fn left(group: &v1::Group) -> usize {
    let over = group.master_keys.iter().filter(|key| is_over(key));
    let wraps: u64 = over.map(|key| key.wraps).sum();
    let lacks = group.holders.iter().filter_map(|holder| holder.lacks);
    // What is to be renewed because of one key may be so because of another.
    let renewals = group.master_keys.iter().map(|key| key.renewals).max();
    let left = wraps.max(lacks.sum()).max(renewals.unwrap_or(0));
    usize::try_from(left).unwrap_or(usize::MAX)
}

async fn told(manager: &Manager, group: String) -> Told {
    // A crypto officer need not be a reader. The key is rotated all the same.
    match Exposure::of(manager, group).await {
        Ok(exposure) => Told::All(Box::new(exposure)),
        Err(_) => Told::Nothing,
    }
}

pub(super) async fn destroy(
    global: &Global,
    manager: &Manager,
    name: GroupName,
    generation: u32,
    grace: Grace,
    yes: bool,
) -> Result<(), Failure> {
    if !yes {
        let question = format!("destroy the master key of generation {generation} of group {name}");
        confirm(&question, "--yes destroys it without asking")?;
    }
    let request = v1::DestroyMasterKeyRequest {
        group: name.into(),
        generation,
        grace_seconds: grace.seconds()?,
    };
    let group = manager.destroy_master_key(request).await;
    show(global, group)
}

pub(super) async fn spare(
    global: &Global,
    manager: &Manager,
    name: GroupName,
    generation: u32,
) -> Result<(), Failure> {
    let request = v1::SpareMasterKeyRequest {
        group: name.into(),
        generation,
    };
    show(global, manager.spare_master_key(request).await)
}

fn show(global: &Global, group: Result<v1::Group, client::Error>) -> Result<(), Failure> {
    let group = Group::from(group.map_err(Failure::Manager)?);
    output::show(global.output, &group)
}
