//! `custodyctl group rotate`, `compromise-key`, `destroy-key` and `spare-key`.

use client::{Manager, v1};
use custody::name::GroupName;
use serde::Serialize;

use super::{exposure::Exposure, view::Group, wait};
use crate::{
    args::Global,
    confirm::confirm,
    failure::Failure,
    output::{self, View},
    when::Grace,
};

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
    group: v1::Group,
    compromised: bool,
    wait: bool,
) -> Result<(), Failure> {
    let (group, left) = wait::settled(manager, group, wait).await?;
    let exposure = match compromised {
        true => Some(told(manager, group.name.clone()).await),
        false => None,
    };
    let group = group.into();
    output::show(global.output, &Rotated { group, exposure })?;
    Ok(left?)
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
