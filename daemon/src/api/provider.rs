//! The Provider service: what services ask.

use std::{pin::Pin, sync::Arc, time::Duration};

use custody::{
    caller::fact::Needs,
    journal::Surface,
    name::{SecretId, VersionId},
    policy::{Depth, Wanted},
    secret::{
        format::{Format, Rendering},
        version::Which,
    },
};
use proto::v1::{
    FetchRequest, FetchResponse, Part, StorePassword, WatchRequest, WatchResponse, WhoAmIRequest,
    WhoAmIResponse, provider_server,
};
use tokio::{
    sync::{broadcast::error::RecvError, mpsc},
    time::{Instant, MissedTickBehavior, interval_at},
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use super::{parse, peer, status::Asked, view};
use crate::{
    attest::Peer,
    custodian::{Custodian, Delivered, Error, Order, Watching},
};

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct Provider {
    pub(crate) custodian: Arc<Custodian>,
    /// How often a caller that watches is looked at.
    pub(crate) recheck: Duration,
}

#[tonic::async_trait]
impl provider_server::Provider for Provider {
    async fn fetch(
        &self,
        request: Request<FetchRequest>,
    ) -> Result<Response<FetchResponse>, Status> {
        let peer = peer(&request);
        let request = request.into_inner();
        let asked = self.asked("fetch", &peer, Some((&request.group, &request.name)));
        let result = self.deliver(&peer, &request).await;
        asked.answer(result).map(Response::new)
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let peer = peer(&request);
        let request = request.into_inner();
        let asked = self.asked("watch", &peer, Some((&request.group, &request.name)));
        let wanted = wanted(&request.group, &request.name, Which::Current, &[]);
        let depth = depth(request.unresolved);
        // Before the first look, so that nothing is missed in between.
        let changes = self.custodian.watch();
        let first = match wanted {
            Ok(wanted) => self
                .custodian
                .current(&peer, wanted.clone(), depth)
                .await
                .map(|told| (wanted, told)),
            Err(error) => Err(error),
        };
        let (wanted, told) = asked.answer(first)?;
        let watching = self
            .custodian
            .watching(wanted.secret(), asked.peer.accepted());
        let watching = asked.answer(watching)?;
        let (sender, receiver) = mpsc::channel(1);
        // There is room for one.
        drop(sender.try_send(Ok(news(&told))));
        let watched = Watched {
            _watching: watching,
            custodian: Arc::clone(&self.custodian),
            asked,
            wanted,
            depth,
            told,
            recheck: self.recheck,
        };
        tokio::spawn(watched.follow(changes, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn who_am_i(
        &self,
        request: Request<WhoAmIRequest>,
    ) -> Result<Response<WhoAmIResponse>, Status> {
        let asked = self.asked("whoami", &peer(&request), None);
        let result = self
            .custodian
            .evidence(&asked.peer, Surface::Provider, asked.operation)
            .await;
        let evidence = asked.answer(result)?;
        let evidence = self
            .custodian
            .learn(&asked.peer, evidence, Needs::ALL)
            .await;
        Ok(Response::new(WhoAmIResponse {
            selectors: view::selectors(&evidence),
            evidence: Some(view::evidence(&evidence)),
        }))
    }
}

impl Provider {
    fn asked(
        &self,
        operation: &'static str,
        peer: &Arc<Peer>,
        secret: Option<(&str, &str)>,
    ) -> Asked {
        Asked {
            surface: Surface::Provider,
            operation,
            peer: Arc::clone(peer),
            secret: secret.map(|(group, name)| (group.to_owned(), name.to_owned())),
            since: std::time::Instant::now(),
            requests: self.custodian.requests().clone(),
        }
    }

    async fn deliver(
        &self,
        peer: &Arc<Peer>,
        request: &FetchRequest,
    ) -> Result<FetchResponse, Error> {
        let FetchRequest {
            group,
            name,
            version,
            fields,
            which,
            format,
            password,
            unresolved,
        } = request;
        let which = super::which(*version, which.as_deref())?;
        let order = Order {
            wanted: wanted(group, name, which, fields)?,
            depth: depth(*unresolved),
            rendering: rendering(format.as_deref(), password.as_ref())?.map(Arc::new),
        };
        let delivered = self.custodian.deliver(peer, order).await?;
        let mut response = FetchResponse::default();
        for Delivered {
            delivery,
            is_rendered,
        } in delivered
        {
            let format = format.clone().filter(|_| is_rendered);
            let (version, kind) = (delivery.version, delivery.kind.name().to_owned());
            let fields = view::fields(delivery.fields);
            let receipt = delivery.receipt.seq();
            match delivery.via {
                None => {
                    response.version = version.number;
                    response.r#type = kind;
                    response.fields = fields;
                    response.receipt = receipt;
                    response.format = format;
                }
                Some(via) => response.parts.push(Part {
                    field: via.field.to_owned(),
                    group: version.secret.group.into(),
                    name: version.secret.name.into(),
                    version: version.number,
                    r#type: kind,
                    fields,
                    receipt,
                    format,
                }),
            }
        }
        Ok(response)
    }
}

fn depth(unresolved: bool) -> Depth {
    match unresolved {
        true => Depth::Alone,
        false => Depth::Resolved,
    }
}

/// What is told of those versions, of which the first is that of the secret.
fn news(current: &[VersionId]) -> WatchResponse {
    WatchResponse {
        version: current.first().map_or(0, |version| version.number),
    }
}

fn wanted(group: &str, name: &str, version: Which, fields: &[String]) -> Result<Wanted, Error> {
    Ok(Wanted {
        group: parse("group", group)?,
        name: parse("name", name)?,
        version,
        fields: fields.iter().cloned().collect(),
    })
}

/// How the content is to be written, if not as it is stored.
fn rendering(
    format: Option<&str>,
    password: Option<&StorePassword>,
) -> Result<Option<Rendering>, Error> {
    let malformed = |field, text: &str, problem: String| Error::Malformed {
        field,
        text: text.to_owned(),
        problem,
    };
    let Some(name) = format else {
        return match password {
            None => Ok(None),
            Some(_) => Err(malformed(
                "format",
                "",
                "a password goes with one".to_owned(),
            )),
        };
    };
    let format = Format::from_name(name).ok_or_else(|| {
        let known: Vec<_> = Format::ALL.iter().map(|format| format.name()).collect();
        malformed("format", name, format!("there are {}", known.join(", ")))
    })?;
    let password = password.map(|password| Zeroizing::new(password.value.clone()));
    Ok(Some(Rendering::new(format, password)?))
}

/// A secret that somebody watches.
struct Watched {
    custodian: Arc<Custodian>,
    asked: Asked,
    wanted: Wanted,
    depth: Depth,
    /// What was told: the version of the secret, and those of what it refers to.
    told: Vec<VersionId>,
    recheck: Duration,
    _watching: Watching,
}

impl Watched {
    /// Tells of each version, as long as the caller stays who it is and the grant stands.
    async fn follow(
        mut self,
        mut changes: tokio::sync::broadcast::Receiver<SecretId>,
        sender: mpsc::Sender<Result<WatchResponse, Status>>,
    ) {
        let mut look = interval_at(Instant::now() + self.recheck, self.recheck);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let changed = tokio::select! {
                changed = changes.recv() => changed,
                () = sender.closed() => return,
                _ = look.tick() => {
                    let peer = &self.asked.peer;
                    let (surface, operation) = (self.asked.surface, self.asked.operation);
                    let looked = self.custodian.evidence(peer, surface, operation).await;
                    if let Err(status) = self.asked.answer(looked) {
                        drop(sender.send(Err(status)).await);
                        return;
                    }
                    continue;
                }
            };
            match changed {
                Ok(id) if self.told.iter().any(|told| told.secret == id) => {}
                // Some were missed; this one may be among them.
                Err(RecvError::Lagged(_)) => {}
                Ok(_) => continue,
                Err(RecvError::Closed) => return,
            }
            let peer = &self.asked.peer;
            let wanted = self.wanted.clone();
            let current = self.custodian.current(peer, wanted, self.depth).await;
            match self.asked.answer(current) {
                Ok(current) if current == self.told => {}
                Ok(current) => {
                    self.told = current;
                    if sender.send(Ok(news(&self.told))).await.is_err() {
                        return;
                    }
                }
                Err(status) => {
                    drop(sender.send(Err(status)).await);
                    return;
                }
            }
        }
    }
}
