//! One thread's place of work: a session, and what is done on it for a request.

use std::{
    process,
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use cryptoki::{
    error::{Error as CkError, RvError},
    session::Session,
};
use custody::{envelope::Wrapping, name::KeyId};

use super::{
    key::Keys,
    recovery::{self, Remedy, TRIES},
    strategy,
    token::Token,
    wrap::Fault,
};
use crate::{
    Error,
    wire::{
        Amiss, Done, Generate, Load, MAX_RANDOM, Op, Proof, Protect, Reveal, Rewrap, Secret, Sign,
    },
};

/// What is done about a fault.
enum Verdict {
    /// The same once more.
    Again,
    /// The request fails.
    Answer(Error),
    /// The same once more on another session, unless that was tried.
    Session(CkError),
    /// The process has lost the token.
    Worker(Error),
}

/// A session, with the token it is of and the keys that all sessions share.
///
/// The lock on the keys is also what keeps token objects from being made while others
/// are used: SoftHSM 2.6 fails at that.
pub(super) struct Desk<'a> {
    token: &'a Token,
    keys: &'a RwLock<Keys>,
    session: Session,
    amiss: Vec<Amiss>,
}

impl<'a> Desk<'a> {
    pub(super) fn new(token: &'a Token, keys: &'a RwLock<Keys>) -> Result<Self, Error> {
        let session = token.open_session();
        Ok(Self {
            token,
            keys,
            session: session.map_err(|error| recovery::token_error(&error))?,
            amiss: Vec::new(),
        })
    }

    /// What the token answered amiss since this was asked last.
    pub(super) fn take_amiss(&mut self) -> Vec<Amiss> {
        std::mem::take(&mut self.amiss)
    }

    /// Does what is asked. What fails with a code that may mean bad data or a token in
    /// trouble is done again as long as the key's canary opens; if that does not, either, on
    /// another session, then the token is in trouble.
    ///
    /// `None` if the worker must go.
    pub(super) fn perform(&mut self, op: &Op) -> Option<Done> {
        if let Op::Rewrap(Rewrap { from, to, context }) = op {
            return match self.perform(&Op::Reveal(from.clone()))? {
                Done::Revealed(dek) => self.perform(&Op::Protect(Protect {
                    gmk: to.clone(),
                    dek,
                    context: context.clone(),
                })),
                problem => Some(problem),
            };
        }
        let (mut replaced, mut tries) = (false, 0);
        loop {
            tries += 1;
            let fault = match self.attempt(op) {
                Ok(done) => return Some(done),
                Err(fault) => fault,
            };
            self.note(&fault);
            match self.judge(op, fault, tries) {
                Verdict::Again => {}
                Verdict::Answer(error) => return Some(Done::Problem((&error).into())),
                Verdict::Session(error) if !replaced => {
                    self.replace_session(&error)?;
                    replaced = true;
                }
                Verdict::Session(error) => return lost(&recovery::token_error(&error)),
                Verdict::Worker(error) => return lost(&error),
            }
        }
    }

    fn note(&mut self, fault: &Fault) {
        if let Fault::Token(error) = fault {
            self.amiss.push(recovery::amiss(error));
        }
    }

    fn judge(&mut self, op: &Op, fault: Fault, tries: usize) -> Verdict {
        let (error, remedy, may_pass) = match fault {
            Fault::Answer(error) => return Verdict::Answer(error),
            Fault::Odd(what) => return Verdict::Answer(odd("a wrap", what)),
            // A handle that means another key by now looks the same. Whoever comes next proves the
            // key, and how the token wraps, before it is used.
            Fault::Changed(function, what) => return Verdict::Worker(odd(function, what)),
            Fault::BadBlob => (malformed(), Remedy::AskCanary, false),
            Fault::Token(error) => match self.token.codes().remedy(&error) {
                Remedy::ReplaceSession => return Verdict::Session(error),
                remedy => (recovery::token_error(&error), remedy, tries < TRIES),
            },
        };
        match remedy {
            Remedy::Answer => Verdict::Answer(error),
            Remedy::AskCanary => self.ask_canary(op, error, may_pass),
            Remedy::ReplaceSession | Remedy::ReplaceWorker => Verdict::Worker(error),
        }
    }

