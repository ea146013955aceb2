//! What comes before a request is even read: whether its caller may ask again already.

use std::sync::Arc;

use tonic::{Request, Status, service::Interceptor};

use super::{peer, status};
use crate::throttle::Throttle;

/// Lets through as many requests as [`Throttle`] has for a caller, by what was attested
/// when it connected: nothing is looked at again for one that is refused.
#[derive(Clone, Debug)]
pub(crate) struct Gate(pub(crate) Arc<Throttle>);

impl Interceptor for Gate {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let peer = peer(&request);
        match self.0.take(peer.accepted().into()) {
            Ok(()) => Ok(request),
            Err(too_many) => Err(status::too_many(too_many)),
        }
    }
}
