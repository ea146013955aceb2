//! A custodyd with fixed answers, which can be told to fail first.

use std::{
    collections::VecDeque,
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
    /// Lengths of the fields of the last put.
    put: Arc<Mutex<Vec<(String, usize)>>>,
    /// What `status` says of the journal.
    journal: Arc<Mutex<v1::JournalStatus>>,
}

impl Daemon {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let answers = Answers::default();
        *answers.kind.lock().unwrap() = "password".into();
        *answers.journal.lock().unwrap() = journal();
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
        daemon.answers.failures.lock().unwrap().extend(failures);
        daemon
    }

    pub(crate) fn with_kind(kind: &str) -> Self {
        let daemon = Self::start();
        *daemon.answers.kind.lock().unwrap() = kind.into();
        daemon
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

    fn secret(&self) -> v1::Secret {
        v1::Secret {
            group: "web".into(),
            name: "tls".into(),
            r#type: self.kind.lock().unwrap().clone(),
            created: time(),
            current: Some(version(2)),
            versions: 2,
        }
    }
}

fn time() -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp {
        seconds: 1_767_323_045,
        nanos: 6,
    })
}

fn version(number: u32) -> v1::Version {
    v1::Version {
        number,
        created: time(),
        created_by: 1000,
        size: 3072,
        properties: vec![v1::Property {
            name: "subject".into(),
            value: "CN=example\x1b[31m.org".into(),
        }],
        master_keys: vec!["00112233445566778899aabbccddeeff".into()],
    }
}

fn group() -> v1::Group {
    v1::Group {
        name: "web".into(),
        description: "front ends".into(),
        created: time(),
        master_keys: vec![v1::MasterKey {
            id: "00112233445566778899aabbccddeeff".into(),
            generation: 1,
            state: "active".into(),
            wrapping: "aes-256-gcm".into(),
            token_label: "custody".into(),
            token_serial: "0123".into(),
            created: time(),
            refused: None,
        }],
        secrets: 1,
        grants: 1,
    }
}

fn grant() -> v1::Grant {
    v1::Grant {
        id: "0011223344556677".into(),
        group: "web".into(),
        pattern: "tls*".into(),
        selectors: vec!["unix:uid:33".into(), "systemd:id:nginx.service".into()],
        created: time(),
        created_by: 1000,
    }
}

fn status() -> v1::StatusResponse {
    v1::StatusResponse {
        version: "0.1.0".into(),
        instance: "00112233445566778899aabbccddeeff".into(),
        started: time(),
        development: true,
        token: Some(v1::TokenStatus {
            label: "custody".into(),
            serial: "0123".into(),
            manufacturer: "SoftHSM project".into(),
            model: "SoftHSM v2".into(),
            module: "/usr/lib/softhsm/libsofthsm2.so".into(),
            state: "failed".into(),
            problem: Some("the token is not there".into()),
            worker_generation: 3,
        }),
        journal: None,
        groups: 1,
        secrets: 1,
        grants: 1,
        memory_locked: false,
    }
}

fn journal() -> v1::JournalStatus {
    v1::JournalStatus {
        sequence: 17,
        hash: "ab".repeat(32),
        checkpoint: Some(12),
        public_key: "-----BEGIN PUBLIC KEY-----\n".into(),
        directory: "/var/lib/custodyd/journal".into(),
    }
}

macro_rules! manager {
    ($($name:ident($this:ident, $request:pat => $type:ident) -> $answer:ident { $value:expr })*) => {
        #[tonic::async_trait]
        impl Manager for Answers {$(
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
    create_group(this, _ => CreateGroupRequest) -> Group { group() }
    list_groups(this, _ => ListGroupsRequest) -> ListGroupsResponse {
        v1::ListGroupsResponse { groups: vec![group()] }
    }
    get_group(this, _ => GetGroupRequest) -> Group { group() }
    put_secret(this, request => PutSecretRequest) -> Version {{
        let fields = request.fields.iter();
        let lengths = fields.map(|f| (f.name.clone(), f.value.len())).collect();
        *this.put.lock().unwrap() = lengths;
        version(2)
    }}
    list_secrets(this, _ => ListSecretsRequest) -> ListSecretsResponse {
        v1::ListSecretsResponse { secrets: vec![this.secret()] }
    }
    get_secret(this, _ => GetSecretRequest) -> Secret { this.secret() }
    list_versions(this, _ => ListVersionsRequest) -> ListVersionsResponse {
        v1::ListVersionsResponse { versions: vec![version(1), version(2)] }
    }
    delete_secret(this, _ => DeleteSecretRequest) -> DeleteSecretResponse {
        v1::DeleteSecretResponse { versions: 2 }
    }
    add_grant(this, _ => AddGrantRequest) -> Grant { grant() }
    list_grants(this, _ => ListGrantsRequest) -> ListGrantsResponse {
        v1::ListGrantsResponse { grants: vec![grant()] }
    }
    revoke_grant(this, _ => RevokeGrantRequest) -> RevokeGrantResponse {
        v1::RevokeGrantResponse {}
    }
    status(this, _ => StatusRequest) -> StatusResponse {
        v1::StatusResponse {
            journal: Some(this.journal.lock().unwrap().clone()),
            ..status()
        }
    }
}

#[tonic::async_trait]
impl Provider for Answers {
    type WatchStream = tokio_stream::Iter<std::vec::IntoIter<Result<v1::WatchResponse, Status>>>;

    async fn fetch(
        &self,
        request: Request<v1::FetchRequest>,
    ) -> Result<Response<v1::FetchResponse>, Status> {
        let kind = self.kind.lock().unwrap().clone();
        let names: &[&str] = match &*kind {
            "keystore" => &["private-key", "certificate-chain"],
            "pair" => &["one", "other"],
            _ => &["password"],
        };
        let field = |name: &&str| v1::Field {
            name: (*name).into(),
            value: format!("{name}: {CONTENT}").into(),
        };
        let answer = v1::FetchResponse {
            version: request.into_inner().version.unwrap_or(2),
            fields: names.iter().map(field).collect(),
            r#type: kind,
            receipt: 17,
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
        let evidence = v1::Evidence {
            pid: 4711,
            uid: 33,
            gid: 33,
            unit: Some("nginx.service".into()),
            cgroup: Some("/system.slice/nginx.service".into()),
            exe: None,
            exe_doubt: Some("the process is in another mount namespace".into()),
        };
        let answer = v1::WhoAmIResponse {
            evidence: Some(evidence),
            selectors: vec!["unix:uid:33".into(), "systemd:id:nginx.service".into()],
        };
        self.answer("who_am_i", answer)
    }
}
