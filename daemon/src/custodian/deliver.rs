//! Delivery: from what a service wants to what it gets.

use std::sync::Arc;

use custody::{
    caller::{
        Caller,
        fact::{Need, Needs},
    },
    envelope::SealedContent,
    journal,
    name::VersionId,
    policy::{Deliver, Depth, Grant, Notify, Operation, Permit, Tampered, Wanted, Wrong},
    release::{Delivery, Written},
    secret::{Refused, format::Rendering, version::VersionState},
};

use super::{
    Custodian, Error,
    changes::{now, to_its_end},
    judge::Taken,
};
use crate::{attest::Peer, store::Failed};

/// How often a request is decided again because content was renewed meanwhile. A version is renewed
/// once for a compromise.
const TRIES: usize = 3;

/// What a service asks for.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) wanted: Wanted,
    pub(crate) depth: Depth,
    /// How to write what can be written so; as it is stored otherwise.
    pub(crate) rendering: Option<Arc<Rendering>>,
}

/// One secret of a delivery.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) delivery: Delivery,
    /// Whether it is in the format that was asked for.
    pub(crate) is_rendered: bool,
}

/// One secret on its way: what is read of it while its permit is being recorded.
struct Piece<R> {
    reading: R,
    rendering: Option<Arc<Rendering>>,
}

impl Custodian {
    /// Releases what `peer` wants, if grants say so, after that is on record: the secret, and
    /// then what it refers to. All of it, or nothing. What no secret of its type could be
    /// written as is refused before: nothing is released by it.
    ///
    /// Dropping this future is harmless: what has been decided is carried to its end, so
    /// that it is on record if the caller has gone meanwhile. What could not be delivered since
    /// its content was renewed meanwhile is decided, and recorded, again.
    pub(crate) async fn deliver(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        order: Order,
    ) -> Result<Vec<Delivered>, Error> {
        let Order { wanted, depth, .. } = &order;
        let caller = self.caller(peer, wanted, *depth, Deliver::NAME).await?;
        let (this, peer) = (Arc::clone(self), Arc::clone(peer));
        to_its_end(async move {
            for _ in 1..TRIES {
                match this.decide(&peer, caller.clone(), order.clone()).await {
                    Err(Error::Renewed(_)) => {}
                    decided => return decided,
                }
            }
            this.decide(&peer, caller, order).await
        })
        .await
    }

    async fn decide(
        &self,
        peer: &Peer,
        caller: Caller,
        order: Order,
    ) -> Result<Vec<Delivered>, Error> {
        let Order {
            wanted,
            depth,
            rendering,
        } = order;
        let traced = caller.evidence().facts.traced.is_some();
        let again = if traced {
            Needs::default().with(Need::Tracer)
        } else {
            Needs::default()
        };
        let at = now();
        let seen = self.data_keys.seen();
        let mut decision = self
            .tally
            .decide::<Deliver>(&self.state(), &caller, wanted, depth, at);
        let grants = decision.as_deref().unwrap_or_default();
        let taken: Vec<_> = grants.iter().map(|grant| Taken::by(grant, at)).collect();
        let renderings = match assign(rendering, grants) {
            Ok(renderings) => renderings,
            Err(refused) => {
                self.tally.give_back(taken);
                return Err(Error::Format(refused));
            }
        };
        // The ciphertexts are read while the decision becomes durable, which takes longer:
        // nobody is woken for them.
        let versions = grants.iter().map(|grant| grant.version().clone());
        let pieces: Vec<_> = versions
            .map(|version| self.database.content(version))
            .zip(renderings)
            .map(|(reading, rendering)| Piece { reading, rendering })
            .collect();
        if let Ok(grants) = &mut decision {
            self.lend(grants, seen);
        }
        let permits = match journal::record_all(decision, &self.journal).await {
            Ok(permits) => permits,
            Err(refusal) => {
                self.tally.give_back(taken);
                return Err(refusal.into());
            }
        };
        let receipts: Vec<_> = permits.iter().map(Permit::receipt).collect();
        self.tally.delivered(&receipts, taken);
        let released = self.release(peer, permits, pieces, again).await;
        if let Err(error) = &released {
            self.tally.undelivered(&receipts);
            self.undelivered(&receipts, error).await;
        }
        released
    }

