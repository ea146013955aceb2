//! A custodyd with fixed answers, which can be told to fail first.

mod answers;
mod context;
mod manager;

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsStr,
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
};

use client::v1::{
    self,
    backup_response::Step,
    manager_server::ManagerServer,
    provider_server::{Provider, ProviderServer},
};
use tempfile::TempDir;
use tokio::{net::UnixListener, runtime::Runtime};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use answers::{time, version};

/// What is in every secret here.
pub(crate) const CONTENT: &str = "correct horse battery staple";

pub(crate) struct Daemon {
    pub(crate) folder: TempDir,
    answers: Answers,
    runtime: Runtime,
}

#[derive(Clone, Default)]
struct Answers {
    /// What the next calls fail with, before they succeed.
    failures: Arc<Mutex<VecDeque<Status>>>,
    /// The calls so far.
    calls: Arc<Mutex<Vec<&'static str>>>,
    /// Type of every secret.
    kind: Arc<Mutex<String>>,
    /// How many secrets are listed.
    secrets: Arc<Mutex<u32>>,
    /// Lengths of the fields of the last put.
    put: Arc<Mutex<Vec<(String, usize)>>>,
    /// What `status` says of the journal.
    journal: Arc<Mutex<v1::JournalStatus>>,
    /// What the last of some calls asked for.
    asked: Arc<Mutex<Asked>>,
    /// Whether every grant is found weak.
    weak: Arc<Mutex<bool>>,
    /// Whether there is nothing to find.
    clean: Arc<Mutex<bool>>,
    /// Whether the operator has no role.
    no_role: Arc<Mutex<bool>>,
    /// What `read_journal` sends, before it ends.
    lines: Arc<Mutex<Vec<String>>>,
    /// What each call of `backup` sends, before it ends.
    backups: Arc<Mutex<VecDeque<Vec<Step>>>>,
}

/// What was asked for last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) create_group: Option<v1::CreateGroupRequest>,
    pub(crate) update_group: Option<v1::UpdateGroupRequest>,
    pub(crate) cache: Option<v1::SetCacheRequest>,
    pub(crate) rotate_group: Option<v1::RotateGroupRequest>,
    pub(crate) compromise_key: Option<v1::CompromiseMasterKeyRequest>,
    pub(crate) hold_group: Option<v1::HoldGroupRequest>,
    pub(crate) lose_token: Option<v1::LoseTokenRequest>,
    pub(crate) destroy_key: Option<v1::DestroyMasterKeyRequest>,
    pub(crate) list_groups: Option<v1::ListGroupsRequest>,
    pub(crate) list_secrets: Option<v1::ListSecretsRequest>,
    pub(crate) update_secret: Option<v1::UpdateSecretRequest>,
    /// Description and labels of the last put.
    pub(crate) said: Option<(String, BTreeMap<String, String>)>,
    pub(crate) grant: Option<v1::AddGrantRequest>,
    pub(crate) role: Option<v1::AssignRoleRequest>,
    pub(crate) delete: Option<v1::DeleteSecretRequest>,
    pub(crate) explain: Option<v1::ExplainGrantRequest>,
    pub(crate) consumers: Option<v1::ListConsumersRequest>,
    pub(crate) expiring: Option<v1::ListExpiringRequest>,
    pub(crate) rules: Option<v1::SetRulesRequest>,
    pub(crate) rotate: Option<v1::RotateSecretRequest>,
    pub(crate) fetch: Option<v1::FetchRequest>,
    pub(crate) read: Option<v1::ReadJournalRequest>,
    /// Each put: the name, and the version that must be current.
    pub(crate) puts: Vec<(String, Option<u32>)>,
    /// Each backup that was asked for.
    pub(crate) backups: Vec<v1::BackupRequest>,
}

