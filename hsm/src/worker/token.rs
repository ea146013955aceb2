//! Load the module, find the one token, log in once.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Info, Pkcs11},
    error::{Error as CkError, RvError},
    session::{Session, UserType},
    slot::{Slot, TokenInfo},
    types::AuthPin,
};
use custody::envelope::Wrapping;

use super::{
    captivity::{self, Untrusted},
    pin::Pin,
    recovery::{self, Codes},
};
use crate::{Error, Profile, TokenDescription, TokenSelector, latch::Latch, settings};

/// A vendor's library, loaded and initialised.
pub(super) struct Module {
    path: PathBuf,
    module: Pkcs11,
}

/// A token that a module offers.
pub(super) struct Offered {
    slot: Slot,
    pub(super) info: TokenInfo,
    pub(super) description: TokenDescription,
}

/// What a module has in its slots.
pub(super) struct Slots {
    pub(super) tokens: Vec<Offered>,
    /// Slots whose tokens cannot be described, and why.
    pub(super) odd: Vec<(Slot, CkError)>,
}

/// A token that was found, not logged in.
pub(super) struct Found {
    module: Pkcs11,
    token: Offered,
    codes: Codes,
}

/// A token that is logged in, and stays so as long as its first session is open.
pub(super) struct Token {
    module: Pkcs11,
    slot: Slot,
    description: TokenDescription,
    /// Keeps the login.
    anchor: Mutex<Session>,
    allowed: Vec<Wrapping>,
    codes: Codes,
}

impl Module {
    /// Loads it, which runs its code.
    pub(super) fn load(path: &Path) -> Result<Self, Error> {
        let module = Pkcs11::new(path).and_then(|module| {
            module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
            Ok(module)
        });
        let path = path.to_owned();
        match module {
            Ok(module) => Ok(Self { path, module }),
            Err(error) => Err(unusable(path, &error)),
        }
    }

    /// What the library says of itself.
    pub(super) fn info(&self) -> Result<Info, CkError> {
        self.module.get_library_info()
    }

    /// What is in the slots.
    pub(super) fn slots(&self) -> Result<Slots, Error> {
        let slots = self.module.get_slots_with_token();
        let slots = slots.map_err(|error| unusable(self.path.clone(), &error))?;
        let (mut tokens, mut odd) = (Vec::new(), Vec::new());
        for slot in slots {
            match self.module.get_token_info(slot) {
                Ok(info) if info.token_initialized() => {
                    let description = describe(&info, &self.path);
                    tokens.push(Offered {
                        slot,
                        info,
                        description,
                    });
                }
                Ok(_) => {}
                // One odd slot does not hide the others.
                Err(error) => odd.push((slot, error)),
            }
        }
        Ok(Slots { tokens, odd })
    }

    /// The one token of `tokens` that `wanted` selects.
    pub(super) fn choose(
        &self,
        mut tokens: Vec<Offered>,
        wanted: &TokenSelector,
        codes: settings::Codes,
    ) -> Result<Found, Error> {
        let descriptions = tokens.iter().map(|token| token.description.clone());
        let descriptions: Vec<_> = descriptions.collect();
        let token = tokens.swap_remove(wanted.select(&descriptions)?);
        let profile = codes.profile.unwrap_or_else(|| self.profile());
        Ok(Found {
            module: self.module.clone(),
            token,
            codes: Codes {
                profile,
                overrides: codes.overrides,
            },
        })
    }

    /// The profile by what the library says of itself.
    fn profile(&self) -> Profile {
        match self.info() {
            Ok(info) => Profile::of(info.manufacturer_id(), info.library_description()),
            Err(error) => {
                let error = recovery::describe(&error);
                tracing::warn!(%error, "the module does not say what it is");
                Profile::Generic
            }
        }
    }
}

fn unusable(module: PathBuf, error: &CkError) -> Error {
    Error::ModuleUnusable {
        module,
        why: recovery::describe(error),
    }
}

/// Finds the one token that `wanted` selects.
pub(super) fn find(
    path: &Path,
    wanted: &TokenSelector,
    codes: settings::Codes,
) -> Result<Found, Error> {
    let module = Module::load(path)?;
    let Slots { tokens, odd } = module.slots()?;
    for (slot, error) in odd {
        let error = recovery::describe(&error);
        tracing::warn!(slot = slot.id(), %error, "a slot does not describe its token");
    }
    module.choose(tokens, wanted, codes)
}

