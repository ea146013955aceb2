//! `custodyd init`: the system's keys in the token, an empty database and journal.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use comfy_table::{Table, presets::NOTHING};
use custody::{
    envelope::{Form, PlaintextDek},
    journal::{
        Event,
        change::{Appointed, Change},
        signing::Signing,
    },
    name::InstanceId,
    role::Assignment,
    row::{Row, RowKey, System},
    state::{State, edit::Edit},
    store::Store as _,
};

use crate::{
    appoint::{self, Appointment, assignments},
    cli::say,
    config::Config,
    custodian::now,
    harden,
    journal::Segments,
    log, row_key,
    run::{self, Failure},
    store::Sqlite,
};

/// Number of the change that `init` is.
const FIRST: u64 = 1;

/// How the names of folders begin in which an installation is being made.
const ASIDE: &str = ".init-";

/// Makes everything that a daemon needs to start, and prints what it made.
pub(crate) fn init(config: &Config, appointments: &[Appointment]) -> Result<(), Failure> {
    log::install(config.log_format, config.live.log_level);
    harden::process();
    let _lock = run::own(&config.state_directory)?;
    if config.database().exists() {
        return Err(Failure::Initialised(config.database()));
    }
    if config.journal().exists() {
        return Err(Failure::NoDatabase(config.journal()));
    }
    let roles = assignments(appointments)?;
    remove_unfinished(&config.state_directory)?;
    let system = run::runtime()?.block_on(make(config, &roles))?;
    let signing = run::prove::public_key(&system)?.signing();
    say(&describe(config, &system, signing, &roles).to_string());
    Ok(())
}

async fn make(config: &Config, roles: &[Assignment]) -> Result<System, Failure> {
    let mut settings = config.with_one_worker().worker(0);
    // Nobody else waits for the token, and a pair of RSA keys may take it long to make.
    settings.deadline = settings.deadline.max(settings.start_deadline);
    let hsm = hsm::Client::start(settings).await?;
    let made = make_keys(&hsm).await;
    hsm.stop().await;
    let (system, row_key) = made?;
    write(config, &system, row_key, roles)?;
    Ok(system)
}

async fn make_keys(hsm: &hsm::Client) -> Result<(System, RowKey), Failure> {
    let instance = InstanceId::random().map_err(|_| Failure::Random)?;
    let gmk = hsm.generate_gmk("custodyd system").await?;
    let journal_key = hsm.generate_journal_key("custodyd journal").await?;
    let row_key = PlaintextDek::generate().map_err(|_| Failure::Random)?;
    let wrapped = row_key::wrap(hsm, &instance, (&gmk, &journal_key), &row_key).await?;
    let token = hsm.token();
    let system = System {
        instance,
        gmk: gmk.id,
        wrapping: gmk.wrapping,
        canary: gmk.canary,
        row_key: wrapped,
        journal_key: journal_key.id,
        journal_public_key: journal_key.public_key,
        token_label: token.label,
        token_serial: token.serial,
        created: now(),
    };
    Ok((system, RowKey::take(row_key)))
}

/// Removes what an earlier `init` that was killed has written aside. The lock is ours, so
/// none is at it.
fn remove_unfinished(state: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(state).map_err(failed("read", state))? {
        let entry = entry.map_err(failed("read", state))?;
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(ASIDE.as_bytes())
        {
            fs::remove_dir_all(entry.path()).map_err(failed("removed", &entry.path()))?;
        }
    }
    Ok(())
}

/// Writes everything aside, and moves the database to its place last: a daemon starts
/// on all of it, or on nothing.
fn write(
    config: &Config,
    system: &System,
    row_key: RowKey,
    roles: &[Assignment],
) -> Result<(), Failure> {
    let aside = tempfile::Builder::new()
        .prefix(ASIDE)
        .tempdir_in(&config.state_directory)
        .map_err(failed("written to", &config.state_directory))?;
    let origin = run::prove::origin(system)?;
    let public_key = origin.public_key.clone();
    let journal = aside.path().join("journal");
    let mut segments = Segments::create(&journal, origin, config.segment_size)?;

    let database = aside.path().join("custody.db");
    let mut sqlite = Sqlite::make(&database)?;
    sqlite.create(system, row_key.system_tag(system))?;
    let edit = Edit {
        puts: roles.iter().cloned().map(Row::Assignment).collect(),
        ..Edit::default()
    };
    let plan = State::empty(row_key).plan(edit, FIRST);
    sqlite.apply(&plan)?;
    sqlite.close()?;
    segments.append(&[
        Event::Prepare {
            number: FIRST,
            operator: None,
            change: Change::Init {
                system_key: system.gmk,
                journal_key: system.journal_key,
                roles: roles.iter().map(Appointed::of).collect(),
            },
            state: hex::encode(plan.digest.as_bytes()),
        },
        Event::Commit { number: FIRST },
    ])?;
    drop(segments);

    write_public_key(&config.public_key(), &public_key)?;
    for (from, to) in [(journal, config.journal()), (database, config.database())] {
        fs::rename(&from, &to).map_err(failed("put in its place", &to))?;
    }
    let folder = fs::File::open(&config.state_directory);
    folder
        .and_then(|folder| folder.sync_all())
        .map_err(failed("synchronised", &config.state_directory))
}

/// Writes the journal key's public half.
pub(crate) fn write_public_key(path: &Path, pem: &str) -> Result<(), Failure> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(path)
        .map_err(failed("made", path))?;
    file.write_all(pem.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed("written", path))
}

fn failed<'a>(
    what: &'static str,
    path: &'a Path,
) -> impl FnOnce(std::io::Error) -> Failure + use<'a> {
    move |source| Failure::Folder {
        what,
        path: path.to_owned(),
        source,
    }
}

fn describe(config: &Config, system: &System, signing: Signing, roles: &[Assignment]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    let path = |path: PathBuf| path.display().to_string();
    let token = format!("{} (serial {})", system.token_label, system.token_serial);
    let kind = match system.wrapping.form() {
        Form::Key => "AES-256",
        Form::Twins => "AES-256 and HMAC-SHA-256",
        Form::Pair => "RSA",
    };
    let gmk = format!(
        "{kind}, CKA_ID {}, wraps by {}",
        system.gmk, system.wrapping
    );
    let journal_key = format!("CKA_ID {}, signs by {signing}", system.journal_key);
    table.add_rows([
        ["installation", &system.instance.to_string()],
        ["token", &token],
        ["system GMK", &gmk],
        ["journal key", &journal_key],
        ["its public half", &path(config.public_key())],
        ["database", &path(config.database())],
        ["journal", &path(config.journal())],
    ]);
    for held in roles {
        table.add_row([held.role.name(), &appoint::list(held.selectors.as_slice())]);
    }
    table
}
