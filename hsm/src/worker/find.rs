//! Keys found by identifier: each by a search of its own, or many by one look at all.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use cryptoki::{
    context::Function,
    error::{Error as CkError, RvError},
    object::{Attribute, AttributeType, ObjectHandle},
    session::{Session, SessionState},
};
use custody::name::KeyId;

use super::{recovery, template, wrap::Fault};
use crate::Error;

/// After so many searches, each of which may cost the token a walk over its objects, all of
/// them are looked at once. A worker of few keys does not look at those of others.
const SEARCHES: usize = 8;

/// How many objects the token is asked for in a call. Some walk over all that are left in each.
const AT_ONCE: NonZeroUsize = NonZeroUsize::new(1000).expect("not zero");

/// Finds group master keys.
#[derive(Default)]
pub(super) struct Finder {
    searches: usize,
    /// Those that were asked for. Whoever asks again wants to know what is there by then.
    asked: HashSet<KeyId>,
    /// Keys that are still to be asked for their identifiers.
    unread: Vec<ObjectHandle>,
    /// By identifier, what was there at the look; all of it once nothing is unread.
    seen: HashMap<KeyId, Vec<ObjectHandle>>,
}

impl Finder {
    /// The one key called `id`. What was not seen is searched for, and never taken for absent.
    pub(super) fn find(&mut self, session: &Session, id: &KeyId) -> Result<ObjectHandle, Fault> {
        let is_first = self.asked.insert(*id);
        let seen = self.seen.remove(id);
        let seen = seen.filter(|_| is_first && self.unread.is_empty());
        let found = match seen {
            Some(seen) => seen,
            None => self.search(session, id)?,
        };
        only(session, id, &found)
    }

    fn search(&mut self, session: &Session, id: &KeyId) -> Result<Vec<ObjectHandle>, Fault> {
        let start = Instant::now();
        let found = session.find_objects(&template::gmk_search(id))?;
        let time = start.elapsed();
        self.searches += 1;
        let outcome = self.look_around(session, time);
        if let Err(error) = outcome {
            // Whether another has the same identifier is not known of what cannot be read.
            self.unread.clear();
            self.seen.clear();
            let error = recovery::describe(&error);
            tracing::warn!(%error, "the keys of the token cannot be looked at all at once");
        }
        Ok(found)
    }

    /// Reads on for no longer than a search takes, so that no request waits for much more than
    /// its own, however slow the token reads.
    fn look_around(
        &mut self,
        session: &Session,
        time: Duration,
    ) -> Result<(), cryptoki::error::Error> {
        if self.searches == SEARCHES {
            let all = template::gmk_survey();
            let all = session.iter_objects_with_cache_size(&all, AT_ONCE)?;
            self.unread = all.collect::<Result<_, _>>()?;
        }
        let end = Instant::now() + time;
        while let Some(object) = self.unread.pop() {
            let attributes = session.get_attributes(object, &[AttributeType::Id])?;
            if let [Attribute::Id(id)] = &attributes[..]
                && let Some(id) = KeyId::from_bytes(id)
            {
                self.seen.entry(id).or_default().push(object);
            }
            if Instant::now() >= end {
                break;
            }
        }
        Ok(())
    }
}

/// The one object of those that `session` found, or why there is no such. Where the login is lost there
/// is nothing to be found, and nothing is absent.
pub(super) fn only(
    session: &Session,
    id: &KeyId,
    found: &[ObjectHandle],
) -> Result<ObjectHandle, Fault> {
    match found[..] {
        [object] => Ok(object),
        [] if is_logged_in(session)? => Err(Error::NoSuchKey { id: *id }.into()),
        [] => Err(CkError::Pkcs11(RvError::UserNotLoggedIn, Function::FindObjects).into()),
        ref several => Err(Error::AmbiguousKey {
            id: *id,
            count: u32::try_from(several.len()).unwrap_or(u32::MAX),
        }
        .into()),
    }
}

fn is_logged_in(session: &Session) -> Result<bool, CkError> {
    let state = session.get_session_info()?.session_state();
    Ok(matches!(state, SessionState::RoUser | SessionState::RwUser))
}
