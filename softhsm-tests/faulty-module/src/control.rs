//! The control file: what the module is told to do.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::code::Code;

/// The most faults that a control file has.
pub const MAX_FAULTS: usize = 64;

/// What the module does. Written as TOML; names are in kebab-case.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Control {
    /// The module that calls are passed on to.
    pub module: PathBuf,
    /// What the other module gets in `pReserved` of `C_Initialize`. NSS softokn wants its
    /// database named so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved: Option<String>,
    /// What the token is made out to be.
    #[serde(default)]
    pub token: Token,
    /// What goes wrong with calls. Of each call, the first that strikes is taken.
    #[serde(default, rename = "fault")]
    pub faults: Vec<Fault>,
}

/// Something that goes wrong with some calls.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fault {
    /// The function, such as `C_Decrypt`; `*` for all of them.
    pub function: String,
    /// The first call that it may strike, counted from 1 over all processes since the
    /// control file last changed; the first when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// How often it strikes; without limit when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// Share of the calls that it strikes, at random; 1 when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// How long the call takes longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
    /// What happens before the call is passed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<Act>,
    /// What is answered in place of passing the call on: `CKR_DEVICE_ERROR`, `0x80000001`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Code>,
    /// Whether the call is passed on all the same, and only its answer replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub after: bool,
}

/// A time, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Delay {
    /// Always the same.
    Fixed(u64),
    /// Anything between two times, each as likely.
    Uniform {
        /// The shortest.
        low: u64,
        /// The longest.
        high: u64,
    },
    /// Log-normal: mostly short, and now and then long.
    LogNormal {
        /// Half of the calls take longer.
        median: f64,
        /// One of a hundred calls takes longer.
        p99: f64,
    },
}

/// What happens before a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// The call does not return.
    Hang,
    /// The process ends by `SIGABRT`.
    Abort,
    /// The process ends by `SIGSEGV`.
    Segfault,
    /// The process exits with status 0.
    Exit,
    /// The user is logged out, of all sessions.
    LogOut,
    /// The session is closed under the caller's feet. Its number is given out again.
    CloseSession,
    /// All sessions of the token are closed, which also logs out.
    CloseAllSessions,
}

/// What the token is made out to be.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Token {
    /// Another label for each token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Another serial number for each token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// What each token has for the time, which it has then; the standard has `YYYYMMDDhhmmss00`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
    /// Flags of the PIN that are set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<PinFlag>,
    /// What is added to each slot's number.
    #[serde(skip_serializing_if = "is_zero")]
    pub slot_shift: u64,
    /// How many sessions there may be in a process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<usize>,
    /// Mechanisms that are missing, by their numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without_mechanisms: Vec<u64>,
    /// Who makes the nonce of AES-GCM.
    pub gcm_nonce: GcmNonce,
    /// Each object is found twice.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub duplicates: bool,
    /// No object is found.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub loses_objects: bool,
    /// Keys are made without the identifier that is asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forgets_identifiers: bool,
    /// Handles of secret keys that were found mean the key that was found after them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mixes_up_keys: bool,
    /// `C_WrapKey` succeeds with keys that are not extractable, and their value can be read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lets_keys_out: bool,
    /// `C_Sign` succeeds with signatures that do not verify.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub signs_wrongly: bool,
}

/// A flag of a token that tells about its user PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PinFlag {
    /// `CKF_USER_PIN_COUNT_LOW`.
    CountLow,
    /// `CKF_USER_PIN_FINAL_TRY`.
    FinalTry,
    /// `CKF_USER_PIN_LOCKED`.
    Locked,
    /// `CKF_USER_PIN_TO_BE_CHANGED`.
    ToBeChanged,
}

/// Who makes the nonce of AES-GCM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GcmNonce {
    /// The caller, as PKCS#11 2.40 has it.
    #[default]
    Caller,
    /// The token, which writes it into the mechanism's parameters.
    WrittenBack,
    /// The same, and it refuses to be given another than zeros.
    WrittenBackToZeros,
    /// The token, which writes it back, and makes the same each time.
    Repeated,
    /// The token, which appends it to the ciphertext.
    Appended,
    /// The same, of 16 bytes in place of 12.
    AppendedLong,
    /// The token, which keeps it to itself.
    Kept,
}

/// A control file that cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum BadControl {
    /// It cannot be read.
    #[error("{} cannot be read: {why}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// It is not as it must be.
    #[error("{} cannot be followed: {why}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl Control {
    /// One that passes all calls on to `module`.
    pub fn passing_on_to(module: impl Into<PathBuf>) -> Self {
        Self {
            module: module.into(),
            reserved: None,
            token: Token::default(),
            faults: Vec::new(),
        }
    }

    /// Reads a control file.
    ///
    /// # Errors
    ///
    /// If it cannot be read or followed.
    pub fn read(path: &Path) -> Result<Self, BadControl> {
        let text = fs::read_to_string(path).map_err(|why| BadControl::Unreadable {
            path: path.to_owned(),
            why,
        })?;
        let malformed = |why| BadControl::Malformed {
            path: path.to_owned(),
            why,
        };
        let control: Self = toml::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        if control.faults.len() > MAX_FAULTS {
            return Err(malformed(format!("it has more than {MAX_FAULTS} faults")));
        }
        Ok(control)
    }

    /// Writes it in place of what is at `path`, at one stroke. Modules that run follow it
    /// from their next call on, and count anew.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.persist(path)?;
        Ok(())
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says so by failing")]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.toml");
        let mut control = Control::passing_on_to("/lib/real.so");
        control.token.flags = vec![PinFlag::FinalTry];
        control.faults = vec![Fault {
            function: "C_Decrypt".to_owned(),
            first: Some(3),
            share: Some(0.5),
            delay: Some(Delay::LogNormal {
                median: 1.0,
                p99: 400.0,
            }),
            act: Some(Act::LogOut),
            answer: Some(Code::named("CKR_DEVICE_ERROR").unwrap()),
            ..Fault::default()
        }];
        control.write(&path).unwrap();
        let read = Control::read(&path).unwrap();
        assert_eq!(format!("{read:?}"), format!("{control:?}"));
    }

    #[test]
    fn the_example_in_the_manual_can_be_followed() {
        let manual = include_str!("../README.md");
        let example = manual.split("```toml\n").nth(1).unwrap();
        let example = example.split("```").next().unwrap();
        let control: Control = toml::from_str(example).unwrap();
        assert!(control.faults.len() > 3);
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.toml");
        for (text, named) in [
            (
                "module = \"m\"\n[[fault]]\nfunction = \"C_Login\"\nanswer = \"CKR_NONE\"",
                "CKR_NONE",
            ),
            (
                "module = \"m\"\n[[fault]]\nfunction = \"C_Login\"\nact = \"dance\"",
                "dance",
            ),
            ("module = \"m\"\n[token]\nlable = \"x\"", "lable"),
        ] {
            fs::write(&path, text).unwrap();
            let refused = Control::read(&path).unwrap_err().to_string();
            assert!(refused.contains(named), "{refused}");
        }
    }
}
