//! `custodyd drill`: proves on a token that everything in a backup opens. Nothing is released, and
//! no daemon's state is touched.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use clap::Args;
use custody::{
    backup::Sealed,
    drill::{Case, Trial},
    holder::TokenId,
    name::{GroupName, KeyId, VersionId},
    state::{State, view::GroupView},
    store::Store as _,
    trustee::Trustee,
};
use hsm::{KnownKey, PinSource, TokenSelector};
use indicatif::ProgressBar;
use tokio::task::JoinSet;

use crate::{
    cli::say,
    config::{self, Config},
    harden, log, progress,
    run::{self, Failure, prove},
    store::Sqlite,
    unpack::{Wanted, failed, unpack},
};

mod report;

use report::{Group, Key, Lost, Report};

/// How long to wait before a token that does not answer is asked again.
const PAUSE: Duration = Duration::from_millis(250);

/// What is tried, and on which token.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The configuration, of which the token and the state directory count; of that, only what
    /// is noted of refused PINs is looked at.
    #[arg(value_name = "FILE", default_value = crate::cli::CONFIG)]
    pub(crate) config: PathBuf,
    /// The backup.
    #[arg(long, value_name = "FILE")]
    backup: PathBuf,
    /// The journal key's public half, in PEM, that the backup must be signed by.
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// Another token than the configuration's, such as 'pkcs11:token=custody;serial=1234'.
    #[arg(long, value_name = "URI")]
    token: Option<TokenSelector>,
    /// The PKCS#11 library of that token.
    #[arg(long, value_name = "PATH")]
    module: Option<PathBuf>,
    /// A file with that token's PIN, which only its owner may read.
    #[arg(long, value_name = "PATH")]
    pin_file: Option<PathBuf>,
    /// Print the report as a JSON document.
    #[arg(long)]
    json: bool,
}

impl Options {
    /// The token to try it on.
    fn settings(&self, config: &Config) -> hsm::Settings {
        let is_meant = |token: &config::Token| Some(&token.selector) == self.token.as_ref();
        let known = config.tokens.iter().position(is_meant);
        let mut settings = config.with_one_worker().worker(known.unwrap_or(0));
        settings.keeps_pins = false;
        if let Some(token) = &self.token {
            settings.token = token.clone();
            settings.pin_latch = config.latch(token);
        }
        if let Some(module) = &self.module {
            settings.module.clone_from(module);
        }
        if let Some(file) = &self.pin_file {
            settings.pin = PinSource::File(file.clone());
            settings.next_pin = None;
        }
        settings
    }
}

/// Tries everything, and prints what opens and what would be lost.
pub(crate) fn drill(config: &Config, options: &Options) -> Result<(), Failure> {
    log::install(config.log_format, config.live.log_level);
    harden::process();
    // Readable by its owner only, as what is put there.
    let folder = tempfile::tempdir().map_err(failed("made", Path::new("a temporary folder")))?;
    let key = options.public_key.as_deref();
    let sealed = unpack(&options.backup, key, folder.path(), Wanted::Database)?;
    let mut database = Sqlite::open(&folder.path().join("custody.db"))?;
    let settings = options.settings(config);
    let report = run::runtime()?.block_on(examine(&sealed, &mut database, settings))?;
    say(&match options.json {
        true => report.json(),
        false => report.text(),
    });
    match report.lost() {
        None => Ok(()),
        Some(lost) => Err(Failure::Lost(lost)),
    }
}

