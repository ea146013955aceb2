//! Group master keys as the tests use them.

use custody::{
    envelope::{Context, PlaintextDek, WrappedDek},
    invocation::Invocation,
    name::{InstanceId, KeyId},
};
use hsm::{Client, Error, KeyRole, KnownKey, NewGmk};

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

/// Has `gmk` wrap a row key, of so many bytes then, that opens in its context, and in no other; nor
/// does it open as any of `altered` has it. That costs the worker nothing.
pub(crate) async fn opens_unaltered_only(
    client: &Client,
    gmk: &KeyId,
    length: usize,
    altered: impl FnOnce(&[u8]) -> Vec<Vec<u8>>,
) {
    let [here, elsewhere] = [InstanceId::random().unwrap(), InstanceId::random().unwrap()];
    let (dek, wrapped) = protect(client, gmk, &here).await;
    assert_eq!(wrapped.blob().len(), length);
    let opened = client.unwrap_row_key(&here, gmk, &wrapped).await;
    assert_eq!(opened.unwrap().expose(), dek.expose());
    let moved = client.unwrap_row_key(&elsewhere, gmk, &wrapped).await;
    assert_eq!(moved.unwrap_err(), Error::DoesNotOpen { gmk: *gmk });
    for blob in altered(wrapped.blob()) {
        let blob = WrappedDek::from_blob(blob);
        let refused = client.unwrap_row_key(&here, gmk, &blob).await;
        assert_eq!(refused.unwrap_err(), Error::DoesNotOpen { gmk: *gmk });
    }
    assert_eq!(client.health().borrow().generation, 1);
    client.check_canary(gmk).await.unwrap();
}

/// A blob with another bit at a place.
pub(crate) fn bent(blob: &[u8], at: usize) -> Vec<u8> {
    let mut bent = blob.to_vec();
    bent[at] ^= 1;
    bent
}
