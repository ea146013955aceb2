//! Sessions under numbers of our own, the lowest that is free: one that died under its
//! owner's feet has its number given out again, as some modules do it.

use std::{
    collections::BTreeMap,
    os::raw::c_void,
    sync::{Mutex, MutexGuard, PoisonError},
};

use cryptoki_sys::{
    CK_FLAGS, CK_NOTIFY, CK_RV, CK_SESSION_HANDLE, CK_SLOT_ID, CKR_OK, CKR_SESSION_COUNT,
};

use crate::{
    function::Function,
    module::{of_session, of_slot, real},
};

/// The other module's numbers, by ours.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<BTreeMap<CK_SESSION_HANDLE, CK_SESSION_HANDLE>>);

impl Sessions {
    pub(crate) fn real(&self, session: CK_SESSION_HANDLE) -> Option<CK_SESSION_HANDLE> {
        self.all().get(&session).copied()
    }

    pub(crate) fn any(&self) -> Option<CK_SESSION_HANDLE> {
        self.all().values().next().copied()
    }

    pub(crate) fn forget(&self, session: CK_SESSION_HANDLE) {
        self.all().remove(&session);
    }

    /// Forgets all of them, and says which they were.
    pub(crate) fn clear(&self) -> Vec<CK_SESSION_HANDLE> {
        std::mem::take(&mut *self.all()).into_values().collect()
    }

    fn count(&self) -> usize {
        self.all().len()
    }

    fn number(&self, real: CK_SESSION_HANDLE) -> CK_SESSION_HANDLE {
        let mut all = self.all();
        let free = (1..).find(|number| !all.contains_key(number)).unwrap_or(0);
        all.insert(free, real);
        free
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<CK_SESSION_HANDLE, CK_SESSION_HANDLE>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) unsafe extern "C" fn C_OpenSession(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: *mut c_void,
    notify: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    of_slot(Function::C_OpenSession, slot, |call, slot| {
        let sessions = &call.module.sessions;
        let most = call.control.token.max_sessions;
        if most.is_some_and(|most| sessions.count() >= most) {
            return CKR_SESSION_COUNT;
        }
        // SAFETY: the caller's promises are passed on with the call.
        let answer =
            unsafe { real!(call.C_OpenSession(slot, flags, application, notify, session)) };
        if answer == CKR_OK {
            // SAFETY: the other module has just written to it.
            unsafe { *session = sessions.number(*session) };
        }
        answer
    })
}

pub(crate) unsafe extern "C" fn C_CloseSession(session: CK_SESSION_HANDLE) -> CK_RV {
    of_session(Function::C_CloseSession, session, |call, real| {
        call.module.sessions.forget(session);
        // SAFETY: the caller's promises are passed on with the call.
        unsafe { real!(call.C_CloseSession(real)) }
    })
}

pub(crate) unsafe extern "C" fn C_CloseAllSessions(slot: CK_SLOT_ID) -> CK_RV {
    of_slot(Function::C_CloseAllSessions, slot, |call, slot| {
        call.module.sessions.clear();
        // SAFETY: the caller's promises are passed on with the call.
        unsafe { real!(call.C_CloseAllSessions(slot)) }
    })
}
