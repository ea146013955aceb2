//! The row key under a token's system GMK, and that it is the token which wrapped it.

use custody::{
    envelope::{Context, PlaintextDek, WrappedDek},
    invocation::Invocation,
    name::InstanceId,
    trustee::{RowKeyWrap, Trustee, Unsigned},
};
use hsm::{NewGmk, NewJournalKey};

use crate::run::prove::journal_key;

/// Why there is no row key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error(transparent)]
    Unsigned(#[from] Unsigned),
    #[error(transparent)]
    Hsm(#[from] hsm::Error),
}

/// Wraps the row key under keys that were made for an installation in the token, for its row.
pub(crate) async fn wrap(
    hsm: &hsm::Client,
    instance: &InstanceId,
    (gmk, journal): (&NewGmk, &NewJournalKey),
    row_key: &PlaintextDek,
) -> Result<WrappedDek, hsm::Error> {
    let context = Context::RowKey {
        instance,
        gmk: &gmk.id,
    };
    let counted = Invocation::uncounted(gmk.id);
    let wrapped = hsm.protect_dek(counted, row_key, context).await?;
    if !gmk.wrapping.is_public() {
        return Ok(wrapped);
    }
    let wrap = RowKeyWrap::new(instance, &gmk.id, wrapped);
    let signature = hsm.sign(&journal.id, wrap.digest()).await?;
    Ok(wrap.signed(&signature))
}

/// Unwraps it in the token of `trustee`, whose row has not been verified: it is what verifies rows.
pub(crate) async fn unwrap(
    hsm: &hsm::Client,
    instance: &InstanceId,
    trustee: &Trustee,
) -> Result<PlaintextDek, Problem> {
    if trustee.wrapping.is_public() {
        // It signs for its public half as it is loaded.
        hsm.load(journal_key(trustee)).await?;
    }
    let wrap = trustee.row_key_wrap(instance)?;
    Ok(hsm.unwrap_row_key(instance, &trustee.gmk, &wrap).await?)
}
