//! The Provider service: what services ask.

use std::{pin::Pin, sync::Arc};

use custody::{
    journal::Surface,
    policy::Wanted,
    secret::Fields,
};
use proto::v1::{
    FetchRequest, FetchResponse, Field, WatchRequest, WatchResponse, WhoAmIRequest,
    WhoAmIResponse, provider_server,
};
use tokio::sync::{broadcast::error::RecvError, mpsc};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::{parse, peer, status::answer, view};
use crate::{
    attest::Peer,
    custodian::{Custodian, Error},
};

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct Provider(pub(crate) Arc<Custodian>);

#[tonic::async_trait]
impl provider_server::Provider for Provider {
    async fn fetch(
        &self,
        request: Request<FetchRequest>,
    ) -> Result<Response<FetchResponse>, Status> {
        let result = self.deliver(request).await;
        answer(Surface::Provider, "fetch", result).map(Response::new)
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let result = self.tell(request).await;
        answer(Surface::Provider, "watch", result).map(|stream| Response::new(Box::pin(stream) as _))
    }

    async fn who_am_i(
        &self,
        request: Request<WhoAmIRequest>,
    ) -> Result<Response<WhoAmIResponse>, Status> {
        let result = self.0.evidence(&peer(&request), Surface::Provider).await;
        let evidence = answer(Surface::Provider, "whoami", result)?;
        let selectors = evidence.selectors();
        Ok(Response::new(WhoAmIResponse {
            selectors: selectors.iter().map(ToString::to_string).collect(),
            evidence: Some(view::evidence(evidence)),
        }))
    }
}

impl Provider {
    async fn deliver(&self, request: Request<FetchRequest>) -> Result<FetchResponse, Error> {
        let peer = peer(&request);
        let FetchRequest {
            group,
            name,
            version,
        } = request.into_inner();
        let wanted = Wanted {
            group: parse("group", &group)?,
            name: parse("name", &name)?,
            version,
        };
        let delivery = self.0.deliver(&peer, wanted).await?;
        let fields = Fields::decode(&delivery.content).unwrap_or_default();
        Ok(FetchResponse {
            version: delivery.version.number,
            r#type: delivery.kind.to_owned(),
            fields: fields
                .into_iter()
                .map(|(name, mut value)| Field {
                    name,
                    value: std::mem::take(&mut *value),
                })
                .collect(),
            receipt: delivery.receipt.seq(),
        })
    }

    /// Answers with the current version, and with each one after it, as long as the
    /// caller stays who it is and the grant stands.
    async fn tell(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<impl Stream<Item = Result<WatchResponse, Status>> + use<>, Error> {
        let peer = peer(&request);
        let WatchRequest { group, name } = request.into_inner();
        let wanted = Wanted {
            group: parse("group", &group)?,
            name: parse("name", &name)?,
            version: None,
        };
        // Before the first look, so that nothing is missed in between.
        let changes = self.0.watch();
        let first = self.0.current(&peer, wanted.clone()).await?;
        let (sender, receiver) = mpsc::channel(1);
        let watched = Watched {
            custodian: Arc::clone(&self.0),
            peer,
            wanted,
            told: first,
        };
        drop(sender.try_send(Ok(WatchResponse { version: first })));
        tokio::spawn(watched.follow(changes, sender));
        Ok(ReceiverStream::new(receiver))
    }
}

/// A secret that somebody watches.
struct Watched {
    custodian: Arc<Custodian>,
    peer: Arc<Peer>,
    wanted: Wanted,
    told: u32,
}

impl Watched {
    async fn follow(
        mut self,
        mut changes: tokio::sync::broadcast::Receiver<custody::name::SecretId>,
        sender: mpsc::Sender<Result<WatchResponse, Status>>,
    ) {
        loop {
            let changed = tokio::select! {
                changed = changes.recv() => changed,
                () = sender.closed() => return,
            };
            match changed {
                Ok(id) if id.group == self.wanted.group && id.name == self.wanted.name => {}
                // Some were missed; this one may be among them.
                Err(RecvError::Lagged(_)) => {}
                Ok(_) => continue,
                Err(RecvError::Closed) => return,
            }
            let current = self.custodian.current(&self.peer, self.wanted.clone()).await;
            let current = answer(Surface::Provider, "watch", current);
            let ended = current.is_err();
            if !ended && current.as_ref().is_ok_and(|version| *version == self.told) {
                continue;
            }
            self.told = *current.as_ref().unwrap_or(&self.told);
            let told = sender
                .send(current.map(|version| WatchResponse { version }))
                .await;
            if ended || told.is_err() {
                return;
            }
        }
    }
}
