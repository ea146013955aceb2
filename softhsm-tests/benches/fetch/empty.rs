//! A call that does nothing: a server of the same service over the same kind of socket,
//! in a process of its own, as custodyd is.

use std::{
    env,
    process::{Child, Command},
};

use client::Provider as Client;
use proto::v1::{
    FetchRequest, FetchResponse, WatchRequest, WatchResponse, WhoAmIRequest, WhoAmIResponse,
    provider_server,
};
use softhsm_tests::until;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio_stream::{Empty, wrappers::UnixListenerStream};
use tonic::{Request, Response, Status};

use crate::{load::Target, runtime};

pub(crate) const ROLE: &str = "serve-empty";

/// The server's process.
pub(crate) struct Server {
    folder: TempDir,
    child: Child,
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new(env::current_exe().unwrap())
            .arg(ROLE)
            .arg(folder.path().join("socket"))
            .spawn()
            .expect("this program starts");
        let server = Self { folder, child };
        until("the empty server listens", || {
            std::os::unix::net::UnixStream::connect(server.folder.path().join("socket")).ok()
        });
        server
    }

    pub(crate) fn target(&self) -> Target {
        Target::Empty(self.folder.path().join("socket"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The child.
pub(crate) fn serve(socket: &str) {
    runtime().block_on(async {
        let listener = UnixListener::bind(socket).unwrap();
        tonic::transport::Server::builder()
            .add_service(provider_server::ProviderServer::new(Nothing))
            .serve_with_incoming(UnixListenerStream::new(listener))
            .await
            .unwrap();
    });
}

struct Nothing;

#[tonic::async_trait]
impl provider_server::Provider for Nothing {
    async fn fetch(&self, _: Request<FetchRequest>) -> Result<Response<FetchResponse>, Status> {
        Err(Status::unimplemented("only the empty call"))
    }

    type WatchStream = Empty<Result<WatchResponse, Status>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("only the empty call"))
    }

    async fn who_am_i(
        &self,
        _: Request<WhoAmIRequest>,
    ) -> Result<Response<WhoAmIResponse>, Status> {
        Ok(Response::new(WhoAmIResponse::default()))
    }
}

/// Makes the call.
pub(crate) async fn call(client: &Client) {
    client.whoami().await.expect("the empty server answers");
}
