//! Opening what there is: journal, database, token; each proven by another.

use std::sync::{Arc, PoisonError, RwLock};

use custody::{
    group::{KeyState, MasterKey},
    journal::{Event, Journal as _, public_key::PublicKey},
    row::{RowKey, System},
    state::State,
    store::Store as _,
};
use hsm::{KeyRole, KnownKey};

use super::{Attempts, Failure};
use crate::{
    attest::Attestor,
    backup::Shelf,
    config::Config,
    custodian::{Custodian, Mill, Parts, Writer},
    history::History,
    journal::{Changes, Closing, Journal, Origin, Segments},
    store::{self, Database, Sqlite},
};

/// A custodian, ready to answer.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) custodian: Arc<Custodian>,
    /// To wait for the journal after the custodian is gone.
    pub(crate) journal_closing: Closing,
}

/// Opens everything, and makes sure that it belongs together.
pub(crate) async fn open(
    config: &Config,
    attestor: Attestor,
    attempts: Attempts<'_>,
) -> Result<Opened, Failure> {
    if !config.database().exists() {
        if config.journal().exists() {
            return Err(Failure::NoDatabase(config.journal()));
        }
        return Err(Failure::NotInitialised(config.state_directory.clone()));
    }
    let segments = Segments::open(&config.journal(), config.segment_size)?;
    let changes = segments.changes().clone();
    let (journal, journal_closing) = Journal::start(segments, config.live.checkpoint.entries)?;
    match proven(config, attestor, attempts, &journal, &changes).await {
        Ok(parts) => Ok(Opened {
            custodian: Custodian::new(parts),
            journal_closing,
        }),
        Err(Failure::Tampered(what)) => {
            // On record, even though nobody is served.
            journal
                .append(Event::Tampering { what: what.clone() })
                .await?;
            Err(Failure::Tampered(what))
        }
        Err(failure) => Err(failure),
    }
}

async fn proven(
    config: &Config,
    attestor: Attestor,
    mut attempts: Attempts<'_>,
    journal: &Journal,
    changes: &Changes,
) -> Result<Parts, Failure> {
    let mut database = Sqlite::open(&config.database())?;
    let (system, tag) = database
        .system()
        .map_err(found_wrong)?
        .ok_or_else(|| Failure::Tampered("the database has no system row".to_owned()))?;
    if *journal.origin() != origin(&system)? {
        return Err(Failure::Tampered(
            "the database and the journal are of two installations".to_owned(),
        ));
    }
    let (hsm, row_key) = loop {
        match unlocked(config, &system).await {
            Ok(unlocked) => break unlocked,
            Err(Failure::Hsm(error)) => attempts.after(error).await?,
            Err(failure) => return Err(failure),
        }
    };
    attempts.succeeded().await;
    if !row_key.verifies_system(&system, tag) {
        return Err(Failure::Tampered(
            "the system row does not verify".to_owned(),
        ));
    }
    let state = load_state(&mut database, row_key)?;
    let last = settle(journal, &state, changes, database.change()?).await?;
    let state = RwLock::new(state);
    let usage = History::recall(&config.state_directory, journal, &state)?.usage;
    let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    load_group_keys(&hsm, &state).await;
    let database = Database::start(database, &config.database())?;
    Ok(Parts {
        attestor,
        system,
        state,
        usage,
        folder: config.state_directory.clone(),
        shelf: Shelf::empty(&config.state_directory)?,
        journal: journal.clone(),
        database,
        hsm,
        writer: Writer::after(last),
        mill: Mill::start().map_err(Failure::Runtime)?,
    })
}

/// Whose journal goes with `system`.
pub(crate) fn origin(system: &System) -> Result<Origin, Failure> {
    let key = PublicKey::from_point(&system.journal_public_key)
        .map_err(|_| Failure::Tampered("the journal key in the system row is none".to_owned()))?;
    Ok(Origin {
        instance: system.instance,
        public_key: key.to_pem(),
    })
}

