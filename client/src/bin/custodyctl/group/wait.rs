//! Waiting until what was begun with a group's master keys is done.

use std::time::{Duration, Instant};

use client::{Manager, v1};

use crate::{failure::Failure, output};

/// How often it is asked how much is left.
const LOOK: Duration = Duration::from_millis(500);

/// How long nothing may come of it while a token cannot be used, which may be back in a moment.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was begun goes on once the tokens are back, and not before.
#[derive(Debug, thiserror::Error)]
#[error("group {group} is changed, but not all is done yet, and what is left waits for a token")]
pub(crate) struct Unsettled {
    group: String,
    /// Which, and why, a line each.
    tokens: Vec<String>,
}

impl Unsettled {
    pub(crate) fn tokens(&self) -> &[String] {
        &self.tokens
    }

    pub(crate) fn hint(&self) -> String {
        format!(
            "it goes on by itself when the token is back: 'custodyctl group show {}' tells how far it is; one that \
             will not be back is given up with 'custodyctl hsm lost'",
            self.group
        )
    }
}

/// Waits, if that is wanted, until nothing is left under a key that protects no more, nor to be renewed
/// because of it, and no token lacks anything; or until there is nobody to do what is left, which is told
/// beside what the group has come to.
pub(super) async fn settled(
    manager: &Manager,
    mut group: v1::Group,
    is_wanted: bool,
) -> Result<(v1::Group, Result<(), Unsettled>), Failure> {
    if !is_wanted {
        return Ok((group, Ok(())));
    }
    let bar = output::bar(left(&group));
    let (mut before, mut since) = (left(&group), Instant::now());
    loop {
        let (left, tokens) = (left(&group), missing(&group));
        if left != before || tokens.is_empty() {
            (before, since) = (left, Instant::now());
        }
        let done = bar.length().unwrap_or(0).saturating_sub(left as u64);
        bar.set_position(done);
        bar.set_message(tokens.first().cloned().unwrap_or_default());
        let is_over = is_settled(&group);
        if is_over || since.elapsed() >= PATIENCE {
            bar.finish_and_clear();
            let unsettled = Unsettled {
                group: group.name.clone(),
                tokens,
            };
            return Ok((group, is_over.then_some(()).ok_or(unsettled)));
        }
        tokio::time::sleep(LOOK).await;
        let request = v1::GetGroupRequest { name: group.name };
        group = manager.get_group(request).await.map_err(Failure::Manager)?;
    }
}

fn is_settled(group: &v1::Group) -> bool {
    let is_done =
        |key: &v1::MasterKey| key.renewals == 0 && (key.emptied.is_some() || !is_over(key));
    group.master_keys.iter().all(is_done) && group.holders.iter().all(|it| it.lacks == Some(0))
}

/// The tokens of the group that cannot be used, each with the reason.
fn missing(group: &v1::Group) -> Vec<String> {
    let missing = group.holders.iter().filter_map(|holder| {
        let problem = holder.problem.as_ref()?;
        Some(format!(
            "token {} ({}): {problem}",
            holder.label, holder.serial
        ))
    });
    missing.collect()
}

fn is_over(key: &v1::MasterKey) -> bool {
    matches!(&*key.state, "deactivated" | "compromised")
}

fn left(group: &v1::Group) -> usize {
    let over = group.master_keys.iter().filter(|key| is_over(key));
    let wraps: u64 = over.map(|key| key.wraps).sum();
    let lacks = group.holders.iter().filter_map(|holder| holder.lacks);
    // What is to be renewed because of one key may be so because of another.
    let renewals = group.master_keys.iter().map(|key| key.renewals).max();
    let left = wraps.max(lacks.sum()).max(renewals.unwrap_or(0));
    usize::try_from(left).unwrap_or(usize::MAX)
}