fn describe(info: &TokenInfo, module: &Path) -> TokenDescription {
    let trimmed = |text: &str| text.trim_matches([' ', '\0']).to_owned();
    TokenDescription {
        label: trimmed(info.label()),
        serial: trimmed(info.serial_number()),
        manufacturer: trimmed(info.manufacturer_id()),
        model: trimmed(info.model()),
        module: module.to_owned(),
    }
}

impl Found {
    pub(super) fn description(&self) -> &TokenDescription {
        &self.token.description
    }

    pub(super) fn info(&self) -> &TokenInfo {
        &self.token.info
    }

    pub(super) fn codes(&self) -> &Codes {
        &self.codes
    }

    /// Refuses a token that a login could only harm.
    pub(super) fn check_pin_flags(&self) -> Result<(), Error> {
        if self.token.info.user_pin_locked() {
            return Err(Error::PinLocked);
        }
        if self.token.info.user_pin_final_try() {
            return Err(Error::PinFinalTry);
        }
        Ok(())
    }

    /// Tries the PIN, once.
    pub(super) fn log_in(
        self,
        pin: Pin,
        latch: &Latch,
        allowed: Vec<Wrapping>,
    ) -> Result<Token, Error> {
        // Never closed by a drop: a dead handle's number may by then be another session's.
        let anchor = self
            .module
            .open_rw_session_no_drop(self.token.slot)
            .map_err(|error| recovery::token_error(&error))?;
        latch.begin(self.token.info.user_pin_count_low())?;
        // What the library leaves of the PIN on its stack goes with the thread.
        let login = thread::Builder::new().name("hsm-login".to_owned());
        let login = login.spawn(move || {
            let answer = anchor.login_with_raw(UserType::User, &pin.spend());
            (anchor, answer)
        });
        let unable = |why: String| Error::WorkerUnusable(format!("it cannot log in: {why}"));
        let login = login.map_err(|error| {
            // Nothing was asked.
            latch.answered();
            unable(error.to_string())
        })?;
        let ended = login.join();
        let (anchor, answer) = ended.map_err(|_| unable("its thread has ended".to_owned()))?;
        match answer {
            Ok(()) | Err(CkError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => latch.answered(),
            Err(CkError::Pkcs11(RvError::PinLocked, _)) => {
                latch.answered();
                return Err(Error::PinLocked);
            }
            Err(error) if recovery::is_outage(&error) => {
                latch.answered();
                return Err(recovery::token_error(&error));
            }
            Err(error) => {
                // Whatever else a token answers may have cost a try.
                let code = recovery::describe(&error);
                tracing::error!(%code, "the token refused the PIN");
                latch.close()?;
                return Err(Error::PinRefused {
                    path: latch.path().to_owned(),
                });
            }
        }
        Ok(Token {
            module: self.module,
            slot: self.token.slot,
            description: self.token.description,
            anchor: Mutex::new(anchor),
            allowed,
            codes: self.codes,
        })
    }
}

impl Token {
    /// Refuses a module that lets out what it was told to keep.
    pub(super) fn keeps_keys_in(&self) -> Result<(), Untrusted> {
        self.anchored(|session| captivity::keeps_keys_in(session, &self.codes))
    }

    /// Has the token take `new` in place of `old`.
    pub(super) fn change_pin(&self, old: &AuthPin, new: &AuthPin) -> Result<(), CkError> {
        let anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        anchor.set_pin(old, new)
    }

    pub(super) fn description(&self) -> &TokenDescription {
        &self.description
    }

    /// How new keys may wrap, the preferred first.
    pub(super) fn allowed(&self) -> &[Wrapping] {
        &self.allowed
    }

    /// What its codes mean.
    pub(super) fn codes(&self) -> &Codes {
        &self.codes
    }

    /// Does something on the session that is open for as long as the worker lives, as are the
    /// objects that are made on it.
    pub(super) fn anchored<T>(&self, act: impl FnOnce(&Session) -> T) -> T {
        act(&self.anchor.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another session, logged in as all are.
    pub(super) fn open_session(&self) -> Result<Session, CkError> {
        self.module.open_rw_session_no_drop(self.slot)
    }
}
