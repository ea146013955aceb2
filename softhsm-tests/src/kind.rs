//! Which kind of token the tests run on, and how one is made.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{PIN, Site, command, module, skip::skip, text};

/// Names it; SoftHSM when missing. `TEST_PKCS11_MODULE` says where its module is.
const KIND: &str = "CUSTODYD_TEST_TOKEN";

/// The PIN of every test token's security officer.
const SO_PIN: &str = "12345678";

/// A kind of token that the tests can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SoftHSM 2.
    SoftHsm,
    /// Kryoptic.
    Kryoptic,
}

impl Kind {
    /// The kind that the environment asks for.
    pub fn chosen() -> Self {
        match env::var(KIND).as_deref() {
            Err(_) | Ok("softhsm") => Self::SoftHsm,
            Ok("kryoptic") => Self::Kryoptic,
            Ok(other) => panic!("{KIND} is softhsm or kryoptic, not {other:?}"),
        }
    }

    /// Whether the tests run on SoftHSM. If not, `test` is skipped.
    pub fn is_softhsm(test: &str) -> bool {
        let is = Self::chosen() == Self::SoftHsm;
        if !is {
            skip(test, "SoftHSM");
        }
        is
    }

    /// Where the module is when nothing else is said.
    pub(crate) fn module(self) -> PathBuf {
        match self {
            Self::SoftHsm => "/usr/lib/softhsm/libsofthsm2.so".into(),
            Self::Kryoptic => panic!("TEST_PKCS11_MODULE names Kryoptic's module"),
        }
    }

    /// The variable that the module is configured by, and the name of the file.
    fn configuration(self) -> (&'static str, &'static str) {
        match self {
            Self::SoftHsm => ("SOFTHSM2_CONF", "softhsm2.conf"),
            Self::Kryoptic => ("KRYOPTIC_CONF", "kryoptic.conf"),
        }
    }

    /// A configuration with tokens below `folder`.
    fn text(self, folder: &Path) -> String {
        match self {
            Self::SoftHsm => format!(
                "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n\
                 slots.removable = false\n",
                folder.display()
            ),
            Self::Kryoptic => (1..=4)
                .map(|slot| {
                    format!(
                        "[[slots]]\nslot = {slot}\ndbtype = \"sqlite\"\ndbargs = {:?}\n",
                        folder.join(format!("{slot}.sql"))
                    )
                })
                .collect(),
        }
    }
}

impl Site {
    /// The variable that tells the module where its tokens are.
    pub fn module_environment(&self) -> (&'static str, PathBuf) {
        let (variable, file) = Kind::chosen().configuration();
        (variable, self.path(file))
    }

    /// Writes the module's configuration: no token yet.
    pub(crate) fn configure_tokens(&self) {
        let tokens = self.path("tokens");
        fs::create_dir(&tokens).expect("a folder");
        let (_, file) = self.module_environment();
        fs::write(file, Kind::chosen().text(&tokens)).expect("written");
    }

    /// Makes one more token; says its serial number.
    pub fn init_token(&self, label: &str) -> String {
        let (variable, file) = self.module_environment();
        let output = Command::new(command("softhsm-intruder"))
            .env(variable, file)
            .arg(module())
            .args(["", PIN, "init", label, SO_PIN])
            .output()
            .expect("softhsm-intruder runs");
        assert!(output.status.success(), "{}", text(&output));
        serde_json::from_slice(&output.stdout).expect("a serial number")
    }
}