/// The token, and the row key that only it opens.
async fn unlocked(config: &Config, system: &System) -> Result<(hsm::Client, RowKey), Failure> {
    let hsm = hsm::Client::start(config.worker()).await?;
    load_system_keys(&hsm, system).await?;
    let row_key = hsm
        .unwrap_row_key(&system.instance, &system.gmk, &system.row_key)
        .await
        .map_err(|error| {
            if error.is_bad_data() {
                Failure::Tampered("the row key does not open under the system GMK".to_owned())
            } else {
                error.into()
            }
        })?;
    Ok((hsm, RowKey::take(row_key)))
}

async fn load_system_keys(hsm: &hsm::Client, system: &System) -> Result<(), Failure> {
    let gmk = KeyRole::Gmk {
        wrapping: system.wrapping,
        canary: system.canary.clone(),
    };
    let journal = KeyRole::Journal {
        public_key: system.journal_public_key.clone(),
    };
    for (id, role) in [(system.gmk, gmk), (system.journal_key, journal)] {
        hsm.load(KnownKey { id, role }).await?;
    }
    Ok(())
}

fn load_state(database: &mut Sqlite, row_key: RowKey) -> Result<State, Failure> {
    let mut state = State::empty(row_key);
    let mut broken = None;
    database
        .rows(&mut |tagged| {
            if broken.is_none() {
                broken = state.load(tagged).err();
            }
        })
        .map_err(found_wrong)?;
    match broken {
        Some(broken) => Err(Failure::Tampered(broken.to_string())),
        None => Ok(state),
    }
}

/// A row that none of ours can look like was not written by us.
fn found_wrong(error: store::Error) -> Failure {
    if error.is_bad_data() {
        Failure::Tampered(error.to_string())
    } else {
        error.into()
    }
}

/// Makes sure that the database is where the journal says, and finishes what a crash
/// interrupted. Says which change was the last.
async fn settle(
    journal: &Journal,
    state: &State,
    changes: &Changes,
    newest: u64,
) -> Result<u64, Failure> {
    let reached = |settled: &custody::journal::change::Settled| {
        hex::encode(state.digest(settled.number).as_bytes()) == settled.state
    };
    if let Some(pending) = &changes.pending {
        let number = pending.number;
        let event = if reached(pending) {
            Event::Commit { number }
        } else if changes.settled.as_ref().is_some_and(reached) {
            Event::Abort { number }
        } else {
            return Err(rolled_back(newest, number));
        };
        tracing::info!(?event, "a change that was interrupted is settled");
        journal.append(event).await?;
        return Ok(number);
    }
    match &changes.settled {
        Some(settled) if reached(settled) => Ok(settled.number),
        Some(settled) => Err(rolled_back(newest, settled.number)),
        None => Err(Failure::Tampered(
            "the journal knows of no change".to_owned(),
        )),
    }
}

fn rolled_back(newest: u64, settled: u64) -> Failure {
    Failure::Tampered(match newest.cmp(&settled) {
        std::cmp::Ordering::Less => format!(
            "the database ends at change {newest}, the journal at {settled}: the database is an old one"
        ),
        std::cmp::Ordering::Greater => format!(
            "the database ends at change {newest}, the journal at {settled}: the journal is an old one"
        ),
        std::cmp::Ordering::Equal => {
            "rows of the database were removed or replaced by older ones".to_owned()
        }
    })
}

/// A key that is refused takes its own group out of service, and no other.
async fn load_group_keys(hsm: &hsm::Client, state: &State) {
    for group in state.groups() {
        let living = |key: &&MasterKey| key.state != KeyState::Destroyed;
        for key in group.keys().filter(living) {
            let role = KeyRole::Gmk {
                wrapping: key.wrapping,
                canary: key.canary.clone(),
            };
            if let Err(error) = hsm.load(KnownKey { id: key.id, role }).await {
                tracing::error!(
                    group = %key.group,
                    generation = key.generation,
                    key = %key.id,
                    error = &error as &dyn std::error::Error,
                    "a group master key is refused; its secrets cannot be delivered"
                );
            }
        }
    }
}
