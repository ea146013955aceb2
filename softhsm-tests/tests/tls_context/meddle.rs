//! Everything that can be done to what is referred to, and to what refers to it, at the same
//! time: no reference is left without something to mean, and no version is lost.

use client::{Error, Manager, v1};
use softhsm_tests::{
    Site,
    load::{rounds, runtime},
    text,
    world::TlsPair,
};

fn group() -> String {
    "web".to_owned()
}

fn keystore(name: &str) -> v1::PutSecretRequest {
    let pair = TlsPair::new();
    let fields = [
        ("certificate-chain", pair.certificate),
        ("private-key", pair.key),
    ];
    put(name, "keystore", fields)
}

fn put<const N: usize>(
    name: &str,
    kind: &str,
    fields: [(&str, String); N],
) -> v1::PutSecretRequest {
    let fields = fields.into_iter().map(|(name, value)| v1::Field {
        name: name.to_owned(),
        value: value.into_bytes(),
    });
    v1::PutSecretRequest {
        group: group(),
        name: name.to_owned(),
        r#type: kind.to_owned(),
        fields: fields.collect(),
        ..Default::default()
    }
}

/// What another did in between may be in the way, and nothing else.
fn done<T>(outcome: Result<T, Error>) -> Option<T> {
    match outcome {
        Ok(done) => Some(done),
        Err(Error::Precondition(_) | Error::NotFound(_) | Error::InUse { .. }) => None,
        Err(other) => panic!("{other:?}"),
    }
}

async fn delete(manager: &Manager, name: &str) -> bool {
    let request = v1::DeleteSecretRequest {
        group: group(),
        name: name.to_owned(),
        force: true,
    };
    done(manager.delete_secret(request).await).is_some()
}

/// Writes contexts that refer in every way, and deletes them now and then; says how many
/// were written.
async fn refer(manager: Manager, name: String, rounds: usize) -> usize {
    let mut written = 0;
    for round in 0..rounds {
        let to = match round % 4 {
            0 => "key".to_owned(),
            1 => "key@previous".to_owned(),
            2 => format!("key@{}", 1 + round / 2),
            _ => "spare".to_owned(),
        };
        let refers = [
            ("keystore", format!("custody:web/{to}")),
            ("alpn", format!("p{round}")),
        ];
        let put = manager.put_secret(put(&name, "tls-context", refers)).await;
        written += usize::from(done(put).is_some());
        if round % 3 == 2 {
            delete(&manager, &name).await;
        }
        is_whole(&manager).await;
    }
    written
}

/// Does everything to the versions of `web/key`, and deletes and writes `web/spare`; says
/// which versions of the former were written, and how often the latter went.
async fn meddle(manager: Manager, number: usize, rounds: usize) -> (Vec<u32>, usize) {
    let name = || "key".to_owned();
    let mut written = Vec::new();
    let mut deleted = 0;
    for round in 0..rounds {
        match manager.put_secret(keystore("key")).await {
            Ok(put) => written.push(put.number),
            // The current version is doomed, and would be what `@previous` refers to.
            Err(Error::InUse { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
        let which = |more: usize| (1 + (round * 5 + number + more) % (2 + round)).to_string();
        let disable = v1::DisableVersionRequest {
            group: group(),
            name: name(),
            which: which(0),
            force: true,
        };
        done(manager.disable_version(disable).await);
        let destroy = v1::DestroyVersionRequest {
            group: group(),
            name: name(),
            which: which(1),
            force: true,
            grace_seconds: (round % 2 == 0).then_some(0),
        };
        done(manager.destroy_version(destroy).await);
        let enable = v1::EnableVersionRequest {
            group: group(),
            name: name(),
            which: which(0),
        };
        done(manager.enable_version(enable).await);
        let restore = v1::RestoreVersionRequest {
            group: group(),
            name: name(),
            which: which(1),
        };
        done(manager.restore_version(restore).await);
        let activate = v1::ActivateVersionRequest {
            group: group(),
            name: name(),
            which: which(2),
            overlap_seconds: (round % 3 == 0).then_some(3600),
        };
        done(manager.activate_version(activate).await);
        deleted += usize::from(delete(&manager, "spare").await);
        done(manager.put_secret(keystore("spare")).await);
    }
    (written, deleted)
}

/// Every reference there is means something that is there, if it is not just disabled.
async fn is_whole(manager: &Manager) {
    for name in ["ctx-0", "ctx-1"] {
        let request = v1::ListReferencesRequest {
            group: group(),
            name: name.to_owned(),
        };
        let Some(listed) = done(manager.list_references(request).await) else {
            continue;
        };
        for reference in listed.refers_to {
            let problem = reference.problem.as_deref();
            assert!(
                matches!(problem, None | Some("the version is disabled")),
                "{name}@{} {}: {problem:?}",
                reference.version,
                reference.reference
            );
        }
    }
}

#[test]
fn whatever_is_done_at_the_same_time_nothing_dangles_and_no_version_is_lost() {
    let site = Site::new();
    let daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    let runtime = runtime();
    let rounds = rounds(12);
    let (written, contexts, deleted) = runtime.block_on(async {
        let manager = site.manager().await;
        for name in ["key", "spare"] {
            manager.put_secret(keystore(name)).await.unwrap();
        }
        let mut meddlers = tokio::task::JoinSet::new();
        let mut referrers = tokio::task::JoinSet::new();
        for number in 0..2 {
            meddlers.spawn(meddle(site.manager().await, number, rounds));
            referrers.spawn(refer(
                site.manager().await,
                format!("ctx-{number}"),
                2 * rounds,
            ));
        }
        let (written, deleted): (Vec<_>, Vec<_>) = meddlers.join_all().await.into_iter().unzip();
        let contexts: usize = referrers.join_all().await.into_iter().sum();
        (
            written.concat(),
            contexts,
            deleted.into_iter().sum::<usize>(),
        )
    });
    assert!(written.len() > rounds, "{} versions", written.len());
    assert!(contexts > rounds / 2, "{contexts} contexts were written");
    assert!(deleted > 0, "nothing was ever deleted");
    daemon.stop();
    // As it is in the database, too.
    let _daemon = site.start();
    runtime.block_on(async { is_whole(&site.manager().await).await });
    let versions = site.ctl_json(&["secret", "versions", "web/key"]);
    let numbers: Vec<_> = versions["versions"].as_array().unwrap().iter().collect();
    assert_eq!(
        numbers.len(),
        1 + written.len(),
        "each write has a version of its own"
    );
    for number in written {
        assert!(
            numbers.iter().any(|version| version["number"] == number),
            "{number}"
        );
    }
    let verified = site.verify_journal();
    assert!(verified.status.success(), "{}", text(&verified));
}
