//! How this token wraps: found out by trying, on keys that are thrown away.

use cryptoki::{
    error::Error as CkError, mechanism::Mechanism, object::ObjectHandle, session::Session,
};
use custody::envelope::{Form, PlaintextDek, Wrapping};

use super::{
    captivity::{self, Untrusted},
    pair,
    recovery::{self, Codes, Remedy, TRIES},
    template,
    twins::Trial,
    wrap::{Fault, Kek, Maker, Nonces},
};

mod known;

const DEK: [u8; PlaintextDek::LEN] = [0x5a; PlaintextDek::LEN];
const CONTEXT: &[u8] = b"custodyd trial";

/// What a token does otherwise than it must.
pub(super) struct Amiss {
    pub(super) what: String,
    cause: Cause,
}

enum Cause {
    /// It is always so.
    Lasting,
    /// What it wrapped itself does not open, which may be well in a moment.
    Closed(Option<CkError>),
    /// The code says which.
    Token(CkError),
}

impl Amiss {
    fn lasting(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            cause: Cause::Lasting,
        }
    }

    fn may_pass(&self, codes: &Codes) -> bool {
        match &self.cause {
            Cause::Lasting => false,
            Cause::Closed(None) => true,
            Cause::Token(error) | Cause::Closed(Some(error)) => !codes.cannot(error),
        }
    }

    /// What is amiss, if it is the way to wrap and not the session or the worker.
    pub(super) fn about_the_way(self, codes: &Codes) -> Result<String, Fault> {
        match self.cause {
            Cause::Token(error) | Cause::Closed(Some(error)) if is_lost(&error, codes) => {
                Err(Fault::Token(error))
            }
            _ => Ok(self.what),
        }
    }

    /// What is amiss, if it is the key and not the session, the worker or a token in trouble, which
    /// may answer as if the key were another. Whether the token `opens` at all then tells.
    pub(super) fn about_the_key(
        self,
        codes: &Codes,
        opens: impl Fn() -> bool,
    ) -> Result<String, Fault> {
        match self.cause {
            Cause::Token(error) | Cause::Closed(Some(error))
                if codes.remedy(&error) == Remedy::AskCanary && !opens() =>
            {
                Err(Fault::Token(error))
            }
            _ => self.about_the_way(codes),
        }
    }

    fn is_lost(&self, codes: &Codes) -> bool {
        match &self.cause {
            Cause::Token(error) | Cause::Closed(Some(error)) => is_lost(error, codes),
            Cause::Closed(None) | Cause::Lasting => false,
        }
    }
}

/// Whether trying again on the same session is in vain.
fn is_lost(error: &CkError, codes: &Codes) -> bool {
    matches!(
        codes.remedy(error),
        Remedy::ReplaceSession | Remedy::ReplaceWorker
    )
}

impl From<CkError> for Amiss {
    fn from(error: CkError) -> Self {
        Self {
            what: recovery::describe(&error),
            cause: Cause::Token(error),
        }
    }
}

impl From<Fault> for Amiss {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Token(error) => error.into(),
            Fault::Odd(what) | Fault::Changed(_, what) => Self::lasting(what),
            Fault::BadBlob => Self::lasting("it is not of the form it must have"),
            Fault::Answer(error) => Self::lasting(error.to_string()),
        }
    }
}

/// What was seen of a way to wrap that works.
pub(super) struct Proof {
    /// Whether the token's answer was checked against ours, under a key that both know.
    pub(super) known_answer: bool,
    /// What it answered to what had been altered.
    pub(super) refusals: Vec<CkError>,
    /// What it is to be given for nonces, and whose it uses, if there are any.
    pub(super) nonces: Option<(Nonces, Maker)>,
}

/// Tries `wrapping`.
pub(super) fn prove(session: &Session, codes: &Codes, wrapping: Wrapping) -> Result<Proof, Amiss> {
    match wrapping.form() {
        Form::Pair => try_pair(session, codes, wrapping),
        Form::Twins => try_twins(session, codes),
        Form::Key if wrapping == Wrapping::Aes256Gcm => {
            let tried = repeatedly(codes, || try_key(session, wrapping, Nonces::Ours));
            tried.or_else(|amiss| {
                let other = || try_key(session, wrapping, Nonces::Zeros);
                repeatedly(codes, other).map_err(|_| amiss)
            })
        }
        Form::Key => repeatedly(codes, || try_key(session, wrapping, Nonces::default())),
    }
}

