//! Group master keys that the token has no room for: wrapped by a root key, and unwrapped into
//! objects of a session, which nothing gets out of the token either.

use cryptoki::session::Session;
use custody::{
    envelope::{Form, KeyWrap, Wrapping},
    group::Blob,
    name::KeyId,
};

use super::{
    super::{
        pair::{self, fresh_id},
        recovery::Remedy,
        strategy,
        wrap::{self, Fault, Kek},
    },
    Gmk, Keys, Place,
    root::Root,
    told,
};
use crate::{Error, Refusal, wire};

impl Keys {
    /// Unwraps a group master key, checks it and opens its canary. The key is an object of
    /// `anchor`, which stays open for as long as the worker lives.
    pub(in super::super) fn load_wrapped_gmk(
        &mut self,
        [session, anchor]: [&Session; 2],
        id: KeyId,
        wrapping: Wrapping,
        canary: Vec<u8>,
        blob: &Blob,
    ) -> Result<(), Fault> {
        if let Some(before) = self.gmks.remove(&id)
            && let Err(fault) = before.discard(session, &self.codes, id)
        {
            tracing::debug!(key = %id, ?fault, "what there was of it goes with the session");
        }
        self.put_back.remove(&id);
        if blob.wrapped.len() != wrap::KEY_BLOB {
            let why = format!("its blob is not one of {}", blob.by);
            return Err(Error::NonConforming { id, why }.into());
        }
        let root = self.root(session, &blob.root, blob.by)?;
        self.make_room(session)?;
        let unwrapped = root.unwrap(anchor, &blob.wrapped, wrapping);
        let handle = unwrapped.map_err(|fault| match fault {
            // The same code tells of a blob that was altered and of a token in trouble.
            Fault::Token(error)
                if self.codes.remedy(&error) == Remedy::AskCanary
                    && matches!(root.try_out(session), Ok(Ok(()))) =>
            {
                let why = format!("root key {} does not unwrap it", blob.root);
                Error::NonConforming { id, why }.into()
            }
            fault => fault,
        })?;
        let taken = Kek::new(session, handle, wrapping).and_then(|kek| {
            let gmk = Gmk {
                kek,
                canary,
                place: Place::Session(blob.clone()),
                used: self.next_use().into(),
            };
            self.take_in(session, id, gmk)
        });
        taken.inspect_err(|_| strategy::discard(anchor, handle))
    }

    /// Makes a group master key in the first of the `allowed` ways that works, and wraps it under
    /// `root`, or a root key that is made with it.
    pub(in super::super) fn generate_wrapped_gmk(
        &mut self,
        sessions: [&Session; 2],
        root: Option<KeyId>,
        allowed: &[Wrapping],
    ) -> Result<wire::Gmk, Fault> {
        let [session, _] = sessions;
        let (others, keys): (Vec<_>, Vec<_>) =
            allowed.iter().partition(|way| way.form() != Form::Key);
        if keys.is_empty() {
            let tried = others.into_iter().map(|wrapping| Refusal {
                wrapping,
                why: match wrapping.form() {
                    Form::Pair => "no root key wraps a pair".to_owned(),
                    Form::Key | Form::Twins => "no root key wraps two keys".to_owned(),
                },
            });
            return Err(Error::NoWrapping {
                tried: tried.collect(),
            }
            .into());
        }
        let wrapping = self.first_that_works(session, &keys)?;
        let by = self.first_that_works(session, &KeyWrap::ALL)?;
        if let Some(id) = root {
            let root = self.root(session, &id, by)?;
            return self.finish_wrapped_gmk(sessions, (id, root), wrapping);
        }
        let (id, root) = Root::make(session, by)?;
        let made = root
            .prove(session, &self.codes, &id)
            .and_then(|()| self.finish_wrapped_gmk(sessions, (id, root), wrapping));
        match made {
            Ok(made) => {
                self.roots.insert((id, by), root);
                Ok(made)
            }
            Err(fault) => {
                told(pair::destroy_own(session, &id, root.handle));
                Err(fault)
            }
        }
    }

    fn finish_wrapped_gmk(
        &mut self,
        [session, anchor]: [&Session; 2],
        (root_id, root): (KeyId, Root),
        wrapping: Wrapping,
    ) -> Result<wire::Gmk, Fault> {
        let id = fresh_id()?;
        self.make_room(session)?;
        let blob = Blob {
            root: root_id,
            by: root.by,
            wrapped: root.make_wrapped(session)?,
        };
        let handle = root.unwrap(anchor, &blob.wrapped, wrapping)?;
        let kept = Some(Box::new(wire::Kept::from(&blob)));
        let finished = Kek::new(session, handle, wrapping)
            .and_then(|kek| self.finish_gmk(session, id, kek, Place::Session(blob)));
        let gmk = finished.inspect_err(|_| strategy::discard(anchor, handle))?;
        Ok(wire::Gmk { kept, ..gmk })
    }

    /// A root key, found and proven once in a worker's life, for each way in which it wraps.
    fn root(&mut self, session: &Session, id: &KeyId, by: KeyWrap) -> Result<Root, Fault> {
        if let Some(root) = self.roots.get(&(*id, by)) {
            return Ok(*root);
        }
        let handle = self.finder.find(session, id)?;
        let root = Root { handle, by };
        root.prove(session, &self.codes, id)?;
        self.roots.insert((*id, by), root);
        Ok(root)
    }
}
