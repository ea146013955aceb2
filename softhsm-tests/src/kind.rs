//! Which kind of token the tests run on, and how one is made.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    PIN, Site, command,
    fault::faulty_module,
    module,
    opencryptoki::{self, OpenCryptoki},
    skip::skip,
    text,
    tpm::{self, Tpm},
};

/// Names it; SoftHSM when missing. `TEST_PKCS11_MODULE` says where its module is.
const KIND: &str = "CUSTODYD_TEST_TOKEN";

/// The PIN of every test token's security officer.
pub(crate) const SO_PIN: &str = "12345678";

/// A kind of token that the tests can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SoftHSM 2.
    SoftHsm,
    /// Kryoptic.
    Kryoptic,
    /// A TPM 2.0 in software behind tpm2-pkcs11.
    Tpm2,
    /// A soft token of openCryptoki.
    OpenCryptoki,
}

impl Kind {
    /// The kind that the environment asks for.
    pub fn chosen() -> Self {
        match env::var(KIND).as_deref() {
            Err(_) | Ok("softhsm") => Self::SoftHsm,
            Ok("kryoptic") => Self::Kryoptic,
            Ok("tpm2") => Self::Tpm2,
            Ok("opencryptoki") => Self::OpenCryptoki,
            Ok(other) => {
                panic!("{KIND} is softhsm, kryoptic, tpm2 or opencryptoki, not {other:?}")
            }
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

    /// Whether the tests run on a token that has what some lack. If not, `test` is skipped.
    pub fn has(test: &str, what: &str) -> bool {
        let lacks = match Self::chosen() {
            Self::SoftHsm | Self::Kryoptic => &[],
            Self::Tpm2 => tpm::LACKS,
            Self::OpenCryptoki => opencryptoki::LACKS,
        };
        let has = !lacks.contains(&what);
        if !has {
            skip(test, what);
        }
        has
    }

    /// What configurations name for the `module` of a token.
    pub(crate) fn configured(self, module: PathBuf) -> PathBuf {
        match self {
            Self::SoftHsm | Self::Kryoptic | Self::Tpm2 => module,
            // For its clock.
            Self::OpenCryptoki => faulty_module(),
        }
    }

    /// Where the module is when nothing else is said.
    pub(crate) fn module(self) -> PathBuf {
        match self {
            Self::SoftHsm => "/usr/lib/softhsm/libsofthsm2.so".into(),
            Self::Kryoptic => panic!("TEST_PKCS11_MODULE names Kryoptic's module"),
            Self::Tpm2 => Tpm::module(),
            Self::OpenCryptoki => OpenCryptoki::module(),
        }
    }

    /// What a test's configuration says of a token unless the test does: what is done to a worker
    /// is to be felt, pairs take long to be made, and a TPM is for one thread.
    fn settings(self) -> &'static [&'static str] {
        match self {
            Self::SoftHsm | Self::Kryoptic => &["workers = 1\n"],
            Self::Tpm2 => &["workers = 1\n", "sessions = 1\n", "deadline = \"60s\"\n"],
            Self::OpenCryptoki => &["workers = 1\n", "deadline = \"60s\"\n"],
        }
    }

    /// Those settings that `more` does not have.
    pub(crate) fn settings_unless(more: &str) -> String {
        let is_missing = |setting: &&&str| {
            let name = setting.split_inclusive('=').next().unwrap_or_default();
            !more.lines().any(|line| line.starts_with(name))
        };
        let settings = Self::chosen().settings().iter();
        settings.filter(is_missing).copied().collect()
    }
}

/// The shortest deadline that a token meets while it makes a pair on a busy machine.
const SHORTEST: Duration = Duration::from_secs(10);

impl Kind {
    /// `more` with a deadline that the token can meet in place of one that is shorter.
    pub(crate) fn patient(more: &str) -> String {
        let is_short = |line: &&str| match deadline(line) {
            Some(deadline) => Self::chosen().makes_pairs() && deadline < SHORTEST,
            None => false,
        };
        let patient = format!("deadline = \"{}s\"", SHORTEST.as_secs());
        let mut text = String::new();
        for line in more.lines() {
            text += if is_short(&line) { &patient } else { line };
            text.push('\n');
        }
        text
    }

    /// Whether master keys are pairs, for want of other keys that wrap.
    pub fn makes_pairs(self) -> bool {
        self == Self::Tpm2
    }

    /// The way to wrap that new master keys are made for.
    pub fn wraps_by() -> &'static str {
        match Self::chosen() {
            Self::SoftHsm | Self::Kryoptic => "aes-256-gcm",
            Self::OpenCryptoki => "aes-256-cbc-hmac-sha256",
            Self::Tpm2 => "rsa-oaep-sha256",
        }
    }

