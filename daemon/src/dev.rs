//! `custodyd dev`: a throw-away daemon on a SoftHSM token of its own.

use std::{
    env, fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use aws_lc_rs::rand;
use nix::unistd::getuid;
use zeroize::Zeroizing;

use crate::{
    appoint::Appointment,
    cli::say,
    config, init, log,
    run::{self, Failure, Mode, Patience, development_mark},
};

/// The arguments of `dev`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Keep everything in this folder, and go on with what is there; without it, in a
    /// temporary folder that is removed at the end.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// SoftHSM's module.
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
}

/// Where distributions put it.
const MODULES: [&str; 5] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

const LABEL: &str = "custodyd-dev";

/// Makes the token and the installation, unless they are there, and runs.
pub(crate) fn dev(options: Options) -> Result<(), Failure> {
    let ready = run::prepare(log::Format::default(), log::Level::default())?;
    let temporary;
    let directory = match options.directory {
        Some(directory) => {
            folder(&directory)?;
            directory.canonicalize().map_err(failed(&directory))?
        }
        None => {
            temporary = tempfile::Builder::new()
                .prefix("custodyd-dev-")
                .tempdir()
                .map_err(failed(&env::temp_dir()))?;
            temporary.path().to_owned()
        }
    };
    let path = directory.join("custodyd.toml");
    if !path.exists() {
        set_up(&directory, &path, options.module)?;
    }
    let config = config::read(&path)?;
    if !config.database().exists() {
        init::init(&config, &Appointment::every_role(getuid().as_raw()))?;
    }
    say(&format!(
        "\n\
         A throw-away daemon: never give it a real secret. In another terminal:\n\n\
         export CUSTODY_MANAGER={manager}\n\
         export CUSTODY_PROVIDER={provider}\n\n\
         custodyctl group create web\n\
         printf %s 'correct horse' | custodyctl secret put web/db --type password\n\
         custodyctl grant add web db --uid {uid}{weak}\n\
         custodyctl fetch web/db\n\
         custodyctl journal tail {journal}\n\n\
         Ctrl-C ends it.\n",
        manager = config.manager.display(),
        provider = config.provider.display(),
        uid = getuid(),
        // Every process of root's has what is granted to root.
        weak = if getuid().is_root() {
            " --allow-weak"
        } else {
            ""
        },
        journal = config.journal().display(),
    ));
    log::set_level(config.live.log_level);
    run::run_prepared(config, Mode::Development, Patience::None, ready)
}

fn set_up(directory: &Path, path: &Path, module: Option<PathBuf>) -> Result<(), Failure> {
    let module = module
        .or_else(|| {
            MODULES
                .map(PathBuf::from)
                .into_iter()
                .find(|path| path.exists())
        })
        .ok_or_else(|| {
            Failure::SoftHsm(
                "SoftHSM is not installed where it is looked for; \
                 install softhsm2, or name its module with --module"
                    .to_owned(),
            )
        })?;
    for name in ["token", "state", "run"] {
        folder(&directory.join(name))?;
    }
    let mark = development_mark(&directory.join("state"));
    write(&mark, "of a throw-away daemon\n")?;
    let softhsm = directory.join("softhsm2.conf");
    write(
        &softhsm,
        &format!(
            "directories.tokendir = {}\n\
             objectstore.backend = file\n\
             log.level = ERROR\n\
             slots.removable = false\n",
            directory.join("token").display()
        ),
    )?;
    let pin = random_digits()?;
    let pin_file = directory.join("pin");
    write(&pin_file, &pin)?;
    let serial = make_token(&softhsm, &pin)?;
    write(
        path,
        &format!(
            "# A throw-away daemon's configuration, made by `custodyd dev`.\n\
             state-directory = {state:?}\n\n\
             [listen]\n\
             manager = {manager:?}\n\
             provider = {provider:?}\n\n\
             [token]\n\
             module = {module:?}\n\
             label = {LABEL:?}\n\
             serial = {serial:?}\n\
             pin = {{ file = {pin_file:?} }}\n\
             environment = {{ SOFTHSM2_CONF = {softhsm:?} }}\n",
            state = directory.join("state"),
            manager = directory.join("run/manager.sock"),
            provider = directory.join("run/provider.sock"),
        ),
    )
}

/// Makes a token; says its serial number.
fn make_token(softhsm: &Path, pin: &str) -> Result<String, Failure> {
    let run = |arguments: &[&str]| {
        let output = Command::new("softhsm2-util")
            .args(arguments)
            .env("SOFTHSM2_CONF", softhsm)
            .output()
            .map_err(|error| Failure::SoftHsm(format!("softhsm2-util: {error}")))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            Ok(text)
        } else {
            let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(Failure::SoftHsm(format!(
                "softhsm2-util: {text}{complaint}"
            )))
        }
    };
    // The PIN of a throw-away token is no secret worth a prompt.
    run(&[
        "--init-token",
        "--free",
        "--label",
        LABEL,
        "--so-pin",
        pin,
        "--pin",
        pin,
    ])?;
    let slots = run(&["--show-slots"])?;
    serial_of(&slots).ok_or_else(|| Failure::SoftHsm("the new token is not listed".to_owned()))
}

/// The serial number that `softhsm2-util --show-slots` gives before our label.
fn serial_of(slots: &str) -> Option<String> {
    let mut serial = None;
    for line in slots.lines() {
        match line.trim().split_once(':') {
            Some(("Serial number", value)) => serial = Some(value.trim()),
            Some(("Label", value)) if value.trim() == LABEL => {
                return serial
                    .filter(|serial| !serial.is_empty())
                    .map(str::to_owned);
            }
            _ => {}
        }
    }
    None
}

fn random_digits() -> Result<Zeroizing<String>, Failure> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).map_err(|_| Failure::Random)?;
    Ok(Zeroizing::new(format!("{:020}", u64::from_be_bytes(bytes))))
}

fn folder(path: &Path) -> Result<(), Failure> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(path)(error)),
        _ => Ok(()),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(failed(path))?;
    file.write_all(text.as_bytes()).map_err(failed(path))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Failure + use<'_> {
    move |source| Failure::Folder {
        what: "made",
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_serial_number_is_that_of_our_label() {
        let slots = "Slot 5\n    Token info:\n        Serial number:    aa11\n        \
            Label:            other\nSlot 6\n        Serial number:    bb22\n        \
            Label:            custodyd-dev\nSlot 7\n        Serial number:\n        Label:\n";
        assert_eq!(serial_of(slots).as_deref(), Some("bb22"));
        assert_eq!(serial_of("Slot 7\n Serial number:\n Label:\n"), None);
    }
}
