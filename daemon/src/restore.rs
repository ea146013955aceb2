//! `custodyd restore`: a backup becomes the state of a daemon, all of it or nothing.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use comfy_table::{Table, presets::NOTHING};
use custody::{backup::Manifest, journal::Event};
use nix::unistd::getuid;

use crate::{
    cli::say,
    config::Config,
    harden,
    init::write_public_key,
    journal::Segments,
    log,
    run::{self, Failure, prove},
    store::Sqlite,
    tokens::Tokens,
    unpack::{Wanted, failed, unpack},
};

/// How the names of folders begin in which a restore is being prepared.
const ASIDE: &str = ".restore-";

/// The folder of a restore that is complete, and on its way to its place.
const READY: &str = "restored";

/// What is moved from there, the database last.
const PARTS: [&str; 4] = ["journal", "journal.pub", "usage.json", DATABASE];
const DATABASE: &str = "custody.db";

/// What may be there before: what was noted of logins to the token.
const NOTES: &str = "pin-refused";

/// Restores the backup at `path`, and prints what it was.
pub(crate) fn restore(config: &Config, path: &Path, key: Option<&Path>) -> Result<(), Failure> {
    log::install(config.log_format, config.live.log_level);
    harden::process();
    let state = &config.state_directory;
    let _lock = run::own(state)?;
    clear(state)?;
    let aside = tempfile::Builder::new()
        .prefix(ASIDE)
        .tempdir_in(state)
        .map_err(failed("written to", state))?;
    let sealed = unpack(path, key, aside.path(), Wanted::All)?;
    let manifest = sealed.manifest();
    run::runtime()?.block_on(prove_all(config, aside.path(), manifest))?;
    let mut segments = Segments::open(&aside.path().join("journal"), config.segment_size)?;
    segments.append(&[Event::Restore {
        backup: manifest.backup,
        manifest: sealed.hash(),
        made: manifest.created.clone(),
        uid: getuid().as_raw(),
    }])?;
    drop(segments);
    write_public_key(&aside.path().join("journal.pub"), &manifest.public_key)?;
    sync(aside.path())?;

    let ready = state.join(READY);
    fs::rename(aside.keep(), &ready).map_err(failed("put in its place", &ready))?;
    // From here on whoever comes next finishes it.
    sync(state)?;
    finish(state)?;
    say(&describe(manifest).to_string());
    Ok(())
}

/// Makes sure that nothing is there, but for what an earlier attempt left, which is removed.
fn clear(state: &Path) -> Result<(), Failure> {
    let mut left = Vec::new();
    for entry in fs::read_dir(state).map_err(failed("read", state))? {
        let entry = entry.map_err(failed("read", state))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(ASIDE) {
            left.push(entry.path());
        } else if !name.starts_with(NOTES) {
            return Err(Failure::NotEmpty(entry.path()));
        }
    }
    for path in left {
        fs::remove_dir_all(&path).map_err(failed("removed", &path))?;
    }
    Ok(())
}

/// Has the token prove that the database in `folder` is of its installation, and of the moment
/// that `manifest` says: a daemon will start on it.
async fn prove_all(config: &Config, folder: &Path, manifest: &Manifest) -> Result<(), Failure> {
    let mut database = Sqlite::open(&folder.join(DATABASE))?;
    let (system, tag) = prove::system_row(&mut database)?;
    let origin = prove::origin(&system)?;
    if (origin.instance, &origin.public_key) != (manifest.instance, &manifest.public_key) {
        return Err(Failure::Tampered(
            "the database and the manifest are of two installations".to_owned(),
        ));
    }
    let trustees = prove::trustees(&mut database, &system)?;
    let tokens = Tokens::seek(
        config.with_one_worker().workers(),
        &trustees,
        &prove::lost(&mut database)?,
        config.reads,
    );
    let row_key = match tokens.arrived(&trustees, &mut 0).await {
        Ok((token, trustee)) => prove::row_key(&token, &system.instance, trustee).await,
        Err(error) => Err(error.into()),
    };
    tokens.stop().await;
    let state = prove::load_state(&mut database, row_key?, &system, tag);
    prove::is_at(&state?, &manifest.settled)?;
    // The file stands alone again.
    Ok(database.close()?)
}

/// Moves what a restore has made ready in the state directory to its place, if there is any.
pub(crate) fn finish(state: &Path) -> Result<(), Failure> {
    let ready = state.join(READY);
    if !ready.exists() {
        return Ok(());
    }
    for part in PARTS {
        let to = state.join(part);
        match fs::rename(ready.join(part), &to) {
            // It is there already, or was not in the backup.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved.map_err(failed("put in its place", &to))?,
        }
    }
    sync(state)?;
    fs::remove_dir(&ready).map_err(failed("removed", &ready))?;
    tracing::info!("a backup was restored");
    Ok(())
}

fn sync(folder: &Path) -> Result<(), Failure> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(failed("synchronised", folder))
}

fn describe(manifest: &Manifest) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    let token = format!(
        "{} (serial {})",
        manifest.token_label, manifest.token_serial
    );
    table.add_rows([
        ["restored", &manifest.backup.to_string()],
        ["installation", &manifest.instance.to_string()],
        ["made", &manifest.created],
        ["token", &token],
        ["change", &manifest.settled.number.to_string()],
        ["journal to", &manifest.journal.seq.to_string()],
    ]);
    table
}
