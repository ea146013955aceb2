//! Changes: planned in memory, announced in the journal, made in the database, confirmed
//! in the journal, and only then acknowledged.

use std::sync::Arc;

use custody::{
    change,
    group::{Group, Keeping, Millis, Purpose},
    holder::Holders,
    journal::{Event, change::Change},
    name::{GroupName, SecretId},
    role::Operator,
    state::edit::{Edit, Plan},
};
use jiff::Timestamp;
use tokio::sync::MutexGuard;

use super::{Custodian, Error};

/// The one who may change things: there is one at a time.
#[derive(Debug)]
pub(crate) struct Writer {
    /// Number of the next change.
    next: u64,
    unsettled: Option<Unsettled>,
}

/// A change whose outcome is not on record yet.
#[derive(Debug)]
enum Unsettled {
    /// The database did not say whether it took it.
    Unknown(Box<Plan>),
    /// It is in the database.
    Made(u64),
    /// It is not.
    NotMade(u64),
}

impl Writer {
    /// Goes on after change number `last`.
    pub(crate) fn after(last: u64) -> Self {
        Self {
            next: last + 1,
            unsettled: None,
        }
    }
}

/// Runs a change to its end, whether or not anyone still waits for it.
pub(super) async fn to_its_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    tokio::spawn(change).await.map_err(|_| Error::Stopping)?
}

/// Whether the change is in the database, on record or not.
pub(super) fn was_made(written: &Result<(), Error>) -> bool {
    matches!(written, Ok(()) | Err(Error::Unsettled(_)))
}

/// The time now.
pub(crate) fn now() -> Millis {
    Millis::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}

impl Custodian {
    /// Makes a group, and its first master keys in its tokens.
    pub(crate) async fn create_group(
        self: &Arc<Self>,
        operator: Operator,
        name: GroupName,
        purpose: Purpose,
        holders: Holders,
        keeping: Keeping,
    ) -> Result<(), Error> {
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            change::check_new_group(&this.state(), &name)?;
            let enough = |missing| holders.suffice_without(missing);
            let made = this
                .make_keys(&name, 1, keeping, holders.tokens(), enough)
                .await;
            let group = Group {
                name,
                purpose,
                cache: None,
                holders,
                keeping,
                created: now(),
                created_by: operator.evidence().uid,
            };
            this.commit_made(writer, Some(&operator), made, |state, keys| {
                change::create_group(state, group, keys)
            })
            .await
        })
        .await
    }

    /// Waits for its turn to change things, after whatever was left unsettled.
    pub(super) async fn writer(&self) -> Result<MutexGuard<'_, Writer>, Error> {
        let mut writer = self.writer.lock().await;
        match self.settle(&mut writer).await {
            Ok(()) => Ok(writer),
            // What is unsettled is an earlier change; nothing of this one was made.
            Err(Error::Unsettled(error)) => Err(Error::Unrecorded(error)),
            Err(error) => Err(error),
        }
    }

    /// Tells watchers to look again.
    pub(super) fn announce(&self, id: SecretId) {
        // Nobody may be watching.
        drop(self.changed.send(id));
    }

    /// Makes a change; there is no operator to one that the machine's owner makes.
    pub(super) async fn commit(
        &self,
        writer: &mut Writer,
        operator: Option<&Operator>,
        edit: Edit,
        change: Change,
    ) -> Result<(), Error> {
        let number = writer.next;
        writer.next += 1;
        let plan = self.state().plan(edit, number);
        self.record(Event::Prepare {
            number,
            operator: operator.map(|operator| operator.evidence().clone()),
            change,
            state: hex::encode(plan.digest.as_bytes()),
        })
        .await?;
        let (plan, written) = self.database.apply(plan).await;
        match written {
            Ok(()) => {
                self.adopt(&plan);
                writer.unsettled = Some(Unsettled::Made(number));
                self.settle(writer).await
            }
            Err(error) => {
                writer.unsettled = Some(Unsettled::Unknown(Box::new(plan)));
                self.find_out(writer).await?;
                let made = matches!(writer.unsettled, Some(Unsettled::Made(_)));
                let settled = self.settle(writer).await;
                if made {
                    settled
                } else {
                    // An abort that is not on record yet is recorded before the next change.
                    Err(Error::Database(error))
                }
            }
        }
    }

    /// Follows a change that is in the database.
    fn adopt(&self, plan: &Plan) {
        self.state_mut().adopt(plan);
        self.data_keys.follow(plan);
        self.look_ahead(plan);
    }

    /// Asks the database whether it took the last change, if that is not known.
    async fn find_out(&self, writer: &mut Writer) -> Result<(), Error> {
        if let Some(Unsettled::Unknown(plan)) = &writer.unsettled {
            let newest = self.database.change().await.map_err(Error::Database)?;
            let number = plan.change;
            let settled = if newest == number {
                self.adopt(plan);
                Unsettled::Made(number)
            } else {
                Unsettled::NotMade(number)
            };
            writer.unsettled = Some(settled);
        }
        Ok(())
    }

    /// Puts the outcome of the last change on record, if it is not there yet.
    async fn settle(&self, writer: &mut Writer) -> Result<(), Error> {
        self.find_out(writer).await?;
        let event = match writer.unsettled {
            Some(Unsettled::Made(number)) => Event::Commit { number },
            Some(Unsettled::NotMade(number)) => Event::Abort { number },
            _ => return Ok(()),
        };
        match self.record(event).await {
            Ok(_) => {
                writer.unsettled = None;
                Ok(())
            }
            Err(Error::Unrecorded(error)) => Err(Error::Unsettled(error)),
            Err(error) => Err(error),
        }
    }
}
