//! A custodyd with fixed answers, which can be told to fail first.

mod answers;
mod context;

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
    manager_server::{Manager, ManagerServer},
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
}

/// What was asked for last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) create_group: Option<v1::CreateGroupRequest>,
    pub(crate) update_group: Option<v1::UpdateGroupRequest>,
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

macro_rules! manager {
    ($($name:ident($this:ident, $request:pat => $type:ident) -> $answer:ident { $value:expr })*) => {
        #[tonic::async_trait]
        impl Manager for Answers {
            type ReadJournalStream = Answered<v1::ReadJournalResponse>;

            async fn read_journal(
                &self,
                request: Request<v1::ReadJournalRequest>,
            ) -> Result<Response<Self::ReadJournalStream>, Status> {
                self.note(|asked| asked.read = Some(request.into_inner()));
                let lines = self.lines.lock().unwrap().clone().into_iter();
                let lines = lines.map(|lines| Ok(v1::ReadJournalResponse { lines }));
                self.answer("read_journal", tokio_stream::iter(lines.collect::<Vec<_>>()))
            }
        $(
            async fn $name(
                &self,
                request: Request<v1::$type>,
            ) -> Result<Response<v1::$answer>, Status> {
                let ($this, $request) = (self, request.into_inner());
                $this.answer(stringify!($name), $value)
            }
        )*}
    };
}