    /// The way in which the token signs the journal.
    pub fn signs_by() -> &'static str {
        match Self::chosen() {
            Self::SoftHsm | Self::Kryoptic | Self::Tpm2 => "ecdsa-p256",
            Self::OpenCryptoki => "rsa-pss",
        }
    }

    /// How many objects of the token a master key is.
    pub fn objects_of_key() -> u64 {
        match Self::chosen() {
            Self::SoftHsm | Self::Kryoptic => 1,
            Self::Tpm2 | Self::OpenCryptoki => 2,
        }
    }

    /// How many sessions there are unless a test says otherwise.
    pub fn sessions() -> u16 {
        match Self::chosen() {
            Self::SoftHsm | Self::Kryoptic | Self::OpenCryptoki => 2,
            Self::Tpm2 => 1,
        }
    }

    /// About how much longer the token takes than others, where a test's patience depends on it.
    pub fn slowness() -> u32 {
        match Self::chosen() {
            Self::SoftHsm | Self::Kryoptic | Self::OpenCryptoki => 1,
            Self::Tpm2 => 10,
        }
    }

    /// The function of the token without which no new key is proven: the one by which it wraps
    /// data keys, or, where that is done outside it with a public half, the one by which it opens
    /// them.
    pub fn proves() -> &'static str {
        match Self::chosen() {
            Self::SoftHsm | Self::Kryoptic | Self::OpenCryptoki => "C_Encrypt",
            Self::Tpm2 => "C_Decrypt",
        }
    }
}

/// The token's deadline, if that is what a line of a configuration sets.
fn deadline(line: &str) -> Option<Duration> {
    let value = line.strip_prefix("deadline = \"")?.strip_suffix('"')?;
    let (number, unit) = value.split_at(value.find(|c: char| !c.is_ascii_digit())?);
    let number = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        _ => None,
    }
}

/// SoftHSM's configuration with tokens below `folder`.
fn softhsm(folder: &Path) -> String {
    format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n\
         slots.removable = false\n",
        folder.display()
    )
}

/// Kryoptic's configuration with tokens below `folder`.
fn kryoptic(folder: &Path) -> String {
    (1..=4)
        .map(|slot| {
            format!(
                "[[slots]]\nslot = {slot}\ndbtype = \"sqlite\"\ndbargs = {:?}\n",
                folder.join(format!("{slot}.sql"))
            )
        })
        .collect()
}

/// Variables as the inside of a table of the configuration.
pub(crate) fn table(variables: Vec<(&'static str, String)>) -> String {
    let pairs: Vec<_> = variables
        .into_iter()
        .map(|(variable, value)| format!("{variable} = {value:?}"))
        .collect();
    pairs.join(", ")
}

impl Site {
    /// The variables that tell the module where its tokens are.
    pub fn module_environment(&self) -> Vec<(&'static str, String)> {
        let path = |name| self.path(name).display().to_string();
        match Kind::chosen() {
            Kind::SoftHsm => vec![("SOFTHSM2_CONF", path("softhsm2.conf"))],
            Kind::Kryoptic => vec![("KRYOPTIC_CONF", path("kryoptic.conf"))],
            Kind::Tpm2 => Tpm::environment(self.folder()).into(),
            Kind::OpenCryptoki => vec![OpenCryptoki::environment(self.folder())],
        }
    }

    /// The same as the inside of a table of the configuration.
    pub(crate) fn environment_table(&self) -> String {
        table(self.module_environment())
    }

    /// Has the module find tokens here: there is none yet.
    pub(crate) fn configure_tokens(&mut self) {
        let tokens = self.path("tokens");
        fs::create_dir(&tokens).expect("a folder");
        let (file, text) = match Kind::chosen() {
            Kind::SoftHsm => ("softhsm2.conf", softhsm(&tokens)),
            Kind::Kryoptic => ("kryoptic.conf", kryoptic(&tokens)),
            Kind::Tpm2 => {
                self.tpm = Some(Tpm::start(self.folder()));
                return;
            }
            Kind::OpenCryptoki => {
                self.opencryptoki = Some(OpenCryptoki::start(self.folder()));
                return;
            }
        };
        fs::write(self.path(file), text).expect("written");
    }

    /// Takes this thread to where processes find this site's tokens.
    pub(crate) fn enter(&self) {
        if let Some(opencryptoki) = &self.opencryptoki {
            opencryptoki.enter();
        }
    }

    /// Makes one more token; says its serial number.
    pub fn init_token(&self, label: &str) -> String {
        if let Some(tpm) = &self.tpm {
            return tpm.add_token(self.folder(), label);
        }
        if let Some(opencryptoki) = &self.opencryptoki {
            return opencryptoki.add_token(label);
        }
        let output = Command::new(command("softhsm-intruder"))
            .envs(self.module_environment())
            .arg(module())
            .args(["", PIN, "init", label, SO_PIN])
            .output()
            .expect("softhsm-intruder runs");
        assert!(output.status.success(), "{}", text(&output));
        serde_json::from_slice(&output.stdout).expect("a serial number")
    }
}
