//! The arguments, and what each sub-command does with them.

use std::{error::Error as _, io::Write as _, path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::{
    appoint::{self, Appointment, Selected},
    attest, change_pin, config,
    config::Config,
    dev, doctor, drill, enroll, harden, init, log, restore, run,
};

/// Keeps the keys to secrets in an HSM and delivers the secrets to local services that
/// the kernel vouches for.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
   0  done
   1  unexpected failure
   2  wrong arguments
  10  a drill found that something would be lost
  65  the database, the journal or a backup is not what was written
  69  the token is not usable now, or is refused by `hsm doctor`, or keeps its PIN
  70  the process that looks at callers ended
  73  there is something in the way of `init`, `restore` or `hsm enroll`
  77  the PIN was refused, and is not tried again
  78  the configuration or the installation is not usable";

/// Where the configuration is when nothing else is said.
pub(crate) const CONFIG: &str = "/etc/custodyd/custodyd.toml";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve, until told to stop by SIGTERM or SIGINT; SIGHUP reads the configuration again.
    ///
    /// A token that is not there, or does not answer yet, is waited for: requests are answered
    /// with UNAVAILABLE meanwhile, and readiness is told when it serves. Not if the PIN comes from a
    /// descriptor or the terminal, which can be asked once.
    Run {
        /// The configuration.
        #[arg(value_name = "FILE", default_value = CONFIG)]
        config: PathBuf,
        /// Do not wait for the token: end with exit code 69.
        #[arg(long)]
        no_wait: bool,
    },
    /// Make the system's keys in the token, and an empty database and journal. Once.
    ///
    /// Run it as the daemon's user. It prints what it made, and gives the first roles, which
    /// the daemon needs to have: without a crypto officer nobody could do anything.
    Init {
        /// The configuration.
        #[arg(value_name = "FILE", default_value = CONFIG)]
        config: PathBuf,
        /// The crypto officer, who makes groups and gives roles, this one and every other:
        /// selectors, all of which such an operator satisfies, such as unix:user:alice. Names
        /// are looked up now, and not again.
        #[arg(long, value_name = "SELECTOR[,SELECTOR…]", required = true)]
        crypto_officer: Selected,
        /// Give another role, too, for every group, such as auditor=unix:user:bob. Better leave
        /// that to the crypto officer, who can give it for one group.
        #[arg(long, value_name = "ROLE=SELECTOR[,SELECTOR…]")]
        appoint: Vec<Appointment>,
    },
    /// Give a role without a crypto officer; the daemon must be stopped.
    ///
    /// The way back in when no crypto officer can be had. Run it as the daemon's user: it
    /// takes the state directory, the token and its PIN. The journal keeps it, as done by no
    /// operator. What a role is good for: custodyctl role assign --help.
    Appoint {
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = CONFIG)]
        config: PathBuf,
        /// The role, and the selectors that such an operator satisfies, such as
        /// crypto-officer=unix:user:alice.
        #[arg(value_name = "ROLE=SELECTOR[,SELECTOR…]", required = true)]
        appointments: Vec<Appointment>,
    },
    /// Put a backup in the place of a state that was lost; the daemon must be stopped.
    ///
    /// Run it as the daemon's user, with the token. The state directory must be empty. Nothing
    /// is there before all of the backup is verified, and the token has opened its database;
    /// killed at any moment, it leaves all of it or nothing. What came after the backup is
    /// gone: the journal says that it was restored, and goes on from there.
    Restore {
        /// The backup, as custodyctl backup save made it.
        #[arg(value_name = "BACKUP")]
        backup: PathBuf,
        /// The configuration.
        #[arg(value_name = "FILE", default_value = CONFIG)]
        config: PathBuf,
        /// The journal key's public half, in PEM, that the backup must be signed by.
        #[arg(long, value_name = "KEY")]
        public_key: Option<PathBuf>,
    },
    /// Prove on a token that everything in a backup opens, and release none of it.
    ///
    /// Verifies the backup, has the token open every key, data key and content in it, and says
    /// what would be lost. It needs no daemon, and may run beside one. Ends with 10 if anything
    /// would be lost.
    Drill(drill::Options),
    /// Read a configuration, touch nothing, and say what is wrong with it.
    Check {
        /// The configuration.
        #[arg(value_name = "FILE", default_value = CONFIG)]
        config: PathBuf,
    },
    /// Examine the token, put one into a configuration, or change its PIN.
    #[command(subcommand)]
    Hsm(Hsm),
    /// Run a throw-away daemon on a SoftHSM token of its own. Never for real secrets.
    Dev(dev::Options),
    /// Write the manual pages into a folder.
    #[command(hide = true)]
    Man {
        /// The folder.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Hold the token. Started by the daemon itself.
    #[command(hide = true)]
    HsmWorker,
    /// Examine a token. Started by 'hsm doctor', 'hsm enroll' and 'hsm change-pin'.
    #[command(hide = true)]
    HsmDoctor,
    /// Look at callers. Started by the daemon itself.
    #[command(hide = true)]
    Attestor,
}

