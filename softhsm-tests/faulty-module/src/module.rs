//! The module that calls are passed on to, and what comes between.

use std::{
    env,
    ffi::CString,
    fs,
    os::{raw::c_void, unix::fs::MetadataExt as _},
    path::PathBuf,
    process, ptr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
};

use cryptoki_sys::{
    CK_C_GetFunctionList, CK_C_INITIALIZE_ARGS, CK_FUNCTION_LIST, CK_RV, CK_SESSION_HANDLE,
    CK_SLOT_ID, CKR_ARGUMENTS_BAD, CKR_GENERAL_ERROR, CKR_OK, CKR_SESSION_HANDLE_INVALID,
    CKR_SLOT_ID_INVALID,
};
use libloading::Library;

use crate::{
    CONTROL,
    control::{Act, Control, Fault},
    counts::Shared,
    function::{Function, LIST},
    keys::Found,
    nonce::Nonces,
    session::Sessions,
};

/// Everything there is to know in this process.
pub(crate) struct Module {
    path: PathBuf,
    followed: Mutex<Followed>,
    counts: Shared,
    /// The other module's functions; it stays loaded.
    list: &'static CK_FUNCTION_LIST,
    pub(crate) sessions: Sessions,
    pub(crate) nonces: Nonces,
    pub(crate) found: Found,
}

/// The control file as it was last read.
struct Followed {
    control: Arc<Control>,
    changed: (u64, i64, i64),
}

/// A call that is under way: the other module's functions, and what the control file said.
pub(crate) struct Call<'a> {
    pub(crate) module: &'a Module,
    pub(crate) list: &'static CK_FUNCTION_LIST,
    pub(crate) control: Arc<Control>,
}

/// Calls a function of the other module, if it has it.
macro_rules! real {
    ($call:ident.$name:ident($($arg:expr),* $(,)?)) => {
        match $call.list.$name {
            Some(function) => function($($arg),*),
            None => cryptoki_sys::CKR_FUNCTION_NOT_SUPPORTED,
        }
    };
}
pub(crate) use real;

/// Gives the list of this module's functions.
///
/// # Safety
///
/// As PKCS#11 says.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    call(Function::C_GetFunctionList, None, |_| {
        if list.is_null() {
            return CKR_ARGUMENTS_BAD;
        }
        // SAFETY: the caller gives room for a pointer; nobody writes to the list.
        unsafe { *list = ptr::from_ref(&LIST).cast_mut() };
        CKR_OK
    })
}

pub(crate) unsafe extern "C" fn C_Initialize(arguments: *mut c_void) -> CK_RV {
    call(Function::C_Initialize, None, |call| {
        let Some(reserved) = call.control.reserved.clone() else {
            // SAFETY: the caller's promises are passed on with the call.
            return unsafe { real!(call.C_Initialize(arguments)) };
        };
        let Ok(reserved) = CString::new(reserved) else {
            return CKR_ARGUMENTS_BAD;
        };
        // SAFETY: PKCS#11 says that it is null or points to these.
        let given = unsafe { arguments.cast::<CK_C_INITIALIZE_ARGS>().as_ref() };
        let mut own = given.copied().unwrap_or_default();
        // For good: the module may keep it.
        own.pReserved = reserved.into_raw().cast();
        // SAFETY: as above, and the module knows what to make of it, as the control file says.
        unsafe { real!(call.C_Initialize((&raw mut own).cast())) }
    })
}

pub(crate) unsafe extern "C" fn C_Finalize(reserved: *mut c_void) -> CK_RV {
    call(Function::C_Finalize, None, |call| {
        call.module.sessions.clear();
        // SAFETY: the caller's promises are passed on with the call.
        unsafe { real!(call.C_Finalize(reserved)) }
    })
}