async fn examine(
    sealed: &Sealed,
    database: &mut Sqlite,
    settings: hsm::Settings,
) -> Result<Report, Failure> {
    let began = Instant::now();
    let (system, tag) = prove::system_row(database)?;
    let at_once = settings.sessions.get() * 2;
    let patience = settings.start_deadline;
    let client = hsm::Client::start(settings).await?;
    let trustee = trustee_of(&client, prove::trustees(database, &system)?);
    let trustee = trustee.unwrap_or_else(|| Trustee::first(&system));
    let token = Token {
        patience,
        hsm: client,
        system_gmk: trustee.gmk,
        refused: Arc::default(),
    };
    let hsm = &token.hsm;
    let mut report = Report::of(sealed, &hsm.token());
    let mut can_open = true;
    for (purpose, key) in [
        ("system", prove::system_gmk(&trustee)),
        ("journal", prove::journal_key(&trustee)),
    ] {
        let id = key.id;
        let problem = token.load(key).await?;
        // A row key that anybody could have wrapped is signed by the journal key.
        let is_needed = purpose == "system" || trustee.wrapping.is_public();
        can_open &= !is_needed || problem.is_none();
        report.system.push(Key::of_system(purpose, id, problem));
    }
    // Without the row key nothing in the database can be believed, let alone opened.
    if can_open {
        let row_key = prove::row_key(hsm, &system.instance, &trustee).await?;
        let state = prove::load_state(database, row_key, &system, tag)?;
        prove::is_at(&state, &sealed.manifest().settled)?;
        let drill = Drill {
            bar: progress::things("opening", count(&state)),
            token: token.clone(),
            id: trustee.token.clone(),
            at_once,
        };
        for group in state.groups() {
            let tried = drill.group(&state, group, database).await?;
            report.groups.push(tried);
        }
        drill.bar.finish_and_clear();
    }
    hsm.stop().await;
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}

/// The keys of the installation that the token has, by its name. A clone has another name.
fn trustee_of(client: &hsm::Client, trustees: Vec<Trustee>) -> Option<Trustee> {
    let token = client.token();
    let id = TokenId::new(&token.label, &token.serial);
    trustees.into_iter().find(|trustee| trustee.token == id)
}

/// How many versions there are to try.
fn count(state: &State) -> u64 {
    let groups = state.groups();
    let counts = groups.map(|group| state.cases(&group.row().name).count() as u64);
    counts.sum()
}

struct Drill {
    token: Token,
    /// By this name the database knows which master keys it has.
    id: TokenId,
    bar: ProgressBar,
    /// How many versions are tried at the same time.
    at_once: usize,
}

/// What became of a version.
type Outcome = Result<(), String>;

impl Drill {
    async fn group(
        &self,
        state: &State,
        group: GroupView<'_>,
        database: &mut Sqlite,
    ) -> Result<Group, Failure> {
        let name = &group.row().name;
        let (mut own, mut keys) = (BTreeSet::new(), Vec::new());
        for key in group.living_keys().filter(|key| key.token == self.id) {
            let problem = self.token.load(prove::group_key(key)).await?;
            keys.push(Key::of_group(key, problem));
            own.insert(key.id);
        }
        let mut tried = Group::of(name, keys);
        let outcomes = self.versions(state, name, &own, database).await?;
        for (version, (is_current, outcome)) in outcomes {
            tried.versions += 1;
            match outcome {
                Ok(()) => tried.open += 1,
                Err(problem) => tried.lost.push(Lost {
                    version: version.number,
                    secret: version.secret.name.to_string(),
                    current: is_current,
                    problem,
                }),
            }
        }
        Ok(tried)
    }

    /// What became of each version of a group, and whether it is the current one. Only the token's
    /// `own` keys are tried: it knows no other.
    async fn versions(
        &self,
        state: &State,
        group: &GroupName,
        own: &BTreeSet<KeyId>,
        database: &mut Sqlite,
    ) -> Result<BTreeMap<VersionId, (bool, Outcome)>, Failure> {
        let mut tried = BTreeMap::new();
        let mut trying = JoinSet::new();
        for case in state.cases(group) {
            if trying.len() >= self.at_once {
                self.note(&mut trying, &mut tried).await?;
            }
            let (version, is_current) = (case.version().clone(), case.is_current());
            match trials(case, database) {
                Ok(mut trials) => {
                    trials.retain(|trial| own.contains(trial.gmk()));
                    let token = self.token.clone();
                    trying.spawn(async move {
                        let outcome = token.open_any(trials).await?;
                        Ok((version, (is_current, outcome)))
                    });
                }
                Err(Unreadable::Wrong(problem)) => {
                    self.bar.inc(1);
                    tried.insert(version, (is_current, Err(problem)));
                }
                Err(Unreadable::Failed(failure)) => return Err(failure),
            }
        }
        while !trying.is_empty() {
            self.note(&mut trying, &mut tried).await?;
        }
        Ok(tried)
    }

