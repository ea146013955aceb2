//! Many groups of secrets: a start, fetches, and fetches while an operator looks for something.

use std::time::Duration;

use client::{Manager, v1};

use crate::{
    installation::{Installation, Place},
    load::{Measured, Shape, drive, drive_beside},
    scale::Start,
    settings::{FEW, Settings},
};

/// Callers that fetch while an operator looks for something.
const BESIDE: usize = 16;

/// What was found.
#[derive(Debug)]
pub(crate) struct Groups {
    /// How many groups, of how many secrets, there were, and how long it took to fill them.
    pub(crate) filled: (u32, u32, Duration),
    /// With so many groups of so many secrets.
    pub(crate) steps: Vec<Step>,
    /// With all of them.
    pub(crate) looks: Vec<Look>,
}

/// A daemon with so many secrets.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) groups: u32,
    pub(crate) secrets: u32,
    pub(crate) start: Start,
    /// By so many callers.
    pub(crate) fetches: Vec<(usize, Measured)>,
}

/// What an operator looks for, again and again, while others fetch.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) what: &'static str,
    pub(crate) looks: Measured,
    pub(crate) fetches: Measured,
}

/// All that is looked for.
const LOOKS: [&str; 4] = [
    "nothing",
    "a page of groups",
    "a page of secrets of all groups",
    "a secret by a name that none has",
];

pub(crate) async fn run(settings: &Settings) -> Groups {
    let installation = Installation::new(Place::Memory);
    let daemon = installation.start();
    installation.furnish(FEW).await;
    daemon.stop();
    let few = step(&installation, settings, 1, FEW).await;

    let (groups, each) = (settings.groups.max(2), settings.each);
    let daemon = installation.start();
    installation.furnish(each).await;
    let time = installation.furnish_groups(groups, each).await;
    eprintln!("{groups} groups filled in {:.1} s", time.as_secs_f64());
    daemon.stop();
    let many = step(&installation, settings, groups, each).await;

    let daemon = installation.start();
    let manager = installation.manager().await;
    let mut looks = Vec::new();
    for what in LOOKS {
        let shape = Shape {
            callers: BESIDE,
            connections: BESIDE,
        };
        let target = installation.target_in(groups, each);
        let time = settings.time * settings.rounds;
        let look = async || look(&manager, what).await;
        let (fetches, looks_of_it) = drive_beside(&target, shape, time, look).await;
        looks.push(Look {
            what,
            looks: looks_of_it,
            fetches,
        });
    }
    daemon.stop();
    Groups {
        filled: (groups, each, time),
        steps: vec![few, many],
        looks,
    }
}

async fn step(installation: &Installation, settings: &Settings, groups: u32, secrets: u32) -> Step {
    let (daemon, start) = Start::measure(installation);
    eprintln!("with {groups} groups: {start:?}");
    let mut fetches = Vec::new();
    for &callers in &settings.callers {
        let shape = Shape {
            callers,
            connections: callers,
        };
        let target = installation.target_in(groups, secrets);
        let time = settings.time * settings.rounds;
        fetches.push((callers, drive(&target, shape, time).await));
    }
    daemon.stop();
    Step {
        groups,
        secrets: groups * secrets,
        start,
        fetches,
    }
}

async fn look(manager: &Manager, what: &str) {
    let secrets = |name| v1::ListSecretsRequest {
        name,
        ..Default::default()
    };
    match what {
        "nothing" => tokio::time::sleep(Duration::from_millis(10)).await,
        "a page of groups" => {
            let groups = manager.list_groups(v1::ListGroupsRequest::default());
            groups.await.expect("a page");
        }
        "a page of secrets of all groups" => {
            manager.list_secrets(secrets(None)).await.expect("a page");
        }
        _ => {
            let none = manager.list_secrets(secrets(Some("*nowhere*".to_owned())));
            let none = none.await.expect("a search");
            assert!(none.secrets.is_empty());
        }
    }
}