/// Counts a call, lets what is to strike it strike, and passes it on by `pass`.
pub(crate) fn call(
    function: Function,
    session: Option<CK_SESSION_HANDLE>,
    pass: impl FnOnce(&Call<'_>) -> CK_RV,
) -> CK_RV {
    let Some(call) = Module::current() else {
        return CKR_GENERAL_ERROR;
    };
    call.module.counts.called(function);
    let Some(fault) = call.striking(function) else {
        return pass(&call);
    };
    if let Some(delay) = fault.delay {
        thread::sleep(delay.draw());
    }
    if let Some(act) = fault.act {
        call.act(act, session);
    }
    match fault.answer {
        Some(code) if fault.after => {
            pass(&call);
            code.0
        }
        Some(code) => code.0,
        None => pass(&call),
    }
}

/// As [`call`], about a session, by the number that the other module has for it.
pub(crate) fn of_session(
    function: Function,
    session: CK_SESSION_HANDLE,
    pass: impl FnOnce(&Call<'_>, CK_SESSION_HANDLE) -> CK_RV,
) -> CK_RV {
    call(function, Some(session), |call| {
        match call.module.sessions.real(session) {
            Some(session) => pass(call, session),
            None => CKR_SESSION_HANDLE_INVALID,
        }
    })
}

/// As [`call`], about a slot, by the number that the other module has for it.
pub(crate) fn of_slot(
    function: Function,
    slot: CK_SLOT_ID,
    pass: impl FnOnce(&Call<'_>, CK_SLOT_ID) -> CK_RV,
) -> CK_RV {
    call(function, None, |call| {
        match slot.checked_sub(call.control.token.slot_shift) {
            Some(slot) => pass(call, slot),
            None => CKR_SLOT_ID_INVALID,
        }
    })
}

impl Module {
    /// The module, following the control file as it is now.
    fn current() -> Option<Call<'static>> {
        static MODULE: OnceLock<Result<Module, String>> = OnceLock::new();
        let module = match MODULE.get_or_init(Self::load) {
            Ok(module) => module,
            Err(why) => return complain(why),
        };
        match module.follow() {
            Ok(control) => Some(Call {
                module,
                list: module.list,
                control,
            }),
            Err(why) => complain(&why),
        }
    }

    fn load() -> Result<Self, String> {
        let path: PathBuf = env::var_os(CONTROL)
            .ok_or_else(|| format!("{CONTROL} does not name a control file"))?
            .into();
        let control = Control::read(&path).map_err(|error| error.to_string())?;
        let counts = Shared::beside(&path).map_err(|error| format!("no counts: {error}"))?;
        let list = functions(&control)?;
        let followed = Followed {
            control: Arc::new(control),
            changed: Default::default(),
        };
        Ok(Self {
            path,
            followed: Mutex::new(followed),
            counts,
            list,
            sessions: Sessions::default(),
            nonces: Nonces::default(),
            found: Found::default(),
        })
    }

    fn follow(&self) -> Result<Arc<Control>, String> {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let metadata = fs::metadata(&self.path)
            .map_err(|error| format!("{} is gone: {error}", self.path.display()))?;
        let changed = (metadata.ino(), metadata.ctime(), metadata.ctime_nsec());
        if followed.changed != changed {
            let control = Control::read(&self.path).map_err(|error| error.to_string())?;
            self.counts
                .follow(&metadata)
                .map_err(|error| format!("no counts: {error}"))?;
            *followed = Followed {
                control: Arc::new(control),
                changed,
            };
        }
        Ok(Arc::clone(&followed.control))
    }
}

impl Call<'_> {
    /// The first fault that strikes.
    fn striking(&self, function: Function) -> Option<&Fault> {
        let faults = self.control.faults.iter().enumerate();
        let mut concerned =
            faults.filter(|(_, fault)| fault.function == "*" || fault.function == function.name());
        let strikes = |(at, fault): &(usize, &Fault)| self.module.counts.strikes(*at, fault);
        concerned.find(strikes).map(|(_, fault)| fault)
    }

    fn act(&self, act: Act, session: Option<CK_SESSION_HANDLE>) {
        let real = session.and_then(|session| self.module.sessions.real(session));
        match act {
            Act::Hang => loop {
                thread::park();
            },
            Act::Abort => process::abort(),
            // SAFETY: none is wanted: this is the crash that was ordered.
            Act::Segfault => unsafe { ptr::null_mut::<u8>().write_volatile(0) },
            Act::Exit => process::exit(0),
            Act::LogOut => {
                if let Some(session) = real.or_else(|| self.module.sessions.any()) {
                    // SAFETY: the session is open.
                    unsafe { real!(self.C_Logout(session)) };
                }
            }
            Act::CloseSession => {
                if let (Some(session), Some(real)) = (session, real) {
                    self.module.sessions.forget(session);
                    // SAFETY: the session is open.
                    unsafe { real!(self.C_CloseSession(real)) };
                }
            }
            Act::CloseAllSessions => {
                for session in self.module.sessions.clear() {
                    // SAFETY: the session is open.
                    unsafe { real!(self.C_CloseSession(session)) };
                }
            }
        }
    }
}

fn functions(control: &Control) -> Result<&'static CK_FUNCTION_LIST, String> {
    let unusable =
        |why: &dyn std::fmt::Display| format!("{} cannot be used: {why}", control.module.display());
    // SAFETY: the control file names a PKCS#11 module.
    let library = unsafe { Library::new(&control.module) }.map_err(|error| unusable(&error))?;
    let library = Box::leak(Box::new(library));
    // SAFETY: PKCS#11 says what the function is like.
    let get = unsafe { library.get::<CK_C_GetFunctionList>(b"C_GetFunctionList\0") };
    let get = get.map_err(|error| unusable(&error))?;
    let get = get.ok_or_else(|| unusable(&"it has no functions"))?;
    let mut list = ptr::null_mut();
    // SAFETY: there is room for a pointer.
    let answer = unsafe { get(&raw mut list) };
    // SAFETY: a module's list lasts as long as the module, which is for good.
    let list = unsafe { list.as_ref() }.filter(|_| answer == CKR_OK);
    list.ok_or_else(|| unusable(&"it gives no list of functions"))
}

#[allow(clippy::print_stderr, reason = "a module has nobody else to tell")]
fn complain<T>(why: &str) -> Option<T> {
    eprintln!("faulty-pkcs11: {why}");
    None
}