    async fn note<T: 'static>(
        &self,
        trying: &mut JoinSet<Result<(VersionId, T), hsm::Error>>,
        tried: &mut BTreeMap<VersionId, T>,
    ) -> Result<(), Failure> {
        if let Some(outcome) = trying.join_next().await {
            let outcome = outcome.map_err(|error| Failure::Runtime(error.into()))?;
            tried.extend([outcome?]);
            self.bar.inc(1);
        }
        Ok(())
    }
}

/// Why there is nothing to try.
enum Unreadable {
    /// What is stored is not what was written.
    Wrong(String),
    /// The database does not answer.
    Failed(Failure),
}

fn trials(case: Case, database: &mut Sqlite) -> Result<Vec<Trial>, Unreadable> {
    let stored = match database.content(case.version()) {
        Err(error) if error.is_bad_data() => return Err(Unreadable::Wrong(error.to_string())),
        stored => stored.map_err(|error| Unreadable::Failed(error.into()))?,
    };
    let trials = case.with(stored.as_ref());
    trials.map_err(|tampered| Unreadable::Wrong(tampered.to_string()))
}

/// The token, which may be in trouble for a while.
#[derive(Clone)]
struct Token {
    hsm: hsm::Client,
    system_gmk: KeyId,
    /// How long it is asked again when it does not answer.
    patience: Duration,
    /// Keys that it was asked for in vain, and why.
    refused: Arc<Mutex<HashMap<KeyId, String>>>,
}

impl Token {
    /// Loads a key; says why it is refused, if it is.
    ///
    /// # Errors
    ///
    /// If the token does not answer, or answers so to whatever it is asked.
    async fn load(&self, key: KnownKey) -> Result<Option<String>, Failure> {
        let id = key.id;
        let Err(error) = self.persist(|| self.hsm.load(key.clone())).await else {
            return Ok(None);
        };
        match self.hsm.refused(&id) {
            Some(problem) if !error.may_pass() || self.is_well().await => {
                self.give_up(id, &problem);
                Ok(Some(problem))
            }
            _ => Err(error.into()),
        }
    }

    fn give_up(&self, id: KeyId, problem: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.insert(id, problem.to_owned());
    }

    fn given_up(&self, id: &KeyId) -> Option<String> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get(id).cloned()
    }

    /// Whether it does what another key is there for.
    async fn is_well(&self) -> bool {
        self.hsm.check_canary(&self.system_gmk).await.is_ok()
    }

    /// Whether one of the trials of a version opens; why none does.
    ///
    /// # Errors
    ///
    /// If the token does not answer.
    async fn open_any(&self, trials: Vec<Trial>) -> Result<Outcome, hsm::Error> {
        let mut problems = Vec::new();
        for trial in trials {
            let gmk = *trial.gmk();
            if let Some(problem) = self.given_up(&gmk) {
                problems.push(problem);
                continue;
            }
            let unwrap = async || {
                let opened = self.hsm.unwrap_dek(trial.clone(), &gmk).await;
                opened.map_err(|unopened| unopened.error)
            };
            match self.persist(unwrap).await {
                Ok(Some(_)) => return Ok(Ok(())),
                Ok(None) => problems.push("what opens is no content of a secret".to_owned()),
                Err(error) if error.is_bad_data() => problems.push(error.to_string()),
                // It was good before, and may be so again after trouble; but not for ever.
                Err(error) if error.is_of_one_key() && self.is_well().await => {
                    let refused = self.hsm.refused(&gmk);
                    let problem = refused.unwrap_or_else(|| error.to_string());
                    self.give_up(gmk, &problem);
                    problems.push(problem);
                }
                Err(error) => return Err(error),
            }
        }
        if problems.is_empty() {
            problems.push("its data key is wrapped by no key of this token".to_owned());
        }
        Ok(Err(problems.join("; ")))
    }

    /// Asks again while it may be the token, and not what it is asked.
    async fn persist<T, F>(&self, mut ask: impl FnMut() -> F) -> Result<T, hsm::Error>
    where
        F: Future<Output = Result<T, hsm::Error>>,
    {
        let end = Instant::now() + self.patience;
        loop {
            match ask().await {
                Err(error) if error.may_pass() && Instant::now() < end => {
                    tokio::time::sleep(PAUSE).await;
                }
                answer => return answer,
            }
        }
    }
}
