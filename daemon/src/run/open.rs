//! Opening what there is: journal, database, token; each proven by another.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use custody::{
    journal::{Event, Journal as _, change::Settled, trust::Voucher},
    state::State,
    store::Store as _,
};

use super::{
    Attempts, Failure,
    prove::{self, keys_in, load_keys, load_state, origin, system_row},
};
use crate::{
    attest::Attestor,
    backup::Shelf,
    config::Config,
    custodian::{Custodian, Mill, Parts, Writer},
    history::History,
    journal::{Changes, Closing, Journal, Segments},
    store::{Database, Sqlite},
    tokens::{Presence, Tokens},
};

/// How long to wait at least before a token is asked for the row key again.
const PAUSE: Duration = Duration::from_millis(100);

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
    let vouchers = segments.vouchers().to_vec();
    let (journal, journal_closing) = Journal::start(segments, config.live.checkpoint.entries)?;
    match proven(config, attestor, attempts, &journal, &changes, &vouchers).await {
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
    vouchers: &[Voucher],
) -> Result<Parts, Failure> {
    let mut database = Sqlite::open(&config.database())?;
    let (system, tag) = system_row(&mut database)?;
    if *journal.origin() != origin(&system)? {
        return Err(Failure::Tampered(
            "the database and the journal are of two installations".to_owned(),
        ));
    }
    let trustees = prove::trustees(&mut database, &system)?;
    let tokens = Tokens::seek(
        config.workers(),
        &trustees,
        &prove::lost(&mut database)?,
        config.reads,
    );
    let mut seen = 0;
    let row_key = loop {
        let unlocked = match tokens.arrived(&trustees, &mut seen).await {
            Ok((token, trustee)) => prove::row_key(&token, &system.instance, trustee).await,
            Err(error) => Err(error.into()),
        };
        match unlocked {
            Ok(row_key) => break row_key,
            Err(Failure::Hsm(error)) => attempts.after(error)?,
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(PAUSE).await;
    };
    attempts.succeeded().await;
    let state = load_state(&mut database, row_key, &system, tag)?;
    let last = settle(journal, &state, changes, database.change()?).await?;
    let state = RwLock::new(state);
    let usage = History::recall(&config.state_directory, journal, &state)?.usage;
    let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    for voucher in state.vouchers() {
        if !vouchers.contains(&voucher) {
            journal.append(Event::JournalKey(voucher)).await?;
        }
    }
    for token in tokens.all() {
        let is_trustee = trustees.iter().any(|trustee| trustee.token == *token.id());
        if let (true, Presence::Arrived(client)) = (is_trustee, token.presence()) {
            load_keys(&client, keys_in(&state, token.id())).await;
            token.welcome(&tokens);
        }
    }
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
        tokens,
        writer: Writer::after(last),
        mill: Mill::start().map_err(Failure::Runtime)?,
        key_invocations: config.key_invocations,
    })
}

/// Makes sure that the database is where the journal says, and finishes what a crash
/// interrupted. Says which change was the last.
async fn settle(
    journal: &Journal,
    state: &State,
    changes: &Changes,
    newest: u64,
) -> Result<u64, Failure> {
    let reached = |settled: &Settled| state.settled_at(settled.number) == *settled;
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
