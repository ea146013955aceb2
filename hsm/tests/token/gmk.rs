//! Group master keys as the tests use them.

use custody::{
    envelope::{Context, PlaintextDek, WrappedDek},
    invocation::Invocation,
    name::{InstanceId, KeyId},
};
use hsm::{Client, KeyRole, KnownKey, NewGmk};

/// As a later client is told of it.
pub(crate) fn known(gmk: &NewGmk) -> KnownKey {
    KnownKey {
        id: gmk.id,
        role: KeyRole::Gmk {
            wrapping: gmk.wrapping,
            canary: gmk.canary.clone(),
            blob: gmk.blob.clone(),
        },
    }
}

/// A row key, and its wrap under `gmk`.
pub(crate) async fn protect(
    client: &Client,
    gmk: &KeyId,
    instance: &InstanceId,
) -> (PlaintextDek, WrappedDek) {
    let dek = PlaintextDek::generate().unwrap();
    let context = Context::RowKey { instance, gmk };
    let counted = Invocation::uncounted(*gmk);
    let wrapped = client.protect_dek(counted, &dek, context).await.unwrap();
    (dek, wrapped)
}
