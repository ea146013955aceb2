//! What it costs to know who asks: one caller, which fetches under grants that ask for more
//! and more of it.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use client::{Manager, Provider, v1};
use nix::unistd::getuid;
use softhsm_tests::Site;

use crate::{load::Measured, settings::Settings};

const GROUP: &str = "attest";

/// A row: what is done, and how long each took.
pub(crate) type Row = (&'static str, Measured);

/// Measures each way to be known, one after the other.
pub(crate) async fn run(settings: &Settings) -> Vec<Row> {
    let site = Site::new();
    let daemon = site.start();
    let own = std::env::current_exe().unwrap();
    furnish(&site, &own).await;
    let socket = site.path("run/provider.sock");
    let provider = Provider::connect(&socket).await.unwrap();
    let open = |secret: &'static str| {
        let provider = provider.clone();
        async move {
            provider.fetch(GROUP, secret, None).await.expect("a fetch");
        }
    };
    let anew = || async {
        let provider = Provider::connect(&socket).await.unwrap();
        provider.fetch(GROUP, "uid", None).await.expect("a fetch");
    };
    let time = settings.time;
    let mut rows = vec![
        (
            "fetch by uid, connection open",
            repeat(time, || open("uid")).await,
        ),
        ("the same, connecting each time", repeat(time, anew).await),
        (
            "fetch by uid and not traced",
            repeat(time, || open("untraced")).await,
        ),
        (
            "fetch by uid and SHA-256, cached",
            repeat(time, || open("hashed")).await,
        ),
    ];
    // What was changed a moment ago is hashed each time.
    let touched = || async {
        let mode = fs::metadata(&own).unwrap().permissions();
        fs::set_permissions(&own, mode).unwrap();
        let provider = Provider::connect(&socket).await.unwrap();
        provider
            .fetch(GROUP, "hashed", None)
            .await
            .expect("a fetch");
    };
    rows.push((
        "the same, hashed anew, connecting",
        repeat(time, touched).await,
    ));
    let size = fs::metadata(&own).unwrap().len() >> 20;
    println!("the executable that is hashed has {size} MiB");
    daemon.stop();
    rows
}

async fn repeat<F: Future<Output = ()>>(time: Duration, call: impl Fn() -> F) -> Measured {
    // Once uncounted.
    call().await;
    let mut measured = Measured::new();
    let start = Instant::now();
    while start.elapsed() < time {
        let from = Instant::now();
        call().await;
        measured.call(from.elapsed());
    }
    measured.lasted(start.elapsed());
    measured
}

/// Three secrets, each under a grant that asks for more.
async fn furnish(site: &Site, own: &Path) {
    let manager = Manager::connect(site.path("run/manager.sock"))
        .await
        .unwrap();
    let group = v1::CreateGroupRequest {
        name: GROUP.into(),
        ..Default::default()
    };
    manager.create_group(group).await.expect("a group");
    let uid = format!("unix:uid:{}", getuid());
    let hash = format!("unix:sha256:{}", sha256(own));
    for (name, selectors) in [
        ("uid", vec![uid.clone()]),
        ("untraced", vec![uid.clone(), "process:traced:no".into()]),
        ("hashed", vec![uid, hash]),
    ] {
        let secret = v1::PutSecretRequest {
            group: GROUP.into(),
            name: name.into(),
            r#type: "blob".into(),
            fields: vec![v1::Field {
                name: "content".into(),
                value: vec![1; 3072],
            }],
            ..Default::default()
        };
        manager.put_secret(secret).await.expect("a secret");
        let grant = v1::AddGrantRequest {
            group: GROUP.into(),
            patterns: vec![name.into()],
            selectors,
            allow_weak: true,
            ..Default::default()
        };
        manager.add_grant(grant).await.expect("a grant");
    }
}

fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum")
        .arg(path)
        .output()
        .expect("sha256sum runs");
    let line = String::from_utf8(output.stdout).unwrap();
    line.split(' ').next().unwrap().to_owned()
}
