//! What lies ahead, followed as things change.

use std::sync::{MutexGuard, PoisonError};

use custody::{outlook::Outlook, state::edit::Plan};

use super::Custodian;

impl Custodian {
    /// What ends when. Hold it for a moment, never across an await, and take it before the
    /// state.
    pub(crate) fn outlook(&self) -> MutexGuard<'_, Outlook> {
        self.outlook.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks again at what `plan` changed.
    pub(super) fn look_ahead(&self, plan: &Plan) {
        let secrets = plan.secrets();
        if secrets.is_empty() {
            return;
        }
        let mut outlook = self.outlook();
        let state = self.state();
        for id in secrets {
            outlook.look(&state, id);
        }
    }
}