    /// Whether it is the data or the token that `error` tells of.
    fn ask_canary(&mut self, op: &Op, error: Error, may_pass: bool) -> Verdict {
        let gmk = match op {
            Op::Protect(Protect { gmk, .. })
            | Op::Reveal(Reveal { gmk, .. })
            | Op::CheckCanary(gmk) => gmk,
            Op::Load(_) | Op::Generate(_) | Op::Random(_) | Op::Destroy(_) if self.is_well() => {
                return Verdict::Answer(error);
            }
            _ => return Verdict::Worker(error),
        };
        let opened = self.open_canary(gmk);
        if let Err(fault) = &opened {
            self.note(fault);
        }
        match opened {
            Ok(_) if may_pass => Verdict::Again,
            Ok(gmk) if matches!(op, Op::Reveal(_)) => Verdict::Answer(Error::DoesNotOpen { gmk }),
            Ok(_) => Verdict::Answer(error),
            Err(Fault::Token(error)) => Verdict::Session(error),
            Err(Fault::Answer(error)) => Verdict::Answer(error),
            Err(_) => Verdict::Worker(error),
        }
    }

    /// Ends the process once no thread is in the middle of a call: a token object that is
    /// half made may stay so.
    pub(super) fn leave_when_idle(&self) -> ! {
        let _idle = self.keys.write();
        process::exit(0)
    }

    fn attempt(&self, op: &Op) -> Result<Done, Fault> {
        match op {
            Op::Protect(request) => self.protect(request),
            Op::Reveal(request) => self.reveal(request),
            Op::Sign(request) => self.sign(request),
            Op::CheckCanary(id) => self.check_canary(&key_id(id)?),
            Op::Load(request) => self.load(request),
            Op::Generate(request) => self.generate(request),
            Op::Random(length) => self.random(*length),
            Op::Destroy(id) => self.destroy(&key_id(id)?),
            // That is two requests, each with its own faults.
            Op::Rewrap(_) => Err(malformed().into()),
        }
    }

