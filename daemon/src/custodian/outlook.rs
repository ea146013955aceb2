//! What lies ahead, followed as things change and as time passes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use custody::{
    change,
    compliance::rules::Rules,
    journal::Event,
    name::{GroupName, SecretId, SecretName},
    outlook::{Outlook, Shift},
    role::Operator,
    state::edit::Plan,
};
use tokio::sync::Notify;

use super::{
    Custodian, Error,
    changes::{now, to_its_end, was_made},
};

/// How often it is looked at what time has changed.
const LOOK: Duration = Duration::from_secs(30);

/// How many secrets are looked at before others get their turn.
const AT_ONCE: usize = 1000;

/// How many secrets of a group one entry of the journal names.
const NAMED: usize = 100;

/// What is found of secrets, or is not any more, and is not on record yet.
#[derive(Debug, Default)]
pub(super) struct News {
    groups: Mutex<BTreeMap<GroupName, (Vec<Shift>, u64)>>,
    come: Notify,
}

impl News {
    /// What came up while nobody looked, or was not written down any more.
    pub(super) fn of(unrecorded: Vec<(GroupName, Shift)>) -> Self {
        let news = Self::default();
        for (group, shift) in unrecorded {
            news.add(&group, shift);
        }
        news
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<GroupName, (Vec<Shift>, u64)>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, group: &GroupName, shift: Shift) {
        let mut groups = self.lock();
        let (shifts, more) = groups.entry(group.clone()).or_default();
        match shifts.len() {
            NAMED => *more += 1,
            _ => shifts.push(shift),
        }
        self.come.notify_one();
    }
}

impl Custodian {
    /// What ends when, and what is found. Hold it for a moment, never across an await, and
    /// take it before the state.
    pub(crate) fn outlook(&self) -> MutexGuard<'_, Outlook> {
        self.outlook.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks again at what `plan` changed.
    pub(super) fn look_ahead(&self, plan: &Plan) {
        self.look_at(&Vec::from_iter(plan.secrets()));
    }

    fn look_at(&self, secrets: &[&SecretId]) {
        if secrets.is_empty() {
            return;
        }
        let now = now();
        let mut outlook = self.outlook();
        let state = self.state();
        for id in secrets {
            if let Some(shift) = outlook.look(&state, id, now) {
                self.news.add(&id.group, shift);
            }
        }
    }

    /// Follows what time changes, and puts what is found on record, until it is dropped.
    pub(crate) async fn keep_looking_ahead(&self) {
        loop {
            loop {
                let due = self.outlook().due(now(), AT_ONCE);
                if due.is_empty() {
                    break;
                }
                self.look_at(&Vec::from_iter(&due));
                tokio::task::yield_now().await;
            }
            self.record_news().await;
            drop(tokio::time::timeout(LOOK, self.news.come.notified()).await);
        }
    }

    async fn record_news(&self) {
        let news = std::mem::take(&mut *self.news.lock());
        for (group, (secrets, more)) in news {
            let event = Event::Findings {
                group: group.clone(),
                secrets,
                more,
            };
            if let Err(error) = self.record(event).await {
                tracing::warn!(
                    %group,
                    error = &error as &dyn std::error::Error,
                    "what is found of secrets is not on record; it is still listed"
                );
            }
        }
    }

    /// Sets the rules of a group, or takes them away, and looks at all that it holds.
    pub(crate) async fn set_rules(
        self: &Arc<Self>,
        operator: Operator,
        group: GroupName,
        rules: Option<Rules>,
    ) -> Result<(), Error> {
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let uid = operator.evidence().uid;
            let (edit, change) = change::set_rules(&this.state(), &group, rules, uid, now())?;
            let written = this.commit(writer, Some(&operator), edit, change).await;
            if was_made(&written) {
                this.look_at_all_of(&group).await;
            }
            written
        })
        .await
    }

    async fn look_at_all_of(&self, group: &GroupName) {
        let mut last: Option<SecretName> = None;
        loop {
            let secrets: Vec<_> = {
                let state = self.state();
                let Some(group) = state.group(group) else {
                    return;
                };
                let secrets = group.secrets_after(last.as_ref());
                let ids = secrets.map(|secret| secret.row().id.clone());
                ids.take(AT_ONCE).collect()
            };
            let Some(id) = secrets.last() else {
                return;
            };
            last = Some(id.name.clone());
            self.look_at(&Vec::from_iter(&secrets));
            tokio::task::yield_now().await;
        }
    }
}
