//! A rotation: what fetches cost while all that a master key protects is moved to the next.

use std::time::{Duration, Instant};

use client::{Manager, v1};

use crate::{
    installation::{Installation, Place, group_name},
    load::{Measured, Shape, drive, drive_through},
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
    let rotation = async {
        let rotate = v1::RotateGroupRequest {
            group: group_name(0),
            ..Default::default()
        };
        let start = Instant::now();
        manager.rotate_group(rotate).await.expect("a rotation");
        old_key(&manager, |key| key.emptied.is_some()).await;
        start.elapsed()
    };
    let (meanwhile, time) = drive_through(&target, shape, rotation).await;
    let destroy = v1::DestroyMasterKeyRequest {
        group: group_name(0),
        generation: 1,
        grace_seconds: Some(0),
    };
    manager.destroy_master_key(destroy).await.expect("it is");
    old_key(&manager, |key| key.state == "destroyed").await;
    let after = measure().await;
    installation.fetch_all(settings.secrets).await;
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

/// Waits until the first master key is as it should be.
async fn old_key(manager: &Manager, is_so: impl Fn(&v1::MasterKey) -> bool) {
    loop {
        let request = v1::GetGroupRequest {
            name: group_name(0),
        };
        let group = manager.get_group(request).await.expect("the group");
        if is_so(&group.master_keys[0]) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