manager! {
    create_group(this, request => CreateGroupRequest) -> Group {{
        this.note(|asked| asked.create_group = Some(request));
        answers::group()
    }}
    list_groups(this, request => ListGroupsRequest) -> ListGroupsResponse {{
        this.note(|asked| asked.list_groups = Some(request));
        v1::ListGroupsResponse { groups: vec![answers::group()], ..Default::default() }
    }}
    get_group(this, _ => GetGroupRequest) -> Group { answers::group() }
    update_group(this, request => UpdateGroupRequest) -> Group {{
        this.note(|asked| asked.update_group = Some(request));
        answers::group()
    }}
    put_secret(this, request => PutSecretRequest) -> Version {{
        let fields = request.fields.iter();
        let lengths = fields.map(|f| (f.name.clone(), f.value.len())).collect();
        *this.put.lock().unwrap() = lengths;
        this.note(|asked| {
            asked.puts.push((request.name.clone(), request.expected));
            asked.said = Some((request.description.clone(), request.labels.clone()));
        });
        version(2)
    }}
    rotate_secret(this, request => RotateSecretRequest) -> Version {{
        this.note(|asked| asked.rotate = Some(request));
        version(3)
    }}
    request_certificate(this, _ => RequestCertificateRequest) -> CertificateRequest {
        answers::request()
    }
    get_certificate_request(this, _ => GetCertificateRequestRequest) -> CertificateRequest {
        answers::request()
    }
    certify_secret(this, _ => CertifySecretRequest) -> Version { version(4) }
    list_secrets(this, request => ListSecretsRequest) -> ListSecretsResponse {{
        let secret = v1::Secret {
            found: request.text.iter().flat_map(|_| [1, 3]).collect(),
            ..this.secret()
        };
        let (of_all, from) = (*this.secrets.lock().unwrap(), request.page_token.parse().unwrap_or(0));
        let to = of_all.min(from + request.page_size);
        let secrets = (from..to).map(|_| secret.clone()).collect();
        let next_page_token = if to < of_all { to.to_string() } else { String::new() };
        this.note(|asked| asked.list_secrets = Some(request));
        v1::ListSecretsResponse { secrets, next_page_token }
    }}
    get_secret(this, _ => GetSecretRequest) -> Secret { this.secret() }
    update_secret(this, request => UpdateSecretRequest) -> Secret {{
        this.note(|asked| asked.update_secret = Some(request));
        this.secret()
    }}
    list_versions(this, _ => ListVersionsRequest) -> ListVersionsResponse {
        v1::ListVersionsResponse { versions: vec![version(1), version(2)], ..Default::default() }
    }
    activate_version(this, _ => ActivateVersionRequest) -> Secret { this.secret() }
    enable_version(this, _ => EnableVersionRequest) -> Version { version(2) }
    disable_version(this, _ => DisableVersionRequest) -> Version {
        v1::Version { state: "disabled".into(), ..version(2) }
    }
    destroy_version(this, _ => DestroyVersionRequest) -> Version {
        v1::Version { state: "doomed".into(), doom: time(), ..version(1) }
    }
    restore_version(this, _ => RestoreVersionRequest) -> Version {
        v1::Version { state: "disabled".into(), ..version(1) }
    }
    delete_secret(this, request => DeleteSecretRequest) -> DeleteSecretResponse {{
        this.note(|asked| asked.delete = Some(request));
        v1::DeleteSecretResponse { versions: 2 }
    }}
    add_grant(this, request => AddGrantRequest) -> AddGrantResponse {{
        this.note(|asked| asked.grant = Some(request.clone()));
        let weak = request.allow_weak || *this.weak.lock().unwrap();
        answers::added(request, weak)
    }}
    list_grants(this, _ => ListGrantsRequest) -> ListGrantsResponse {
        v1::ListGrantsResponse {
            grants: vec![answers::grant(), answers::other_grant()],
            ..Default::default()
        }
    }
    revoke_grant(this, _ => RevokeGrantRequest) -> RevokeGrantResponse {
        v1::RevokeGrantResponse {}
    }
    lint_grants(this, _ => LintGrantsRequest) -> LintGrantsResponse { answers::linted() }
    explain_grant(this, request => ExplainGrantRequest) -> ExplainGrantResponse {{
        this.note(|asked| asked.explain = Some(request));
        answers::explained()
    }}
    suggest_grant(this, _ => SuggestGrantRequest) -> SuggestGrantResponse {
        answers::suggested()
    }
    list_consumers(this, request => ListConsumersRequest) -> ListConsumersResponse {{
        this.note(|asked| asked.consumers = Some(request));
        answers::consumers()
    }}
    list_references(this, _ => ListReferencesRequest) -> ListReferencesResponse {
        answers::references()
    }
    list_expiring(this, request => ListExpiringRequest) -> ListExpiringResponse {{
        this.note(|asked| asked.expiring = Some(request));
        match *this.clean.lock().unwrap() {
            true => v1::ListExpiringResponse::default(),
            false => answers::expiring(),
        }
    }}
    set_rules(this, request => SetRulesRequest) -> SetRulesResponse {{
        this.note(|asked| asked.rules = Some(request.clone()));
        let clean = *this.clean.lock().unwrap();
        let found = if clean { Vec::new() } else { answers::findings() };
        v1::SetRulesResponse { rules: request.rules, findings: found, more: 0 }
    }}
    list_findings(this, _ => ListFindingsRequest) -> ListFindingsResponse {
        match *this.clean.lock().unwrap() {
            true => v1::ListFindingsResponse::default(),
            false => v1::ListFindingsResponse { findings: answers::findings(), more: 2 },
        }
    }
    assign_role(this, request => AssignRoleRequest) -> Role {{
        this.note(|asked| asked.role = Some(request));
        answers::role()
    }}
    list_roles(this, _ => ListRolesRequest) -> ListRolesResponse {
        v1::ListRolesResponse { roles: answers::roles() }
    }
    revoke_role(this, _ => RevokeRoleRequest) -> RevokeRoleResponse {
        v1::RevokeRoleResponse {}
    }
    who_am_i(this, _ => OperatorWhoAmIRequest) -> OperatorWhoAmIResponse {
        v1::OperatorWhoAmIResponse {
            evidence: Some(answers::evidence()),
            selectors: answers::selectors(),
            roles: match *this.no_role.lock().unwrap() {
                true => Vec::new(),
                false => answers::roles(),
            },
        }
    }
    status(this, _ => StatusRequest) -> StatusResponse {
        v1::StatusResponse {
            journal: Some(this.journal.lock().unwrap().clone()),
            ..answers::status()
        }
    }
}

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
