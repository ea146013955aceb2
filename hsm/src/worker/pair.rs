//! Pairs of keys made in the token: of RSA, as large as it can, and any that is thrown away.

use cryptoki::{
    error::Error as CkError,
    mechanism::Mechanism,
    object::{Attribute, AttributeType, ObjectHandle},
    session::Session,
};
use custody::{journal::signing::Signing, name::KeyId};

use super::{
    recovery::{self, Codes, Remedy},
    template,
    wrap::Fault,
};

/// The sizes of RSA keys, in bits, the preferred first. It is tried twice, so that a token that
/// fails now and then does not come to a smaller one by that.
const BITS: [u32; 3] = [3072, 3072, SMALL];
const SMALL: u32 = 2048;

/// Both halves of a pair.
#[derive(Clone, Copy)]
pub(super) struct Pair {
    pub(super) id: KeyId,
    pub(super) public: ObjectHandle,
    pub(super) private: ObjectHandle,
}

/// What a pair is for.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// It signs, as journal keys do.
    Signs(Signing),
    /// It opens data keys, as group master keys do: RSA of so many bits.
    Opens(u32),
}

impl Kind {
    pub(super) fn mechanism(self) -> Mechanism<'static> {
        match self {
            Self::Signs(Signing::EcdsaP256) => Mechanism::EccKeyPairGen,
            Self::Signs(Signing::RsaPss) | Self::Opens(_) => Mechanism::RsaPkcsKeyPairGen,
        }
    }
}

/// Whose objects throw-away keys are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Session,
    /// Some tokens make no others. What remains of such keys has to be removed by its label.
    Token,
}

impl Owner {
    /// Says that keys could not be thrown away.
    pub(super) fn left(self, error: &CkError, id: &KeyId) {
        let error = recovery::describe(error);
        let label = template::TRIAL_LABEL;
        match self {
            Self::Session => {
                tracing::warn!(%error, "throw-away keys stay until their session ends");
            }
            Self::Token => {
                tracing::error!(%error, label, %id, "throw-away keys stay in the token");
            }
        }
    }
}

pub(super) fn fresh_id() -> Result<KeyId, Fault> {
    KeyId::random().map_err(|_| Fault::Odd("the system gives no random numbers"))
}

/// Makes a pair of RSA keys of the first size that the token can make.
pub(super) fn largest<T>(
    codes: &Codes,
    make: impl Fn(Kind) -> Result<T, CkError>,
) -> Result<T, CkError> {
    let [first, rest @ ..] = BITS;
    let first = make(Kind::Opens(first));
    rest.into_iter().fold(first, |made, bits| match made {
        Err(error) if is_refusal(codes, &error) => make(Kind::Opens(bits)),
        made => made,
    })
}

fn is_refusal(codes: &Codes, error: &CkError) -> bool {
    matches!(codes.remedy(error), Remedy::Answer | Remedy::AskCanary)
}

/// A throw-away pair that signs, of the session where the token can.
pub(super) fn trial_signing(
    session: &Session,
    codes: &Codes,
    signing: Signing,
) -> Result<Trial, Fault> {
    Trial::made(|id| generate(session, codes, id, Kind::Signs(signing)))
}

/// A throw-away pair that opens data keys, of the session where the token can. A small one is
/// made sooner and shows as much.
pub(super) fn trial_opening(session: &Session, codes: &Codes) -> Result<Trial, Fault> {
    Trial::made(|id| generate(session, codes, id, Kind::Opens(SMALL)))
}

type Halves = (ObjectHandle, ObjectHandle);

fn generate(
    session: &Session,
    codes: &Codes,
    id: &KeyId,
    kind: Kind,
) -> Result<(Halves, Owner), CkError> {
    let make = |owner| {
        session.generate_key_pair(
            &kind.mechanism(),
            &template::trial_public(id, kind, owner),
            &template::trial_private(id, kind, owner),
        )
    };
    match make(Owner::Session) {
        Err(error) if codes.remedy(&error) == Remedy::Answer => {
            Ok((make(Owner::Token)?, Owner::Token))
        }
        made => Ok((made?, Owner::Session)),
    }
}

/// A pair that is thrown away.
pub(super) struct Trial {
    pub(super) pair: Pair,
    pub(super) owner: Owner,
}

impl Trial {
    fn made(make: impl FnOnce(&KeyId) -> Result<(Halves, Owner), CkError>) -> Result<Self, Fault> {
        let id = fresh_id()?;
        let ((public, private), owner) = make(&id)?;
        Ok(Self {
            pair: Pair {
                id,
                public,
                private,
            },
            owner,
        })
    }

    pub(super) fn discard(self, session: &Session) {
        if let Err(error) = self.pair.destroy(session) {
            self.owner.left(&error, &self.pair.id);
        }
    }
}

impl Pair {
    /// Destroys both halves, the public one last: tpm2-pkcs11 gives the number of the first
    /// object that is destroyed to the next that is made.
    pub(super) fn destroy(&self, session: &Session) -> Result<(), CkError> {
        destroy_own(session, &self.id, self.private)?;
        destroy_own(session, &self.id, self.public)
    }
}

/// Destroys what was just made under an identifier of its own. Where the number has come to stand
/// for a key of another identifier, nothing is destroyed.
pub(super) fn destroy_own(
    session: &Session,
    id: &KeyId,
    object: ObjectHandle,
) -> Result<(), CkError> {
    let found = session.get_attributes(object, &[AttributeType::Id])?;
    if let [Attribute::Id(found)] = &found[..]
        && !found.is_empty()
        && found != id.as_bytes()
    {
        tracing::error!(%id, "the token takes a key that was just made for another; it stays there");
        return Ok(());
    }
    session.destroy_object(object)
}