/// Tries a key that is of more than one object, which costs it nothing: none keeps count. That
/// spares a token to which throw-away keys are much work.
pub(super) fn prove_by(session: &Session, codes: &Codes, kek: &Kek) -> Result<(), Amiss> {
    repeatedly(codes, || try_out(session, kek).map(drop))
}

/// Tries a way, and again if what is amiss may pass: a way that is not taken for a new key is
/// not taken for good.
pub(super) fn repeatedly<T>(
    codes: &Codes,
    mut attempt: impl FnMut() -> Result<T, Amiss>,
) -> Result<T, Amiss> {
    let mut tries = 1;
    loop {
        match attempt() {
            Err(amiss) if tries < TRIES && amiss.may_pass(codes) && !amiss.is_lost(codes) => {
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

fn try_key(session: &Session, wrapping: Wrapping, nonces: Nonces) -> Result<Proof, Amiss> {
    let (refusals, maker) = with_trial_key(session, wrapping, nonces, |key| {
        Ok((try_out(session, key)?, maker_of_nonces(session, key)?))
    })?;
    Ok(Proof {
        known_answer: known::of_key(session, wrapping, nonces)?,
        refusals,
        nonces: maker.map(|maker| (nonces, maker)),
    })
}

/// Whose nonces a key uses, none of them twice.
fn maker_of_nonces(session: &Session, kek: &Kek) -> Result<Option<Maker>, Amiss> {
    let seal = || kek.seal(session, &DEK, CONTEXT).transpose();
    let (Some(one), Some(other)) = (seal()?, seal()?) else {
        return Ok(None);
    };
    match one.nonce() == other.nonce() {
        true => Err(Amiss::lasting("the token makes the same nonce twice")),
        false => Ok(Some(other.maker)),
    }
}

fn try_pair(session: &Session, codes: &Codes, wrapping: Wrapping) -> Result<Proof, Amiss> {
    // Made once: that takes its time.
    let trial = repeatedly(codes, || Ok(pair::trial_opening(session, codes)?))?;
    let [public, private] = [trial.pair.public, trial.pair.private];
    let tried = repeatedly(codes, || {
        let kek = Kek::new(session, private, wrapping)?;
        try_out(session, &kek)
    });
    let escapes = match tried {
        Ok(_) => captivity::escapes_of(session, codes, private, Some(public)),
        Err(_) => Vec::new(),
    };
    trial.discard(session);
    let refusals = tried?;
    kept_in(escapes)?;
    // What it opened was wrapped by an implementation of our own.
    Ok(Proof {
        known_answer: true,
        refusals,
        nonces: None,
    })
}

fn try_twins(session: &Session, codes: &Codes) -> Result<Proof, Amiss> {
    let trial = repeatedly(codes, || Ok(Trial::make(session, codes)?))?;
    let tried = repeatedly(codes, || try_out(session, &trial.kek()));
    let escapes = match tried {
        Ok(_) => [trial.twins.cipher, trial.twins.mac]
            .map(|key| captivity::escapes_of(session, codes, key, None))
            .concat(),
        Err(_) => Vec::new(),
    };
    trial.discard(session);
    let refusals = tried?;
    kept_in(escapes)?;
    Ok(Proof {
        known_answer: known::of_twins(session)?,
        refusals,
        nonces: None,
    })
}

fn kept_in(escapes: Vec<&'static str>) -> Result<(), Amiss> {
    match escapes.is_empty() {
        true => Ok(()),
        false => Err(Amiss::lasting(Untrusted::LetsOut(escapes).to_string())),
    }
}

/// Whether the token can wrap and open at all just now.
pub(super) fn works(session: &Session, codes: &Codes, wrapping: Wrapping) -> bool {
    let on_trial = |nonces| {
        let opened = with_trial_key(session, wrapping, nonces, |key| round_trip(session, key));
        matches!(opened, Ok(Opened::Yes))
    };
    let opened = match wrapping.form() {
        Form::Key => return Nonces::ALL.into_iter().any(on_trial),
        Form::Twins => Trial::make(session, codes).map(|trial| {
            let opened = round_trip(session, &trial.kek());
            trial.discard(session);
            opened
        }),
        Form::Pair => pair::trial_opening(session, codes).map(|trial| {
            let kek = Kek::new(session, trial.pair.private, wrapping);
            let opened = kek.map_err(Amiss::from);
            let opened = opened.and_then(|kek| round_trip(session, &kek));
            trial.discard(session);
            opened
        }),
    };
    matches!(opened, Ok(Ok(Opened::Yes)))
}

/// As [`works`], with no key made for it if `kek` is of more than one object.
pub(super) fn works_with(session: &Session, codes: &Codes, kek: &Kek) -> bool {
    match kek.wrapping().form() {
        Form::Twins | Form::Pair => matches!(round_trip(session, kek), Ok(Opened::Yes)),
        Form::Key => works(session, codes, kek.wrapping()),
    }
}

fn round_trip(session: &Session, kek: &Kek) -> Result<Opened, Amiss> {
    let blob = seal(session, kek)?;
    opens(session, kek, &blob, CONTEXT)
}

fn with_trial_key<T>(
    session: &Session,
    wrapping: Wrapping,
    nonces: Nonces,
    trial: impl FnOnce(&Kek) -> Result<T, Amiss>,
) -> Result<T, Amiss> {
    let key = session.generate_key(&Mechanism::AesKeyGen, &template::trial_gmk(wrapping))?;
    let outcome = Kek::new(session, key, wrapping)
        .map_err(Amiss::from)
        .and_then(|kek| trial(&kek.with_nonces(nonces)));
    discard(session, key);
    outcome
}

/// Has it open what it wrapped, and refuse what was altered; gives the refusals.
fn try_out(session: &Session, kek: &Kek) -> Result<Vec<CkError>, Amiss> {
    let blob = seal(session, kek)?;
    if let Opened::No(refusal) = opens(session, kek, &blob, CONTEXT)? {
        let why = refusal.as_ref().map(recovery::describe);
        return Err(Amiss {
            what: format!(
                "what was just wrapped does not open: {}",
                why.as_deref()
                    .unwrap_or("it is not of the form it must have")
            ),
            cause: Cause::Closed(refusal),
        });
    }
    let bend = |at: usize| {
        let mut bent = blob.clone();
        bent[at] ^= 1;
        bent
    };
    let mut altered = vec![
        ("with an altered nonce or first block", bend(0), CONTEXT),
        ("with an altered ciphertext", bend(blob.len() / 2), CONTEXT),
        (
            "with an altered tag or last block",
            bend(blob.len() - 1),
            CONTEXT,
        ),
    ];
    match kek.wrapping() {
        Wrapping::Aes256Gcm
        | Wrapping::AesCbcHmac
        | Wrapping::RsaOaepSha256
        | Wrapping::RsaOaepSha1 => {
            altered.push(("in another context", blob, b"custodyd other"));
        }
        Wrapping::AesKwp | Wrapping::AesKw => {}
    }
    let mut refusals = Vec::new();
    for (how, blob, context) in altered {
        match opens(session, kek, &blob, context)? {
            Opened::No(refusal) => refusals.extend(refusal),
            Opened::Yes => {
                return Err(Amiss::lasting(format!("the token opens a blob {how}")));
            }
        }
    }
    Ok(refusals)
}

fn seal(session: &Session, kek: &Kek) -> Result<Vec<u8>, Amiss> {
    Ok(kek.protect(session, &DEK, CONTEXT)?)
}

enum Opened {
    Yes,
    /// The code says nothing but what this module says then.
    No(Option<CkError>),
}

fn opens(session: &Session, kek: &Kek, blob: &[u8], context: &[u8]) -> Result<Opened, Amiss> {
    match kek.reveal(session, blob, context) {
        Ok(dek) if **dek == DEK => Ok(Opened::Yes),
        Ok(_) => Err(Amiss::lasting("the token opens a blob to another value")),
        Err(Fault::Token(error)) => Ok(Opened::No(Some(error))),
        Err(Fault::BadBlob) => Ok(Opened::No(None)),
        Err(fault) => Err(fault.into()),
    }
}

pub(super) fn discard(session: &Session, object: ObjectHandle) {
    if let Err(error) = session.destroy_object(object) {
        let error = recovery::describe(&error);
        tracing::warn!(%error, "a throw-away key stays until its session ends");
    }
}