#[derive(Debug, Subcommand)]
enum Hsm {
    /// Try everything that custodyd wants of the token, and say what to do about what is amiss.
    ///
    /// Ways to wrap and to sign are tried with known answers and on altered data, keys are tried to be
    /// taken out, attributes are read back; sessions, flags of the PIN, the clock and the
    /// permissions of files are looked at. Nothing is left in the token, which is logged into
    /// once, and not at all if it says that a wrong PIN was entered or the daemon's note says
    /// that it was refused. The library runs in a process of its own: one that hangs or crashes is a
    /// finding. Run it as the daemon's user; the daemon may run meanwhile.
    ///
    /// Ends with exit code 69 if anything is refused.
    Doctor(doctor::Options),
    /// Find a token, examine it like 'doctor', and write its label and serial number into a
    /// configuration.
    ///
    /// Of several tokens none is chosen: --label and --serial do. A new configuration is the
    /// example that comes with custodyd, with this token in it. A token that 'doctor' would refuse is not
    /// written down. --print writes nothing; where root writes the configuration and the
    /// daemon's user has the token, run it as that user and put what it prints in place.
    Enroll(enroll::Options),
    /// Have the token change its PIN to the one at token.next-pin, and prove that by a login.
    ///
    /// Name the next PIN in the configuration and reload custodyd before: it logs that the next
    /// PIN is there. Then run this as the daemon's user, beside a custodyd that serves; no request
    /// fails. Logins are with the PIN that the token has, also if this is killed in the middle:
    /// what it did is on record in the state directory. If it is then not known whether the token
    /// has changed its PIN, the next one is tried, once, and no other until an operator has
    /// removed pin-refused.
    ChangePin(change_pin::Options),
}

impl Arguments {
    pub(crate) fn run(self) -> ExitCode {
        let outcome = match self.command {
            Command::Run { config, no_wait } => {
                let patience = match no_wait {
                    true => run::Patience::None,
                    false => run::Patience::Wait,
                };
                read(&config).and_then(|read| run::run(read, patience))
            }
            Command::Init {
                config,
                crypto_officer,
                mut appoint,
            } => {
                appoint.insert(0, crypto_officer.into_officer());
                read(&config).and_then(|read| init::init(&read, &appoint))
            }
            Command::Appoint {
                config,
                appointments,
            } => read(&config).and_then(|read| appoint::appoint(&read, &appointments)),
            Command::Restore {
                backup,
                config,
                public_key,
            } => read(&config)
                .and_then(|read| restore::restore(&read, &backup, public_key.as_deref())),
            Command::Drill(options) => {
                read(&options.config).and_then(|read| drill::drill(&read, &options))
            }
            Command::Check { config } => read(&config).map(|_| {
                say(&format!("{} is fine", config.display()));
            }),
            Command::Hsm(Hsm::Doctor(options)) => doctor::doctor(&options),
            Command::Hsm(Hsm::Enroll(options)) => enroll::enroll(&options),
            Command::Hsm(Hsm::ChangePin(options)) => change_pin::change_pin(&options),
            Command::Dev(options) => dev::dev(options),
            Command::Man { directory } => clap_mangen::generate_to(Self::command(), &directory)
                .map_err(|source| run::Failure::Folder {
                    what: "written to",
                    path: directory,
                    source,
                }),
            Command::Attestor => {
                log_like_the_daemon();
                return attest::helper::attestor();
            }
            Command::HsmWorker => {
                log_like_the_daemon();
                harden::process();
                return hsm::worker();
            }
            Command::HsmDoctor => {
                log_like_the_daemon();
                harden::process();
                return hsm::doctor();
            }
        };
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                complain(&failure);
                failure.exit_code()
            }
        }
    }
}

fn log_like_the_daemon() {
    log::install(
        log::Format::from_environment(),
        log::Level::from_environment(),
    );
}

fn read(path: &std::path::Path) -> Result<Config, run::Failure> {
    Ok(config::read(path)?)
}

/// Prints for whoever started the command.
pub(crate) fn say(text: &str) {
    // Nobody may be listening; that is no reason to fail.
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

fn complain(failure: &run::Failure) {
    let mut text = format!("custodyd: {failure}");
    let mut source = failure.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}