    async fn release(
        &self,
        peer: &Peer,
        permits: Vec<Permit<Deliver>>,
        pieces: Vec<Piece<impl Future<Output = Result<Option<SealedContent>, Failed>>>>,
        again: Needs,
    ) -> Result<Vec<Delivered>, Error> {
        let mut all = Vec::with_capacity(permits.len());
        for (permit, Piece { reading, rendering }) in permits.into_iter().zip(pieces) {
            let stored = reading.await.map_err(Error::Database)?;
            let is_rendered = rendering.is_some();
            all.push((self.open(permit, stored, rendering).await?, is_rendered));
        }
        let now = peer.evidence(&self.attestor).await.map_err(Error::Drift)?;
        let now = self.learn(peer, now, again).await;
        let handed = all.into_iter().map(|(written, is_rendered)| {
            let delivery = written.hand_over(&now).map_err(Error::Drift)?;
            Ok(Delivered {
                delivery,
                is_rendered,
            })
        });
        handed.collect()
    }

    async fn open(
        &self,
        permit: Permit<Deliver>,
        stored: Option<SealedContent>,
        rendering: Option<Arc<Rendering>>,
    ) -> Result<Written, Error> {
        let claim = match permit.claim(stored) {
            Err(tampered) => return Err(self.overtaken(tampered).await),
            Ok(claim) => claim,
        };
        let released = self.unwrap(claim).await?;
        let written = match rendering {
            None => released.as_stored(),
            Some(rendering) => self.mill.render(released, rendering).await?,
        };
        Ok(written?)
    }

    /// Why content is not what it should be: a change that came after the decision removed or
    /// renewed it, or somebody tampered with it.
    pub(super) async fn overtaken(&self, tampered: Tampered) -> Error {
        // A change is in the database before it is in the state, unless there is none now.
        let settled = self.writer().await;
        if let Err(error) = settled {
            return error;
        }
        let VersionId { secret, number } = &tampered.version;
        let state = self.state();
        let version = state.secret(secret).ok().and_then(|it| it.version(*number));
        let there = version.filter(|it| it.row().state != VersionState::Destroyed);
        match there {
            Some(version) if version.row().sealed != tampered.expected => {
                Error::Renewed(tampered.version)
            }
            None if tampered.what == Wrong::Missing => Error::Overtaken(tampered.version),
            _ => tampered.into(),
        }
    }

    /// Tells which versions `peer` would get, if grants say so, after that is on record.
    pub(crate) async fn current(
        &self,
        peer: &Peer,
        wanted: Wanted,
        depth: Depth,
    ) -> Result<Vec<VersionId>, Error> {
        let caller = self.caller(peer, &wanted, depth, Notify::NAME).await?;
        let decision = self
            .tally
            .decide::<Notify>(&self.state(), &caller, wanted, depth, now());
        let permits = journal::record_all(decision, &self.journal).await?;
        Ok(permits.into_iter().map(Permit::version).collect())
    }

    /// Who `peer` is, as far as it takes to decide whether it may have what it wants.
    async fn caller(
        &self,
        peer: &Peer,
        wanted: &Wanted,
        depth: Depth,
        operation: &'static str,
    ) -> Result<Caller, Error> {
        let surface = journal::Surface::Provider;
        let evidence = self.evidence(peer, surface, operation).await?;
        let needs = self.state().needs(&evidence, wanted, depth);
        Ok(Caller::attested(self.learn(peer, evidence, needs).await))
    }
}

/// Which of what is granted is written in the format that was asked for: all that could be.
fn assign(
    rendering: Option<Arc<Rendering>>,
    grants: &[Grant<Deliver>],
) -> Result<Vec<Option<Arc<Rendering>>>, Refused> {
    let Some(rendering) = rendering else {
        return Ok(vec![None; grants.len()]);
    };
    let mut refused = None;
    let renderings: Vec<_> = grants
        .iter()
        .map(|grant| match grant.fits(rendering.format()) {
            Ok(()) => Some(Arc::clone(&rendering)),
            Err(why) => {
                refused.get_or_insert(why);
                None
            }
        })
        .collect();
    match refused {
        Some(refused) if renderings.iter().all(Option::is_none) => Err(refused),
        _ => Ok(renderings),
    }
}