    /// The keys, with that one unwrapped if it is kept outside.
    fn keys_with(&self, id: &KeyId) -> Result<RwLockReadGuard<'a, Keys>, Fault> {
        loop {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            if !keys.is_put_back(id) {
                return Ok(keys);
            }
            drop(keys);
            let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
            let bring = |anchor: &Session| keys.bring_back([&self.session, anchor], *id);
            self.token.anchored(bring)?;
        }
    }

    fn protect(&self, request: &Protect) -> Result<Done, Fault> {
        let id = key_id(&request.gmk)?;
        let keys = self.keys_with(&id)?;
        let gmk = keys.gmk(&id)?;
        let (dek, context) = (&request.dek.bytes, &request.context);
        let blob = gmk.kek.protect(&self.session, dek, context)?;
        let back = gmk.kek.reveal(&self.session, &blob, context)?;
        verify_slices_are_equal(&back, dek)
            .map_err(|_| Fault::Odd("the token opens a new wrap to another value"))?;
        // A handle that has come to mean another key opens what it wrapped, but no canary.
        self.open_canary_of(&keys, &id)?;
        Ok(Done::Wrapped(blob))
    }

    fn reveal(&self, request: &Reveal) -> Result<Done, Fault> {
        let id = key_id(&request.gmk)?;
        let keys = self.keys_with(&id)?;
        let gmk = keys.gmk(&id)?;
        let (blob, context) = (&request.blob, &request.context);
        let mut dek = gmk.kek.reveal(&self.session, blob, context)?;
        Ok(Done::Revealed(Secret {
            bytes: std::mem::take(&mut *dek),
        }))
    }

    fn sign(&self, request: &Sign) -> Result<Done, Fault> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let journal = keys.journal(&key_id(&request.key)?)?;
        let signature = journal.sign(&self.session, &request.digest)?;
        Ok(Done::Signed(signature.as_bytes().to_vec()))
    }

    fn check_canary(&self, id: &KeyId) -> Result<Done, Fault> {
        let keys = self.keys_with(id)?;
        self.open_canary_of(&keys, id)?;
        Ok(Done::Good(true))
    }

    fn load(&self, request: &Load) -> Result<Done, Fault> {
        let id = key_id(&request.id)?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        match request.proof.as_ref().ok_or_else(malformed)? {
            Proof::Gmk(gmk) => {
                let wrapping = Wrapping::from_name(&gmk.wrapping).ok_or_else(malformed)?;
                let canary = gmk.canary.clone();
                match &gmk.kept {
                    None => keys.load_gmk(&self.session, id, wrapping, canary)?,
                    Some(kept) => self.token.anchored(|anchor| {
                        let sessions = [&self.session, anchor];
                        let blob = kept.blob().ok_or_else(malformed)?;
                        keys.load_wrapped_gmk(sessions, id, wrapping, canary, &blob)
                    })?,
                }
            }
            Proof::Journal(public_key) => keys.load_journal(&self.session, id, public_key)?,
        }
        Ok(Done::Good(true))
    }

    fn generate(&self, request: &Generate) -> Result<Done, Fault> {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let allowed = self.token.allowed();
        Ok(if request.journal {
            Done::Journal(keys.generate_journal(&self.session, &request.label)?)
        } else if request.wrapped {
            let root = match &request.root[..] {
                [] => None,
                root => Some(key_id(root)?),
            };
            Done::Gmk(self.token.anchored(|anchor| {
                keys.generate_wrapped_gmk([&self.session, anchor], root, allowed)
            })?)
        } else {
            Done::Gmk(keys.generate_gmk(&self.session, &request.label, allowed)?)
        })
    }

    fn destroy(&self, id: &KeyId) -> Result<Done, Fault> {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Done::Good(keys.destroy_gmk(&self.session, id)?))
    }

    fn random(&self, length: u32) -> Result<Done, Fault> {
        let length = usize::try_from(length).ok();
        let length = length.filter(|length| (1..=MAX_RANDOM).contains(length));
        let _used = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = vec![0; length.ok_or_else(malformed)?];
        self.session.generate_random_slice(&mut bytes)?;
        Ok(Done::Random(Secret { bytes }))
    }

    /// The key's identifier, if its canary opens just now, on this session.
    fn open_canary(&self, id: &[u8]) -> Result<KeyId, Fault> {
        let id = key_id(id)?;
        let keys = self.keys_with(&id)?;
        self.open_canary_of(&keys, &id)?;
        Ok(id)
    }

    fn open_canary_of(&self, keys: &Keys, id: &KeyId) -> Result<(), Fault> {
        match keys.gmk(id)?.open_canary(&self.session, id)? {
            true => Ok(()),
            false => Err(Fault::BadBlob),
        }
    }

    /// Whether the token does anything at all.
    fn is_well(&self) -> bool {
        let random = self.session.generate_random_vec(16);
        let ways = self.token.allowed();
        random.is_ok()
            && (ways.is_empty()
                || ways
                    .iter()
                    .any(|way| strategy::works(&self.session, self.token.codes(), *way)))
    }

    /// Opens a session in place of one that is dead or stuck. Only one that is stuck is
    /// closed: the number of a dead one may be another session's by now.
    fn replace_session(&mut self, error: &CkError) -> Option<()> {
        tracing::warn!(error = %recovery::describe(error), "a session is replaced");
        match self.token.open_session() {
            Ok(fresh) => {
                let old = std::mem::replace(&mut self.session, fresh);
                if !matches!(
                    error,
                    CkError::Pkcs11(RvError::SessionHandleInvalid | RvError::SessionClosed, _)
                ) && let Err(error) = old.close()
                {
                    let error = recovery::describe(&error);
                    tracing::warn!(%error, "a stuck session cannot be closed");
                }
                Some(())
            }
            Err(error) => {
                self.amiss.push(recovery::amiss(&error));
                lost(&recovery::token_error(&error))
            }
        }
    }
}

/// The worker is to end, so that its parent starts another.
fn lost<T>(error: &Error) -> Option<T> {
    tracing::error!(%error, "the worker has lost its token and ends");
    None
}

fn key_id(bytes: &[u8]) -> Result<KeyId, Error> {
    KeyId::from_bytes(bytes).ok_or_else(malformed)
}

fn odd(function: &str, what: &str) -> Error {
    Error::Token {
        function: function.to_owned(),
        code: what.to_owned(),
    }
}

fn malformed() -> Error {
    Error::WorkerUnusable("a request was malformed".to_owned())
}
