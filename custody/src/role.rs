//! Who may administer.

use crate::caller::Evidence;

/// Who may use the Manager surface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operators {
    /// User ids.
    pub uids: Vec<u32>,
    /// Primary group ids.
    pub gids: Vec<u32>,
}

/// A process that may manage; it can be given metadata, never content.
#[derive(Clone, Debug)]
pub struct Operator(Evidence);

/// The evidence is of no operator.
#[derive(Debug, thiserror::Error)]
#[error("uid {} gid {} is no operator", .0.uid, .0.gid)]
pub struct NoOperator(pub Evidence);

impl Operators {
    /// Whether `evidence` is of one of them.
    ///
    /// # Errors
    ///
    /// If not, the evidence comes back for the record.
    pub fn admit(&self, evidence: Evidence) -> Result<Operator, NoOperator> {
        if self.uids.contains(&evidence.uid) || self.gids.contains(&evidence.gid) {
            Ok(Operator(evidence))
        } else {
            Err(NoOperator(evidence))
        }
    }
}

impl Operator {
    /// What proves it.
    pub fn evidence(&self) -> &Evidence {
        &self.0
    }
}