impl Daemon {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let answers = Answers::default();
        *answers.kind.lock().unwrap() = "password".into();
        *answers.secrets.lock().unwrap() = 1;
        *answers.journal.lock().unwrap() = answers::journal();
        Self {
            runtime: serve(&folder, &answers),
            folder,
            answers,
        }
    }

    /// Ends as if killed, and starts again.
    pub(crate) fn restart(&mut self) {
        let successor = Runtime::new().unwrap();
        std::mem::replace(&mut self.runtime, successor).shutdown_background();
        for socket in SOCKETS {
            fs::remove_file(self.path(socket)).unwrap();
        }
        self.runtime = serve(&self.folder, &self.answers);
    }

    pub(crate) fn failing(failures: impl IntoIterator<Item = Status>) -> Self {
        let daemon = Self::start();
        daemon.fail(failures);
        daemon
    }

    /// Has the next calls fail, before others succeed.
    pub(crate) fn fail(&self, failures: impl IntoIterator<Item = Status>) {
        self.answers.failures.lock().unwrap().extend(failures);
    }

    pub(crate) fn with_kind(kind: &str) -> Self {
        let daemon = Self::start();
        *daemon.answers.kind.lock().unwrap() = kind.into();
        daemon
    }

    /// Lists so many secrets.
    pub(crate) fn hold(&self, secrets: u32) {
        *self.answers.secrets.lock().unwrap() = secrets;
    }

    pub(crate) fn calls(&self) -> Vec<&'static str> {
        self.answers.calls.lock().unwrap().clone()
    }

    pub(crate) fn put(&self) -> Vec<(String, usize)> {
        self.answers.put.lock().unwrap().clone()
    }

    /// Has `status` say this of the journal.
    pub(crate) fn tell(&self, journal: v1::JournalStatus) {
        *self.answers.journal.lock().unwrap() = journal;
    }

    /// Has `read_journal` send this, a message each.
    pub(crate) fn write(&self, lines: impl IntoIterator<Item = String>) {
        *self.answers.lines.lock().unwrap() = lines.into_iter().collect();
    }

    /// Has the next calls of `backup` send this.
    pub(crate) fn back_up(&self, steps: impl IntoIterator<Item = Vec<Step>>) {
        self.answers.backups.lock().unwrap().extend(steps);
    }

    /// Has every grant be found weak, as if in a dry run.
    pub(crate) fn find_fault(&self) {
        *self.answers.weak.lock().unwrap() = true;
    }

    /// Has nothing end, and everything comply.
    pub(crate) fn clean_up(&self) {
        *self.answers.clean.lock().unwrap() = true;
    }

    /// Has the operator hold no role.
    pub(crate) fn take_roles(&self) {
        *self.answers.no_role.lock().unwrap() = true;
    }

    pub(crate) fn asked(&self) -> Asked {
        self.answers.asked.lock().unwrap().clone()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command, set to talk to this daemon; without a terminal.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_custodyctl"));
        command
            .env("CUSTODY_MANAGER", self.path("manager.sock"))
            .env("CUSTODY_PROVIDER", self.path("provider.sock"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: impl IntoIterator<Item: AsRef<OsStr>>) -> Output {
        self.command().args(args).output().unwrap()
    }
}

const SOCKETS: [&str; 2] = ["manager.sock", "provider.sock"];

fn serve(folder: &TempDir, answers: &Answers) -> Runtime {
    let runtime = Runtime::new().unwrap();
    let context = runtime.enter();
    let [manager, provider] = SOCKETS
        .map(|name| UnixListenerStream::new(UnixListener::bind(folder.path().join(name)).unwrap()));
    runtime.spawn(
        Server::builder()
            .add_service(ManagerServer::new(answers.clone()))
            .serve_with_incoming(manager),
    );
    runtime.spawn(
        Server::builder()
            .add_service(ProviderServer::new(answers.clone()))
            .serve_with_incoming(provider),
    );
    drop(context);
    runtime
}

impl Answers {
    fn answer<T>(&self, call: &'static str, answer: T) -> Result<Response<T>, Status> {
        self.calls.lock().unwrap().push(call);
        match self.failures.lock().unwrap().pop_front() {
            Some(status) => Err(status),
            None => Ok(Response::new(answer)),
        }
    }

    fn note(&self, change: impl FnOnce(&mut Asked)) {
        change(&mut self.asked.lock().unwrap());
    }

    fn secret(&self) -> v1::Secret {
        v1::Secret {
            group: "web".into(),
            name: "tls".into(),
            r#type: self.kind.lock().unwrap().clone(),
            created: time(),
            current: Some(version(2)),
            versions: 2,
            previous: Some(1),
            pending: None,
            keep: Some(5),
            description: "the front door".into(),
            labels: answers::labels(),
            found: Vec::new(),
        }
    }
}

type Answered<T> = tokio_stream::Iter<std::vec::IntoIter<Result<T, Status>>>;

#[tonic::async_trait]
impl Provider for Answers {
    type WatchStream = Answered<v1::WatchResponse>;

    async fn fetch(
        &self,
        request: Request<v1::FetchRequest>,
    ) -> Result<Response<v1::FetchResponse>, Status> {
        let kind = self.kind.lock().unwrap().clone();
        let names: &[&str] = match &*kind {
            "keystore" => &["private-key", "certificate-chain"],
            "pair" => &["one", "other"],
            "key-value" => &["DB_PASSWORD", "tls.key"],
            "hidden" => &["password", ".bashrc"],
            "tls-context" => &["keystore", "min-version"],
            _ => &["password"],
        };
        let field = |name: &&str| v1::Field {
            name: (*name).into(),
            value: format!("{name}: {CONTENT}").into(),
        };
        let request = request.into_inner();
        self.note(|asked| asked.fetch = Some(request.clone()));
        let wanted = |name: &&&str| {
            request.fields.is_empty() || request.fields.iter().any(|field| field == **name)
        };
        let documents: Option<&[&str]> = request.format.as_deref().map(|format| match format {
            "pkcs12" if request.password.is_some() => &["keystore.p12"][..],
            "pkcs12" => &["keystore.p12", "password"],
            "pem" => &["certificate-chain.pem", "private-key.pem"],
            "pem-bundle" => &["bundle.pem"],
            _ => &["secret.json"],
        });
        let fields = match documents {
            Some(documents) => documents.iter().map(field).collect(),
            None => names.iter().filter(wanted).map(field).collect(),
        };
        let answer = v1::FetchResponse {
            version: request.version.unwrap_or(2),
            fields,
            r#type: kind,
            receipt: 17,
            format: request.format.clone(),
            parts: match request.unresolved {
                true => Vec::new(),
                false => context::parts(&self.kind.lock().unwrap()),
            },
        };
        self.answer("fetch", answer)
    }

    async fn watch(
        &self,
        _: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let versions = vec![
            Ok(v1::WatchResponse { version: 1 }),
            Ok(v1::WatchResponse { version: 2 }),
            Err(Status::permission_denied("denied")),
        ];
        self.answer("watch", tokio_stream::iter(versions))
    }

    async fn who_am_i(
        &self,
        _: Request<v1::WhoAmIRequest>,
    ) -> Result<Response<v1::WhoAmIResponse>, Status> {
        let answer = v1::WhoAmIResponse {
            evidence: Some(answers::evidence()),
            selectors: answers::selectors(),
        };
        self.answer("who_am_i", answer)
    }
}
