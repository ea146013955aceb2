//! A rotation: what fetches cost while all that a master key protects is moved to the next.

use std::time::{Duration, Instant};

use client::v1;

use crate::{
    installation::{Installation, Place, group_name},
    load::{Measured, Shape, drive},
    settings::Settings,
};

/// Callers that fetch all the time.
const CALLERS: usize = 16;

/// What was found.
#[derive(Debug)]
pub(crate) struct Rotation {
    /// How many versions were moved, and how long that took.
    pub(crate) moved: (u32, Duration),
    /// Fetches before, meanwhile and afterwards.
    pub(crate) fetches: [(&'static str, Measured); 3],
}

pub(crate) async fn run(settings: &Settings) -> Rotation {
    let installation = Installation::new(Place::Memory);
    let daemon = installation.start();
    installation.furnish(settings.secrets).await;
    let manager = installation.manager().await;
    let target = installation.target(settings.secrets);
    let shape = Shape {
        callers: CALLERS,
        connections: CALLERS,
    };
    let measure = async || drive(&target, shape, settings.time * settings.rounds).await;

    let before = measure().await;
    let rotate = v1::RotateGroupRequest {
        group: group_name(0),
        ..Default::default()
    };
    let start = Instant::now();
    manager.rotate_group(rotate).await.expect("a rotation");
    let emptied = async {
        loop {
            let request = v1::GetGroupRequest {
                name: group_name(0),
            };
            let group = manager.get_group(request).await.expect("the group");
            if group.master_keys[0].emptied.is_some() {
                return start.elapsed();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (time, meanwhile) = tokio::join!(emptied, measure());
    if time < settings.time * settings.rounds {
        eprintln!("everything was moved before the measurement was over: take more secrets");
    }
    let after = measure().await;
    daemon.stop();
    Rotation {
        moved: (settings.secrets, time),
        fetches: [
            ("before", before),
            ("while it is moved", meanwhile),
            ("afterwards", after),
        ],
    }
}
