//! The token alone: how often it unwraps a data key, called in its own process.
//!
//! SoftHSM is told by the environment where its token is, so this runs in a child.

use std::{
    env,
    process::{Command, Stdio},
    sync::{Barrier, Mutex},
    thread,
    time::{Duration, Instant},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    mechanism::{Mechanism, aead::GcmParams},
    object::{Attribute, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};
use custody::{
    envelope::Context,
    name::{KeyId, SecretId, VersionId},
};
use softhsm_tests::{PIN, Site, module};

use crate::{load::Measured, settings::Settings};

pub(crate) const ROLE: &str = "measure-token";

const THREADS: [usize; 5] = [1, 2, 4, 8, 16];

/// What the token did.
#[derive(Debug)]
pub(crate) struct Rates {
    /// The module's own words for itself.
    pub(crate) module: String,
    /// By number of threads.
    pub(crate) rows: Vec<(usize, Measured)>,
}

/// Measures it on a token of its own, in a child.
pub(crate) fn run(settings: &Settings) -> Rates {
    let site = Site::without_init();
    let time = settings.time * settings.rounds;
    let output = Command::new(env::current_exe().unwrap())
        .args([ROLE, &time.as_micros().to_string()])
        .env("SOFTHSM2_CONF", site.path("softhsm2.conf"))
        .stderr(Stdio::inherit())
        .output()
        .expect("this program starts");
    assert!(output.status.success(), "the token was not measured");
    let text = String::from_utf8(output.stdout).unwrap();
    let (module, rows) = text.split_once('\n').unwrap();
    let row = |line: &str| {
        let (threads, measured) = line.split_once(' ').unwrap();
        (threads.parse().unwrap(), Measured::from_line(measured))
    };
    Rates {
        module: module.to_owned(),
        rows: rows.lines().map(row).collect(),
    }
}

/// The child: prints what it is, and a line for each number of threads.
pub(crate) fn measure(arguments: &[String]) {
    let time = Duration::from_micros(arguments[0].parse().unwrap());
    let token = Token::open();
    println!("{}", token.description());
    for threads in THREADS {
        println!("{threads} {}", token.hammer(threads, time).to_line());
    }
}

struct Token {
    module: Pkcs11,
    slot: Slot,
    key: ObjectHandle,
    nonce: [u8; 12],
    sealed: Vec<u8>,
    context: Vec<u8>,
    /// Keeps the login.
    _first: Mutex<Session>,
}

impl Token {
    fn open() -> Self {
        let module = Pkcs11::new(module()).unwrap();
        module
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .unwrap();
        let slot = module.get_slots_with_initialized_token().unwrap()[0];
        let session = module.open_rw_session(slot).unwrap();
        session
            .login(UserType::User, Some(&AuthPin::new(PIN.into())))
            .unwrap();
        // As custodyd makes a group master key.
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(32.into()),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Wrap(false),
            Attribute::Unwrap(false),
        ];
        let key = session
            .generate_key(&Mechanism::AesKeyGen, &template)
            .unwrap();
        let version = VersionId {
            secret: SecretId {
                group: "bench".parse().unwrap(),
                name: "secret-1".parse().unwrap(),
            },
            number: 1,
        };
        let context = Context::Dek {
            version: &version,
            kind: "blob",
            gmk: &KeyId::from_bytes(&[7; 16]).unwrap(),
        }
        .encode();
        let nonce = [9; 12];
        let sealed = {
            let mut nonce = nonce;
            let gcm = GcmParams::new(&mut nonce, &context, 128.into()).unwrap();
            session
                .encrypt(&Mechanism::AesGcm(gcm), key, &[5; 32])
                .unwrap()
        };
        Self {
            module,
            slot,
            key,
            nonce,
            sealed,
            context,
            _first: Mutex::new(session),
        }
    }

    fn description(&self) -> String {
        let info = self.module.get_library_info().unwrap();
        let (description, version) = (info.library_description(), info.library_version());
        format!("{} {version}", description.trim())
    }

    fn hammer(&self, threads: usize, time: Duration) -> Measured {
        let barrier = Barrier::new(threads);
        thread::scope(|scope| {
            let all: Vec<_> = (0..threads)
                .map(|_| {
                    let session = self.module.open_rw_session(self.slot).unwrap();
                    let barrier = &barrier;
                    scope.spawn(move || self.unwrap_for(time, &session, barrier))
                })
                .collect();
            let mut sum = Measured::new();
            for one in all {
                sum.beside(&one.join().unwrap());
            }
            sum
        })
    }

    fn unwrap_for(&self, time: Duration, session: &Session, barrier: &Barrier) -> Measured {
        let mut measured = Measured::new();
        barrier.wait();
        let start = Instant::now();
        while start.elapsed() < time {
            let from = Instant::now();
            let mut nonce = self.nonce;
            let gcm = GcmParams::new(&mut nonce, &self.context, 128.into()).unwrap();
            let dek = session
                .decrypt(&Mechanism::AesGcm(gcm), self.key, &self.sealed)
                .unwrap();
            assert_eq!(dek.len(), 32);
            measured.call(from.elapsed());
        }
        measured.lasted(start.elapsed());
        measured
    }
}
