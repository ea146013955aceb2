//! A token that misbehaves on command: SoftHSM behind `faulty-pkcs11`.

use std::path::{Path, PathBuf};

use faulty_pkcs11::{CONTROL, Code, Control, Counts, FILE_NAME, Fault, Function};

use crate::{
    Site, command,
    kind::{Kind, table},
    opencryptoki::OpenCryptoki,
    text, vendors_module,
};

/// What a token lacks that has no elliptic curves: `CKM_EC_KEY_PAIR_GEN` and `CKM_ECDSA`.
pub const CURVES: [u64; 2] = [0x1040, 0x1041];

impl Site {
    /// A site whose token can misbehave, and has behaved so far, with `more` as
    /// [`Self::configure_faulty`] takes it.
    pub fn faulty(more: &str) -> Self {
        let site = Self::without_init();
        site.configure_faulty("");
        let output = site.init().output().expect("custodyd runs");
        assert!(output.status.success(), "init: {}", text(&output));
        site.configure_faulty(more);
        site
    }

    /// Writes the configuration with the module that misbehaves in place of SoftHSM's, and
    /// `more` at the end of the table `[token]`. It does not misbehave yet.
    pub fn configure_faulty(&self, more: &str) {
        self.mend();
        let environment = self.faulty_environment(&self.control());
        self.configure_module(&faulty_module(), &environment, more);
    }

    /// The environment of a worker that is told by `control` how its token misbehaves.
    pub(crate) fn faulty_environment(&self, control: &Path) -> String {
        let mut variables = self.module_environment();
        variables.retain(|(variable, _)| *variable != CONTROL);
        variables.push((CONTROL, control.display().to_string()));
        table(variables)
    }

    /// Has the module misbehave from now on, in whatever process.
    pub fn misbehave(&self, change: impl FnOnce(&mut Control)) {
        write_control(&self.control(), change);
    }

    /// Has the calls that `fault` is for go wrong from now on.
    pub fn fault(&self, fault: Fault) {
        self.misbehave(|control| control.faults.push(fault));
    }

    /// Has the module behave again.
    pub fn mend(&self) {
        self.misbehave(|_| {});
    }

    /// What the module counted.
    pub fn counts(&self) -> Counts {
        Counts::read(&self.control()).expect("counts")
    }

    /// How often somebody tried to log in.
    pub fn logins(&self) -> u64 {
        self.counts().calls(Function::C_Login)
    }

    pub(crate) fn control(&self) -> PathBuf {
        self.path("control.toml")
    }
}

/// The module that misbehaves.
pub(crate) fn faulty_module() -> PathBuf {
    command(&format!("deps/{FILE_NAME}"))
}

/// Has the module that reads `control` misbehave as `change` says.
pub(crate) fn write_control(file: &Path, change: impl FnOnce(&mut Control)) {
    let mut control = Control::passing_on_to(vendors_module());
    if Kind::chosen() == Kind::OpenCryptoki {
        OpenCryptoki::tell_time(&mut control);
    }
    change(&mut control);
    control.write(file).expect("written");
}

/// A fault that answers `code` to every call of `function`.
pub fn answering(function: &str, code: &str) -> Fault {
    Fault {
        function: function.to_owned(),
        answer: Some(Code::named(code).expect("a code")),
        ..Fault::default()
    }
}
