//! Load the module, find the one token, log in once.

use std::{path::Path, sync::Mutex};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error as CkError, RvError},
    session::{Session, UserType},
    slot::{Slot, TokenInfo},
};
use custody::envelope::Wrapping;

use super::{
    pin::Pin,
    recovery::{self, Codes},
    strategy,
};
use crate::{Error, Profile, TokenDescription, TokenSelector, latch::Latch, settings};

/// A token that was found, not logged in.
pub(super) struct Found {
    module: Pkcs11,
    slot: Slot,
    info: TokenInfo,
    description: TokenDescription,
    codes: Codes,
}

/// A token that is logged in, and stays so as long as its first session is open.
pub(super) struct Token {
    module: Pkcs11,
    slot: Slot,
    description: TokenDescription,
    /// Keeps the login; never used again.
    _anchor: Mutex<Session>,
    allowed: Vec<Wrapping>,
    codes: Codes,
}

/// Finds the one token that `wanted` selects.
pub(super) fn find(
    path: &Path,
    wanted: &TokenSelector,
    codes: settings::Codes,
) -> Result<Found, Error> {
    let unusable = |error: &CkError| Error::ModuleUnusable {
        module: path.to_owned(),
        why: recovery::describe(error),
    };
    let module = Pkcs11::new(path).map_err(|error| unusable(&error))?;
    module
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .map_err(|error| unusable(&error))?;
    let slots = module
        .get_slots_with_token()
        .map_err(|error| unusable(&error))?;
    let mut tokens = Vec::new();
    for slot in slots {
        // One odd slot does not hide the others.
        match module.get_token_info(slot) {
            Ok(info) if info.token_initialized() => {
                let description = describe(&info, path);
                tokens.push((slot, info, description));
            }
            Ok(_) => {}
            Err(error) => {
                let error = recovery::describe(&error);
                tracing::warn!(slot = slot.id(), %error, "a slot does not describe its token");
            }
        }
    }
    let descriptions: Vec<_> = tokens.iter().map(|(.., token)| token.clone()).collect();
    let (slot, info, description) = tokens.swap_remove(wanted.select(&descriptions)?);
    let profile = codes.profile.unwrap_or_else(|| profile(&module));
    Ok(Found {
        module,
        slot,
        info,
        description,
        codes: Codes {
            profile,
            overrides: codes.overrides,
        },
    })
}

/// The profile by what the library says of itself.
fn profile(module: &Pkcs11) -> Profile {
    match module.get_library_info() {
        Ok(info) => Profile::of(info.manufacturer_id(), info.library_description()),
        Err(error) => {
            let error = recovery::describe(&error);
            tracing::warn!(%error, "the module does not say what it is");
            Profile::Generic
        }
    }
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
        &self.description
    }

    /// Refuses a token that a login could only harm.
    pub(super) fn check_pin_flags(&self) -> Result<(), Error> {
        if self.info.user_pin_locked() {
            return Err(Error::PinLocked);
        }
        if self.info.user_pin_final_try() {
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
            .open_rw_session_no_drop(self.slot)
            .map_err(|error| recovery::token_error(&error))?;
        latch.begin(self.info.user_pin_count_low())?;
        let answer = anchor.login_with_raw(UserType::User, &pin.spend());
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
        strategy::keeps_keys_in(&anchor).map_err(|why| Error::ModuleUnusable {
            module: self.description.module.clone(),
            why,
        })?;
        Ok(Token {
            module: self.module,
            slot: self.slot,
            description: self.description,
            _anchor: Mutex::new(anchor),
            allowed,
            codes: self.codes,
        })
    }
}

impl Token {
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

    /// Another session, logged in as all are.
    pub(super) fn open_session(&self) -> Result<Session, CkError> {
        self.module.open_rw_session_no_drop(self.slot)
    }
}
